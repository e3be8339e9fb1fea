"""Starting, changing state and ending: said once, in one line, and never left hanging."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

WRONG_FILES = ("skills_file", "states_file", "watch", "model")


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_that_is_not_there_is_said_once(spawn: Any, name: str) -> None:
    process = spawn(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args", "-r",
                    "__ns:=/wrong", "-p", f"{name}:=/nowhere/at.all")  # fmt: skip
    assert process.wait(120.0) == 1
    told = [line for line in process.lines if "/nowhere/at.all" in line and "[INFO]" not in line]
    assert len(told) == 1, told
    assert "Traceback" not in process.output


def test_a_failure_is_said_once(start_fake: Any) -> None:
    world = start_fake(ready=None, FAKE_LOAD_FAILS="it is broken")
    assert world.process.wait(60.0) == 1
    assert sum("it is broken" in line for line in world.process.lines) == 1


def change(world: Any, transition: int) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = world.ros.create_client(
        ChangeState, f"{world.namespace}/region_query_node/change_state"
    )
    assert client.wait_for_service(60.0)
    asked = ChangeState.Request(transition=Transition(id=transition))
    assert world.wait_until(lambda: world.soon(client.call_async(asked)), 30.0).success


def test_each_transition_is_logged(start_fake: Any) -> None:
    from lifecycle_msgs.msg import Transition

    world = start_fake()
    world.wait_for_services()
    for transition, words in (
        (Transition.TRANSITION_DEACTIVATE, "inactive"),
        (Transition.TRANSITION_CLEANUP, "unconfigured"),
        (Transition.TRANSITION_CONFIGURE, "inactive"),
        (Transition.TRANSITION_ACTIVATE, "active"),
    ):
        before = len(world.process.lines)
        change(world, transition)
        world.process.wait_for(words, 20.0, after=before)


def test_a_finalized_node_gives_no_impossible_hint(start_fake: Any) -> None:
    from lifecycle_msgs.msg import Transition

    world = start_fake()
    world.wait_for_services()
    change(world, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    reply = world.ask("what")
    assert reply.name == "NOT_ACTIVE"
    assert "finalized" in reply.message
    assert "activate" not in reply.message
    assert "lifecycle set" not in reply.message


def test_a_second_node_of_the_name_is_noticed(start_fake: Any, spawn: Any) -> None:
    world = start_fake()
    world.wait_for_services()
    command = [*world.process.command]
    second = spawn(*command, ready="ready: region_query_node")
    name = f"{world.namespace}/region_query_node"
    line = second.wait_for("another node", 30.0)
    assert name in line
    assert "WARN" in line


def test_stdout_closed_is_no_failure(start_fake: Any) -> None:
    world = start_fake()
    world.wait_for_services()
    command = [*world.process.command[:-1], world.process.command[-1]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env={**os.environ, "PYTHONUNBUFFERED": "1"}, text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.stdout.close()  # as `| head -1` does
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()


@pytest.mark.parametrize("variable", ["HOME", "ROS_LOG_DIR", "ROS_HOME"])
def test_an_unwritable_folder_is_one_line(spawn: Any, variable: str) -> None:
    """rcl cannot make its log folder: a traceback today."""
    process = spawn(sys.executable, "-m", "chatspot_ros.file_camera_node", "--ros-args", "-p",
                    "path:=/nowhere.png", env={variable: "/proc/nowhere"})  # fmt: skip
    process.wait(60.0)
    assert "Traceback" not in process.output
    assert len([line for line in process.lines if "/proc/nowhere" in line]) <= 1


def test_the_log_of_a_query_tells_task_regions_and_answer(start_fake: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    stamp = world.publish_frame()
    before = len(world.process.lines)
    world.ask("say a blue mug", stamp=stamp)
    world.ask("say it <box>1,2,30,40</box>", stamp=stamp, task="state")
    world.ask("what", stamp=stamp)
    told = "\n".join(world.log_since(before))
    assert told.count("a blue mug") >= 2  # what was asked, and what was answered
    (typed,) = [one for one in told.splitlines() if "say it" in one and "asked" in one]
    assert "state" in typed
    assert "1 region" in typed
