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
from chatspot_sim.kitchen_parameters import CAMERA_SPECS as KITCHEN_CAMERA_SPECS
from chatspot_sim.kitchen_parameters import DETECTOR_SPECS as KITCHEN_DETECTOR_SPECS

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
    if isinstance(spec.default, float) and spec.high is not None and spec.high <= 1.0:
        return str(spec.high / 2)
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


IN_THE_KITCHEN = [("kitchen_camera", spec, spec.name) for spec in KITCHEN_CAMERA_SPECS] + [
    # Beside the camera's seed.
    ("kitchen_detector", spec, "detector_seed" if spec.name == "seed" else spec.name)
    for spec in KITCHEN_DETECTOR_SPECS
]


@pytest.mark.parametrize(
    ("node", "spec", "argument"),
    IN_THE_KITCHEN,
    ids=[f"{node}-{argument}" for node, _, argument in IN_THE_KITCHEN],
)
@pytest.mark.parametrize("file", ["kitchen", "chain"])
def test_a_parameter_reaches_the_kitchen(
    start: Start, file: str, node: str, spec: Any, argument: str
) -> None:
    if (file, argument) == ("chain", "transport"):
        pytest.skip("the chain says it to both ends")
    value = "fails" if argument == "act_faults" else choice(spec)
    found = start(file, **{argument: value})
    assert str(found[node].parameters.get(spec.name, "not given")).lower() == value
    others = [one.parameters.get(spec.name) for name, one in found.items() if name != node]
    assert value not in map(str, others)


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


@pytest.mark.parametrize(
    ("typed", "there"),
    [("yes", True), ("1", True), ("on", True), ("no", False), ("0", False), ("Off", False)],
)
def test_the_kitchens_detector_as_people_type_it(start: Start, typed: str, there: bool) -> None:
    assert ("kitchen_detector" in start("kitchen", with_detector=typed)) is there


@pytest.mark.parametrize(
    "arguments",
    [{"source": "kitchen", "width": "wide"}, {"source": "kitchen", "detector_seed": "-1"},
     {"source": "files", "path": str(LAUNCH), "reliability": "utmost"},
     {"source": "camera", "detector": "model", "detector_model": "m", "threshold": "2"},
     {"source": "camera", "max_regions": "0"}],
)  # fmt: skip
def test_the_chain_refuses_a_parts_argument_before_a_part_starts(
    start: Start, arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`launch` would leave behind what runs already."""
    nodes: list[Any] = []
    node = sys.modules["launch_ros.actions"].Node  # type: ignore[attr-defined]
    monkeypatch.setattr(node, "run", lambda self, _: nodes.append(self))
    *_, name = arguments
    with pytest.raises(RuntimeError, match=name):
        start("chain", **arguments)
    assert nodes == []


@pytest.mark.parametrize("typed", ["flase", "ture", "maybe", "2"])
@pytest.mark.parametrize(("file", "name"), [("region_query", "autostart"),
                                            ("region_query", "use_sim_time"), ("chain", "rqt"),
                                            ("chain", "use_sim_time"),
                                            ("chain", "required"),
                                            ("kitchen", "required"), ("files", "required"),
                                            ("files", "loop"), ("detector", "required"),
                                            ("detector", "allow_download"),
                                            ("region_query", "required"),
                                            ("kitchen", "with_detector")])  # fmt: skip
def test_a_boolean_that_is_none_is_refused(start: Start, file: str, name: str, typed: str) -> None:
    with pytest.raises((RuntimeError, ValueError, AssertionError), match="true"):
        start(file, **{**NEEDED.get(file, {}), name: typed})


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
