"""The launch files: what they would start, and on a distribution that they do."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory

LAUNCH = Path(get_package_share_directory("chatspot_ros")) / "launch"
FILES = sorted(path.name.removesuffix(".launch.py") for path in LAUNCH.glob("*.launch.py"))
Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """`start("chain", source="camera")`: what would be started, by executable."""
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
        by_name = {one.name: one for one in found}
        assert len(by_name) == len(found)
        return by_name

    return started


@pytest.mark.parametrize("name", FILES)
def test_every_file_stands_alone_and_starts_what_is_installed(start: Start, name: str) -> None:
    given = {"path": "/pictures", "model": "/detector"}
    needed = {"files": ("path",), "detector": ("model",)}.get(name, ())
    found = start(name, **{key: given[key] for key in needed})
    assert found
    installed = LAUNCH.parents[2] / "lib" / "chatspot_ros"
    for executable in found:
        assert executable == "python3" or (installed / executable).is_file()


def test_the_chain_is_the_kitchen_by_default(start: Start) -> None:
    found = start("chain")
    assert set(found) == {"kitchen_camera", "kitchen_detector", "region_query_node"}
    assert found["kitchen_camera"].parameters["seed"] == 52
    node = found["region_query_node"]
    assert node.remappings["image"] == "image"
    assert node.remappings["detections"] == "detections"
    assert node.parameters["use_sim_time"] is False
    assert node.parameters["__file"] == str(LAUNCH.parent / "config" / "region_query.yaml")
    assert "model" not in node.parameters


def test_a_camera_a_model_that_detects_and_a_window(start: Start) -> None:
    found = start(
        "chain", source="camera", camera_topic="/camera/image_raw", image_transport="compressed",
        detector="model", detector_model="/detr", detector_labels="mug, door", rqt="true",
    )  # fmt: skip
    assert set(found) == {"detector_node", "region_query_node", "rqt_image_view"}
    detector, node = found["detector_node"], found["region_query_node"]
    assert detector.parameters["model"] == "/detr"
    assert detector.parameters["labels"] == "mug, door"
    for one in (detector, node):
        assert one.remappings["image"] == "/camera/image_raw"
        assert one.parameters["image_transport"] == "compressed"
    assert found["rqt_image_view"].command == ("/region_query_node/annotated",)
    # The detector's model is not the node's.
    assert "model" not in node.parameters


def test_the_nodes_own_model_is_not_the_detectors(start: Start) -> None:
    found = start("chain", source="files", path="/pictures", model="/llava", rate="2.5",
                  detector="model", detector_model="/detr", camera_topic="/here")  # fmt: skip
    assert set(found) == {"file_camera", "detector_node", "region_query_node"}
    assert found["file_camera"].parameters == {"path": "/pictures", "rate": 2.5, "loop": True}
    assert found["file_camera"].remappings == {"image": "/here"}
    assert found["detector_node"].parameters["model"] == "/detr"
    assert found["region_query_node"].parameters["model"] == "/llava"


def test_a_bag_brings_its_own_time(start: Start) -> None:
    found = start("chain", source="bag", path="/drive", camera_topic="/camera/image")
    assert found["ros2"].command[:4] == ("ros2", "bag", "play", "/drive")
    assert "--clock" in found["ros2"].command
    assert found["region_query_node"].parameters["use_sim_time"] is True
    assert set(found) == {"ros2", "region_query_node"}
    assert start("chain", source="bag", path="/drive", use_sim_time="false")[
        "region_query_node"
    ].parameters["use_sim_time"] is False  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "files"}, "needs path"),
        ({"source": "bag"}, "needs path"),
        ({"source": "camera", "detector": "kitchen"}, "source:=kitchen only"),
        ({"detector": "model"}, "needs detector_model"),
        ({"source": "telescope"}, "telescope"),
        ({"rqt": "maybe"}, "maybe"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    start: Start, arguments: dict[str, str], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        start("chain", **arguments)


def test_the_demo_gets_its_arguments(start: Start) -> None:
    (demo,) = start("demo", seed="5", json="/tmp/answers.json").values()
    assert demo.command == (
        *("python3", "-m", "chatspot_sim.demo", "--seed", "5", "--model", "chatspot-tiny"),
        *("--picture", "demo.png", "--json", "/tmp/answers.json"),
    )


@pytest.mark.ros_distro
@pytest.mark.parametrize("name", FILES)
def test_ros2_launch_reads_every_file(spawn: Callable[..., Any], name: str) -> None:
    process = spawn("ros2", "launch", "chatspot_ros", f"{name}.launch.py", "--show-args")
    assert process.wait(60.0) == 0
    assert "Arguments" in process.output


@pytest.mark.ros_distro
def test_ros2_launch_starts_the_chain(spawn: Callable[..., Any]) -> None:
    process = spawn("ros2", "launch", "chatspot_ros", "chain.launch.py")
    for node in ("kitchen_camera", "kitchen_detector", "region_query_node"):
        process.wait_for(f"ready: {node}", 100.0)
