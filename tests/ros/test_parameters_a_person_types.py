"""Parameters as a person types them: YAML's off, 0 and [] are taken, or refused with a hint."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.parameter import Parameter

from chatspot_ros.detector.settings import SPECS as DETECTOR_SPECS
from chatspot_ros.errors import ChatspotError
from chatspot_ros.file_camera_node import SPECS as CAMERA_SPECS
from chatspot_ros.ros.parameters import declare
from chatspot_ros.server.settings import SPECS, Settings


class Declaring:
    """Declares parameters as at a node's start, with `-p` arguments."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __call__(self, *given: str, specs: Any = None) -> Any:
        arguments = ["--ros-args", *(part for one in given for part in ("-p", one))]
        node = rclpy.create_node("typed", context=self._context, cli_args=arguments,
                                 enable_rosout=False, start_parameter_services=False)  # fmt: skip
        try:
            if specs is not None:
                return declare(node, specs)
            return Settings(**declare(node, SPECS, lambda _: None))
        finally:
            node.destroy_node()


@pytest.fixture
def given(ros_node: Any) -> Declaring:
    return Declaring(ros_node.context)


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("compile:=off", "compile", "off"), ("compile:=on", "compile", "on"),
        ("device:=0", "device", "cuda:0"), ("device:=1", "device", "cuda:1"),
        ("device:=cuda:0,cuda:1", "device", "cuda:0,cuda:1"),
        ("device:=[0, 1]", "device", "cuda:0,cuda:1"),
        ("device:=[cpu, 'cuda:1']", "device", "cpu,cuda:1"),
        ("default_question:=''", "default_question", ""), ("skills_file:=''", "skills_file", ""),
        ("skills_file:=off", "skills_file", ""), ("states_file:=no", "states_file", ""),
        ("watch:=off", "watch", ""), ("max_image_age:=5", "max_image_age", 5.0),
        ("min_confidence:=0", "min_confidence", 0.0), ("max_regions:=8.0", "max_regions", 8),
        ("cameras:=front", "cameras", ("front",)), ("quantisation:=off", "quantisation", "none"),
        ("warm_up:=1", "warm_up", True), ("warm_up:=0", "warm_up", False),
        ("model:=7", "model", "7"), ("service_introspection:=off", "service_introspection", "off"),
    ],
)  # fmt: skip
def test_what_can_only_mean_one_thing_is_taken(
    given: Declaring, argument: str, name: str, value: Any
) -> None:
    assert getattr(given(argument), name) == value


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("cameras:=[]", "cameras"), ("cameras:=''", "cameras"), ("dtype:=16", "bfloat16"),
        ("image_transport:=jpeg", "compressed"), ("image_reliability:=best-effort", "best_effort"),
        ("warm_up:=flase", "true"), ("max_regions:=many", "max_regions"),
        ("max_image_age:=ten", "max_image_age"), ("compile:=yes please", "auto, off, on"),
        ("service_introspection:=all", "off, metadata, contents"),
        ("relabel_question:=''", "relabel_question"), ("device:=-1", "cuda"),
        ("device:=[]", "cuda"), ("device:='cpu,'", "with commas"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_the_accepted_values(
    given: Declaring, argument: str, hint: str
) -> None:
    with pytest.raises(ChatspotError, match=hint) as refused:
        given(argument)
    assert "(got )" not in str(refused.value)
    assert "Invalid" not in str(refused.value)  # rclpy's own words say nothing of the values


def test_a_click_without_a_question_asks_the_default(given: Declaring) -> None:
    """An empty default would be refused at every click."""
    settings = given("default_question:=''")
    assert settings.default_question in ("", "What is this?")


@pytest.mark.parametrize("argument", ["labels:=no", "labels:=''", "labels:=off"])
def test_the_detectors_labels(given: Declaring, argument: str) -> None:
    values = given("model:=m", argument, specs=DETECTOR_SPECS)
    assert values["labels"] in ("", "no", (), ("no",), "off")


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [("rate:=5", "rate", 5.0), ("loop:=off", "loop", False), ("frame_id:=0", "frame_id", "0"),
     ("path:=7", "path", "7")],
)  # fmt: skip
def test_the_file_cameras(given: Declaring, argument: str, name: str, value: Any) -> None:
    assert given(argument, specs=CAMERA_SPECS)[name] == value


def test_every_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatspot_ros.core.skills import read_skills, read_states
    from chatspot_ros.server.watch_config import read_watch_list

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "skills.yaml").write_text("open: open a door\n")
    (tmp_path / "states.yaml").write_text("door: [open, closed]\n")
    (tmp_path / "watch.yaml").write_bytes(
        (Path(os.environ.get("CHATSPOT_CONFIG", "config")) / "watch.yaml").read_bytes()
    )
    assert read_skills("~/skills.yaml")
    assert read_states("~/states.yaml")
    assert read_watch_list(Settings(watch="~/watch.yaml"))


@pytest.fixture(params=[SPECS, DETECTOR_SPECS], ids=["region_query_node", "detector_node"])
def running(ros_node: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A node with its parameters, those at which it would be told of changes, and the changes."""
    node = rclpy.create_node("changed", context=ros_node.context, enable_rosout=False,
                             start_parameter_services=False)  # fmt: skip
    changes: list[Any] = []
    declare(node, request.param, changes.append)
    yield node, request.param, changes
    node.destroy_node()


def put(node: Any, name: str, value: Any) -> Any:
    """Set a parameter as the service set_parameters does."""
    return node.set_parameters_atomically([Parameter(name, value=value)])


def test_a_whole_number_sets_a_double_of_a_running_node(running: Any) -> None:
    """`ros2 param set NODE threshold 1` sends an integer."""
    node, specs, changes = running
    doubles = [spec for spec in specs if isinstance(spec.default, float)]
    assert doubles
    for spec in doubles:
        value = math.floor(spec.high)
        result = put(node, spec.name, value)
        if spec.read_only:
            assert "read-only" in result.reason
            continue
        assert result.successful, result.reason
        assert changes[-1][spec.name] == value
        assert type(changes[-1][spec.name]) is float
        assert node.get_parameter(spec.name).type_ == Parameter.Type.DOUBLE


@pytest.mark.parametrize(("name", "typed", "value"), [
    ("show_labels", "on", True), ("show_labels", 1, True), ("max_regions", 8.0, 8),
    ("max_image_age", "5", 5.0), ("default_question", 7, "7"), ("default_question", False, ""),
    ("service_introspection", False, "off"), ("service_introspection", "metadata", "metadata"),
])  # fmt: skip
@pytest.mark.parametrize("running", [SPECS], indirect=True)
def test_a_running_node_reads_what_can_only_mean_one_thing(
    running: Any, name: str, typed: Any, value: Any
) -> None:
    node, _, changes = running
    assert put(node, name, typed).successful
    assert changes[-1][name] == value
    assert type(changes[-1][name]) is type(value)


@pytest.mark.parametrize(("name", "typed", "reason"), [
    ("max_image_age", "ten", "a number between 0 and 1e+06 (got 'ten')"),
    ("max_image_age", True, "a number between 0 and 1e+06"), ("dtype", "half", "read-only"),
    ("max_image_age", -1, "max_image_age"), ("max_image_age", math.nan, "max_image_age"),
    ("max_regions", 8.5, "a whole number between"), ("show_labels", "flase", "true or false"),
    ("default_question", ["a", "b"], "a text"), ("max_image_age", None, "undeclared"),
    ("service_introspection", True, "off, metadata, contents"),
    ("service_introspection", "all", "off, metadata, contents"), ("dtype", 16, "read-only"),
])  # fmt: skip
@pytest.mark.parametrize("running", [SPECS], indirect=True)
def test_a_running_node_refuses_the_rest_and_changes_nothing(
    running: Any, name: str, typed: Any, reason: str
) -> None:
    node, _, changes = running
    before = node.get_parameter(name).value
    result = put(node, name, typed)
    assert not result.successful
    assert reason in result.reason
    assert node.get_parameter(name).value == before
    assert changes == []
