"""The programs that the launch files start. With the real `launch`: test_ros2_launch.py."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ament_index_python.packages
import pytest
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE

LAUNCH = Path(get_package_share_directory("chatspot_ros")) / "launch"
FILES = sorted(path.name.removesuffix(".launch.py") for path in LAUNCH.glob("*.launch.py"))
WINDOWS = ("rqt_image_view", "rqt_image_view 2")
Start = Callable[..., dict[str, Any]]


@pytest.fixture
def have_rqt(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let rqt_image_view be installed, or not."""
    packages = ament_index_python.packages
    find = packages.get_package_prefix

    def have(it: bool) -> None:
        def found(name: str) -> str:
            if name != "rqt_image_view":
                return str(find(name))
            if not it:
                raise packages.PackageNotFoundError(name)
            return "/opt/ros"

        monkeypatch.setattr(packages, "get_package_prefix", found)

    return have


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
        by_name: dict[str, Any] = {}
        for one in found:
            name = f"{one.name} 2" if one.name in by_name else one.name
            assert name not in by_name
            by_name[name] = one
        return by_name

    return started


@pytest.fixture
def bag(tmp_path: Path) -> str:
    """A folder that is a bag, as far as it is looked at."""
    (tmp_path / "metadata.yaml").touch()
    return str(tmp_path)


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
    assert "use_sim_time" not in node.parameters
    assert node.parameters["__file"] == str(LAUNCH.parent / "config" / "region_query.yaml")
    assert "model" not in node.parameters
    # The kitchen has depth.
    assert node.parameters["depth_images"] == "raw"
    assert node.remappings["depth/image"] == "depth/image"
    assert node.remappings["depth/camera_info"] == "depth/camera_info"


def test_depth_and_the_camera_info_beside_it(start: Start) -> None:
    aligned = "/camera/aligned_depth_to_color/image_raw"
    given = {"source": "camera", "depth_topic": aligned, "depth_images": "compressedDepth"}
    for arguments in (given, {**given, "target_frame": "base_link"}):
        node = start("chain", **arguments)["region_query_node"]
        assert node.remappings["depth/image"] == aligned
        assert node.remappings["depth/camera_info"] == "/camera/aligned_depth_to_color/camera_info"
        assert node.parameters["depth_images"] == "compressedDepth"
        assert node.parameters.get("target_frame") == arguments.get("target_frame")
    assert "depth_images" not in start("chain", source="camera")["region_query_node"].parameters
    alone = start("region_query", depth_topic="/d/image", depth_info_topic="/elsewhere")
    assert alone["region_query_node"].remappings["depth/camera_info"] == "/elsewhere"


def test_several_cameras_with_and_without_depth(start: Start) -> None:
    cameras = "front=/f/image,/f/detections,/f/depth/image rear=/r/image left=/l/image,,/l/depth"
    node = start("region_query", cameras=cameras)["region_query_node"]
    assert node.remappings["front/depth/image"] == "/f/depth/image"
    assert node.remappings["front/depth/camera_info"] == "/f/depth/camera_info"
    assert node.remappings["left/depth/camera_info"] == "/l/camera_info"
    assert "left/detections" not in node.remappings
    assert not [name for name in node.remappings if name.startswith("rear/depth")]
    with pytest.raises(ValueError, match="NAME=IMAGE_TOPIC"):
        start("region_query", cameras="front=/f/image,/f/detections,/f/depth,/more")


def test_a_camera_a_model_that_detects_and_a_window(
    start: Start, have_rqt: Callable[[bool], None]
) -> None:
    have_rqt(True)
    found = start(
        "chain", source="camera", camera_topic="/camera/image_raw", image_transport="compressed",
        detector="model", detector_model="/detr", detector_labels="mug, door", rqt="true",
        device="cuda",
    )  # fmt: skip
    assert set(found) == {"detector_node", "region_query_node", *WINDOWS}
    detector, node = found["detector_node"], found["region_query_node"]
    assert detector.parameters["model"] == "/detr"
    assert detector.parameters["labels"] == "mug, door"
    for one in (detector, node):
        assert one.remappings["image"] == "/camera/image_raw"
        assert one.parameters["image_transport"] == "compressed"
    # Where a window on the compressed picture publishes a click; it cannot be opened on it by name.
    assert node.remappings["click"] == "/camera/image_raw/compressed_mouse_left"
    assert [found[name].command for name in WINDOWS] == [(), ("/region_query_node/annotated",)]
    # An argument that the chain does not have goes through.
    assert detector.parameters["device"] == "cuda"
    # The detector's model is not the node's.
    assert "model" not in node.parameters


def test_the_nodes_own_model_is_not_the_detectors(start: Start) -> None:
    found = start("chain", source="files", path=str(LAUNCH), model="/llava", rate="2.5",
                  detector="model", detector_model="/detr", camera_topic="/here")  # fmt: skip
    assert set(found) == {"file_camera", "detector_node", "region_query_node"}
    assert found["file_camera"].parameters == {"path": str(LAUNCH), "rate": 2.5}
    assert found["file_camera"].remappings == {"image": "/here"}
    assert found["detector_node"].parameters["model"] == "/detr"
    assert found["region_query_node"].parameters["model"] == "/llava"


def test_a_bag_brings_its_own_time(start: Start, bag: str) -> None:
    found = start("chain", source="bag", path=bag, camera_topic="/camera/image")
    assert found["ros2"].command[:4] == ("ros2", "bag", "play", bag)
    assert "--clock" in found["ros2"].command
    assert found["region_query_node"].parameters["use_sim_time"] is True
    assert set(found) == {"ros2", "region_query_node"}
    assert start("chain", source="bag", path=bag, use_sim_time="false")[
        "region_query_node"
    ].parameters["use_sim_time"] is False  # fmt: skip


def test_a_bag_is_played_when_all_are_ready(start: Start, bag: str) -> None:
    started = list(start("chain", source="bag", path=bag, detector="model",
                         detector_model="/detr"))  # fmt: skip
    assert started == ["region_query_node", "detector_node", "ros2"]


def test_what_the_node_answered_when_the_bag_was_recorded_is_not_played(
    start: Start, bag: str
) -> None:
    command = start("chain", source="bag", path=bag)["ros2"].command
    excluded = re.compile(command[command.index("--exclude-regex") + 1])
    for topic in ("/region_query_node/answers", "/robot1/region_query_node/annotated"):
        assert excluded.fullmatch(topic)
    for topic in ("/image", "/detections", "/region_query_nodes/image"):
        assert not excluded.search(topic)


def test_all_of_the_chain_moves_into_a_namespace(
    start: Start, have_rqt: Callable[[bool], None]
) -> None:
    have_rqt(True)
    found = start("chain", namespace="robot1", rqt="true")
    nodes = ("kitchen_camera", "kitchen_detector", "region_query_node")
    assert {found[name].namespace for name in nodes} == {"robot1"}
    assert [found[name].command for name in WINDOWS] == [
        ("/robot1/image",),
        ("/robot1/region_query_node/annotated",),
    ]
    # As <push-ros-namespace> around it does.
    inner = start("chain", namespace="arm", rqt="true", ros_namespace="/robot1")
    assert inner["rqt_image_view"].command == ("/robot1/arm/image",)


@pytest.mark.parametrize("shell", [None, "UDPv4"])
def test_what_publishes_pictures_has_the_larger_buffers(
    start: Start, monkeypatch: pytest.MonkeyPatch, root: Path, bag: str, shell: str | None
) -> None:
    """scripts/run sets them too; whoever starts by `ros2 launch` would lose most pictures."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if shell is not None:
        monkeypatch.setenv(VARIABLE, shell)
    assert f'"{LARGER_BUFFERS}"' in (root / "scripts" / "run").read_text()
    for source, publishers in {
        "kitchen": ("kitchen_camera", "region_query_node"),
        "files": ("file_camera", "region_query_node"),
        "bag": ("ros2", "region_query_node"),
    }.items():
        found = start("chain", source=source, path=bag)
        for name in publishers:
            assert found[name].env == {VARIABLE: shell or LARGER_BUFFERS}


def test_a_parameter_file_is_taken_or_named(start: Start, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    with pytest.raises(RuntimeError, match=r"mine\.yaml is no file"):
        start("region_query", params_file=str(mine))
    mine.write_text("/**: {ros__parameters: {queue_size: 3}}")
    for name in ("region_query", "chain"):
        node = start(name, params_file=str(mine))["region_query_node"]
        assert node.parameters["__file"] == str(mine)


def test_windows_need_their_package(start: Start, have_rqt: Callable[[bool], None]) -> None:
    have_rqt(False)
    with pytest.raises(RuntimeError, match="rqt_image_view"):
        start("chain", rqt="true")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "files"}, "needs path"),
        ({"source": "bag"}, "needs path"),
        ({"source": "bag", "path": str(LAUNCH)}, "launch is no bag: it has no metadata.yaml"),
        ({"source": "camera", "detector": "kitchen"}, "source:=kitchen only"),
        ({"detector": "model"}, "needs detector_model"),
        ({"source": "telescope"}, "telescope"),
        ({"rqt": "maybe"}, "maybe"),
        ({"rate": "fast"}, "rate is a number between 0.05 and 60 .*'fast'"),
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


PARTS: dict[str, dict[str, dict[str, str]]] = {
    "kitchen": {"kitchen_camera": {}, "kitchen_detector": {}},
    "files": {"file_camera": {"path": "/pictures"}},
    "detector": {"detector_node": {"model": "/detector"}},
    "region_query": {"region_query_node": {}},
    "demo": {"python3": {}},
}
ENDED = [(file, name, given) for file, found in PARTS.items() for name, given in found.items()]


def end(on_exit: Any, returncode: int, *, is_shutdown: bool = False) -> Any:
    """Tell the action of a process that it ended, as `launch` does."""
    event = SimpleNamespace(returncode=returncode, process_name="it-1")
    return on_exit(event, SimpleNamespace(is_shutdown=is_shutdown))


@pytest.mark.parametrize(("file", "name", "given"), ENDED)
def test_an_error_ends_the_launch(
    start: Start, file: str, name: str, given: dict[str, str]
) -> None:
    on_exit = start(file, **given)[name].on_exit
    for status in (1, 2, -9, -11):
        with pytest.raises(RuntimeError, match=rf"status {status}, .*last lines"):
            end(on_exit, status)
        # Ctrl-C, or the end of another one.
        end(on_exit, status, is_shutdown=True)
    end(on_exit, 0)


@pytest.mark.parametrize(("file", "name", "given"), [one for one in ENDED if one[0] != "demo"])
@pytest.mark.parametrize("typed", ["false", "no"])
def test_a_launch_goes_on_where_a_part_is_not_required(
    start: Start, file: str, name: str, given: dict[str, str], typed: str
) -> None:
    assert start(file, **given, required=typed)[name].on_exit is None


@pytest.mark.parametrize("typed", ["true", "false"])
@pytest.mark.parametrize("source", ["kitchen", "files", "bag"])
def test_the_chain_requires_all_its_parts_or_none(
    start: Start, bag: str, source: str, typed: str
) -> None:
    found = start("chain", source=source, path=bag, detector="model",
                  detector_model="/detr", required=typed)  # fmt: skip
    assert len(found) == 3 if source != "kitchen" else 2
    assert {one.on_exit is not None for one in found.values()} == {typed == "true"}


def test_the_demos_end_is_the_launchs(start: Start) -> None:
    (demo,) = start("demo").values()
    assert "ended" in end(demo.on_exit, 0).reason
