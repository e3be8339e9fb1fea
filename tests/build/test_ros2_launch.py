"""The launch files and the node under the real `ros2`: as the README says, by its own commands."""

from __future__ import annotations

import re
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.ros.transports import VARIABLE

pytestmark = [pytest.mark.ros_distro, pytest.mark.timeout(600)]

SHARE = Path(get_package_share_directory("chatspot_ros"))
FILES = sorted(path.name.removesuffix(".launch.py") for path in (SHARE / "launch").glob("*.py"))
# Asked without the daemon, which would outlive the tests and know another domain's nodes.
ALONE = ("--no-daemon", "--spin-time", "5")
NODE = "/robot1/region_query_node"
# Until a model is loaded on a machine that has much else to do.
RESULT_S = 200.0
Ros2 = Callable[..., str]
INCLUDES = {
    "xml": """
        <launch>
          <group>
            <push-ros-namespace namespace="robot1"/>
            <set_env name="WHO_STARTED" value="xml"/>
            <include file="$(find-pkg-share chatspot_ros)/launch/chain.launch.py">
              <arg name="seed" value="7"/>
              <arg name="width" value="320"/>
              <arg name="height" value="240"/>
            </include>
          </group>
        </launch>
        """,
    "yaml": """
        launch:
        - group:
          - push_ros_namespace: {namespace: robot1}
          - set_parameter: {name: no_image_warning, value: "7.5"}
          - include:
              file: "$(find-pkg-share chatspot_ros)/launch/chain.launch.py"
              arg:
              - {name: source, value: files}
              - {name: path, value: FILES}
              - {name: namespace, value: arm}
              - {name: autostart, value: "false"}
        """,
}


def ready(name: str) -> str:
    return f"ready: {name}"


@pytest.fixture(scope="module")
def ros2() -> Ros2:
    """`ros2("param", "list")`: what the command prints; it must succeed."""

    def run(*command: str) -> str:
        done = subprocess.run(
            ["ros2", *command], capture_output=True, text=True, timeout=RESULT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def chain(module_spawn: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kitchen, its detector and the node, included from XML, all in a namespace."""
    file = tmp_path_factory.mktemp("launch") / "robot.launch.xml"
    file.write_text(textwrap.dedent(INCLUDES["xml"]))
    process = module_spawn("ros2", "launch", str(file))
    for node in ("kitchen_camera", "kitchen_detector", "region_query_node"):
        process.wait_for(ready(node), RESULT_S)
    return process


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_takes(ros2: Ros2, name: str) -> None:
    shown = ros2("launch", "chatspot_ros", f"{name}.launch.py", "--show-args")
    assert re.findall(r"'(\w+)':\n {8}\S", shown)


def test_a_service_call(chain: Any, ros2: Ros2) -> None:
    request = "{question: 'What is this? <box>0.1,0.1,0.9,0.9</box>'}"
    reply = ros2("service", "call", f"{NODE}/region_query", "chatspot_ros/srv/RegionQuery", request)
    assert "status=0" in reply
    assert "Point32(x=32.0, y=24.0" in reply  # of 320 x 240: the kitchen's own arguments went in
    request = "{question: 'What is this?', use_detections: true}"
    reply = ros2("service", "call", f"{NODE}/region_query", "chatspot_ros/srv/RegionQuery", request)
    assert "status=0" in reply
    assert "label='" in reply


def test_an_action_with_its_words_as_they_come(chain: Any, ros2: Ros2) -> None:
    goal = "{question: 'Describe the whole image in detail.'}"
    said = ros2("action", "send_goal", "--feedback", f"{NODE}/ask_region",
                "chatspot_ros/action/AskRegion", goal)  # fmt: skip
    assert "Goal finished with status: SUCCEEDED" in said
    assert said.count("Feedback:") > 1
    assert "a kitchen" in said.partition("Result:")[2]


def test_the_kitchen_acts(chain: Any, ros2: Ros2) -> None:
    step = "{step: {action: open, target: fridge}}"
    reply = ros2("service", "call", "/robot1/kitchen/act", "chatspot_ros/srv/KitchenAct", step)
    assert "done=True" in reply


def test_a_topic_is_heard(chain: Any, ros2: Ros2) -> None:
    shown = ros2("topic", "echo", *ALONE, "--once", "--no-arr", "/robot1/image")
    assert "width: 320" in shown
    shown = ros2("topic", "echo", *ALONE, "--once", "/diagnostics")
    assert NODE in shown


def test_parameters_are_read_set_refused_and_dumped(
    chain: Any, ros2: Ros2, tmp_path: Path, spawn: Callable[..., Any]
) -> None:
    assert "chatspot-tiny" in ros2("param", "get", *ALONE, NODE, "model")
    assert "in s" in ros2("param", "describe", *ALONE, NODE, "max_image_age")
    assert "successful" in ros2("param", "set", *ALONE, NODE, "default_question", "What now?")
    # Sent as an integer and a boolean.
    for name, value in {"session_idle": "600", "service_introspection": "off"}.items():
        assert "successful" in ros2("param", "set", *ALONE, NODE, name, value)
    for name, value in {"model": "/elsewhere", "max_image_age": "-3.0"}.items():
        refused = subprocess.run(
            ["ros2", "param", "set", *ALONE, NODE, name, value],
            capture_output=True, text=True, timeout=RESULT_S, check=False,
        )  # fmt: skip
        assert name in refused.stdout + refused.stderr
        assert "successful" not in refused.stdout
    dump = yaml.safe_load(ros2("param", "dump", *ALONE, NODE))
    parameters = dump[NODE]["ros__parameters"]
    assert parameters["default_question"] == "What now?"
    # What was dumped is a parameter file, after what must not start a second model.
    parameters["autostart"] = False
    file = tmp_path / "dump.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    second = spawn("ros2", "launch", "chatspot_ros", "region_query.launch.py",
                   f"params_file:={file}", "namespace:=second")  # fmt: skip
    second.wait_for("waiting to be configured", RESULT_S)
    told = ros2("param", "get", *ALONE, "/second/region_query_node", "default_question")
    assert "What now?" in told


def test_a_lifecycle_by_its_commands(chain: Any, ros2: Ros2) -> None:
    assert "active [3]" in ros2("lifecycle", "get", *ALONE, NODE)
    for transition, state in (
        ("deactivate", "inactive [2]"), ("cleanup", "unconfigured [1]"),
        ("configure", "inactive [2]"), ("activate", "active [3]"),
    ):  # fmt: skip
        told = ros2("lifecycle", "set", *ALONE, NODE, transition)
        assert "Transitioning successful" in told
        assert state in ros2("lifecycle", "get", *ALONE, NODE)


def test_the_environment_around_it_reaches_the_nodes(chain: Any) -> None:
    node = next(line for line in chain.lines if "[region_query_node-" in line and "pid [" in line)
    pid = int(node.rpartition("[")[2].rstrip("]"))
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"WHO_STARTED=xml" in environment
    assert any(entry.startswith(f"{VARIABLE}=".encode()) for entry in environment)


def test_pictures_of_a_folder_included_from_yaml(
    spawn: Callable[..., Any], ros2: Ros2, tmp_path: Path
) -> None:
    import cv2

    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "one.png"), np.full((30, 40, 3), 200, np.uint8))
    file = tmp_path / "robot.launch.yaml"
    text = textwrap.dedent(INCLUDES["yaml"]).replace("FILES", str(tmp_path / "pictures"))
    file.write_text(text)
    process = spawn("ros2", "launch", str(file))
    process.wait_for(ready("file_camera"), RESULT_S)
    process.wait_for("waiting to be configured", RESULT_S)
    shown = ros2("topic", "echo", *ALONE, "--once", "--no-arr", "/robot1/arm/image")
    assert "width: 40" in shown
    told = ros2("param", "get", *ALONE, "/robot1/arm/region_query_node", "no_image_warning")
    assert "7.5" in told


def test_a_detector_gets_its_parameters(spawn: Callable[..., Any]) -> None:
    """Of their types, or it would not come so far; to load a model is tests/detector's."""
    process = spawn("ros2", "launch", "chatspot_ros", "detector.launch.py",
                    "model:=/nowhere/detr", "threshold:=0.5", "use_sim_time:=true")  # fmt: skip
    process.wait_for("/nowhere/detr", RESULT_S)
    process.wait_for("process has died", RESULT_S)


def test_a_part_that_cannot_start_ends_the_launch_and_says_so_once(
    spawn: Callable[..., Any],
) -> None:
    process = spawn("ros2", "launch", "chatspot_ros", "chain.launch.py", "model:=/nowhere/at.all")
    assert process.wait(RESULT_S) == 1
    assert len([line for line in process.lines if "there is no such model" in line]) == 1
    for part in ("kitchen_camera", "kitchen_detector"):
        assert re.search(rf"\[{part}-\d\]: process has finished cleanly", process.output)
    assert re.search(r"region_query_node-\d ended with status 1, its last lines", process.output)


def test_a_part_that_is_not_required_leaves_the_rest(spawn: Callable[..., Any], ros2: Ros2) -> None:
    process = spawn("ros2", "launch", "chatspot_ros", "chain.launch.py", "required:=no",
                    "model:=/nowhere/at.all", "namespace:=rest")  # fmt: skip
    process.wait_for("process has died", RESULT_S)
    process.wait_for(ready("kitchen_camera"), RESULT_S)
    assert "width: 640" in ros2("topic", "echo", *ALONE, "--once", "--no-arr", "/rest/image")
    process.send(signal.SIGINT)
    assert process.wait(RESULT_S) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chain", "source:=telescope"), "telescope"),
        (("chain", "source:=files"), "needs path"),
        (("chain", "params_file:=/nowhere.yaml"), "/nowhere.yaml is no file"),
        (("region_query", "params_file:=/nowhere.yaml"), "/nowhere.yaml is no file"),
        (("region_query", "cameras:=front"), "NAME=IMAGE_TOPIC"),
        (("chain", "width:=wide"), "width is a whole number"),
        (("kitchen", "with_detector:=flase"), "with_detector is true or false"),
    ],
)
def test_what_does_not_fit_is_named(arguments: tuple[str, ...], words: str) -> None:
    name, *given = arguments
    done = subprocess.run(
        ["ros2", "launch", "chatspot_ros", f"{name}.launch.py", *given],
        capture_output=True, text=True, timeout=RESULT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    # `launch` would leave it behind.
    assert "process started" not in done.stdout + done.stderr
