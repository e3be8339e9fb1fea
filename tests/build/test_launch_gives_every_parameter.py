"""Every parameter of every node can be given through the launch files; booleans as people type."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.detector.settings import SPECS as DETECTOR_SPECS
from chatspot_ros.file_camera_node import SPECS as CAMERA_SPECS
from chatspot_ros.server.settings import SPECS

LAUNCH = Path(get_package_share_directory("chatspot_ros")) / "launch"
# Topics are remapped, cameras named with their topics.
OTHERWISE = {"cameras"}
NODES = {"region_query": ("region_query_node", SPECS),
         "detector": ("detector_node", DETECTOR_SPECS),
         "files": ("file_camera_node", CAMERA_SPECS)}  # fmt: skip
NEEDED = {"region_query": {}, "detector": {"model": "m"}, "files": {"path": "p"}}
Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    path = Path(__file__).with_name("launch_stand_in.py")
    spec = importlib.util.spec_from_file_location("launch_stand_in", path)
    assert spec is not None
    assert spec.loader is not None
    stand_in = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, stand_in)
    spec.loader.exec_module(stand_in)
    for name, module in stand_in.modules().items():
        monkeypatch.setitem(sys.modules, name, module)

    def started(name: str, **arguments: str) -> dict[str, Any]:
        found = stand_in.launch(str(LAUNCH / f"{name}.launch.py"), **arguments)
        return {one.name: one for one in found}

    return started


def text(value: Any) -> str:
    """Another value than the default, as typed."""
    if isinstance(value, bool):
        return "false" if value else "true"
    if isinstance(value, int | float):
        return str(value + 1)
    return "other"


def choice(spec: Any) -> str:
    if spec.name == "detection_space":
        return "resized 8x8"
    if isinstance(spec.default, float) and spec.high == 1.0:
        return "0.5"
    return next((one for one in spec.choices if one != spec.default), "") or text(spec.default)


EVERY = [(file, spec) for file, (_, found) in NODES.items() for spec in found
         if spec.name not in OTHERWISE]  # fmt: skip


@pytest.mark.parametrize(("file", "spec"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_a_parameter_reaches_its_node(start: Start, file: str, spec: Any) -> None:
    node, _ = NODES[file]
    value = choice(spec)
    found = start(file, **{**NEEDED[file], spec.name: value})
    given = next(one.parameters for name, one in found.items() if name.startswith(node[:8]))
    assert str(given.get(spec.name, "not given")).lower() == value.lower()


@pytest.mark.parametrize("name", [one.name for one in SPECS if one.name not in OTHERWISE])
def test_it_goes_through_the_chain(start: Start, name: str) -> None:
    """`chain.launch.py device:=cuda` never reaches the node today."""
    (spec,) = (one for one in SPECS if one.name == name)
    value = choice(spec)
    # The chain's own source says how its pictures come.
    if name == "image_transport":
        pytest.skip("the source says it")
    node = start("chain", source="camera", **{name: value})["region_query_node"]
    assert str(node.parameters.get(name, "not given")).lower() == value.lower()


@pytest.mark.parametrize(("typed", "value"), [
    ("true", True), ("True", True), ("1", True), ("yes", True), ("on", True), ("TRUE", True),
    ("false", False), ("0", False), ("no", False), ("off", False), ("False", False),
])  # fmt: skip
@pytest.mark.parametrize("name", ["autostart", "use_sim_time"])
def test_booleans_as_people_type_them(start: Start, name: str, typed: str, value: bool) -> None:
    node = start("region_query", **{name: typed})["region_query_node"]
    assert node.parameters[name] is value


@pytest.mark.parametrize("typed", ["flase", "ture", "maybe", "2"])
@pytest.mark.parametrize(("file", "name"), [("region_query", "autostart"),
                                            ("region_query", "use_sim_time"), ("chain", "rqt"),
                                            ("chain", "use_sim_time")])  # fmt: skip
def test_a_boolean_that_is_none_is_refused(start: Start, file: str, name: str, typed: str) -> None:
    with pytest.raises((RuntimeError, ValueError, AssertionError), match="true"):
        start(file, **{name: typed})


def test_a_path_may_begin_with_the_home_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("region_query_node: {ros__parameters: {}}\n")
    (tmp_path / "pictures").mkdir()
    start("region_query", params_file="~/mine.yaml")
    camera = start("files", path="~/pictures")
    assert camera


def test_a_source_that_is_not_there_is_found_before_anything_starts(
    start: Start, tmp_path: Path
) -> None:
    for source in ("bag", "files"):
        with pytest.raises(RuntimeError, match="nowhere"):
            start("chain", source=source, path=str(tmp_path / "nowhere"))
