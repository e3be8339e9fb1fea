"""The shared fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_a_domain_of_our_own() -> None:
    assert 1 <= int(os.environ["ROS_DOMAIN_ID"]) <= 101


def test_the_source_folder_is_not_tested() -> None:
    """Neither without an installed package, nor if the source folder hides it."""
    for command in (["-m", "pytest", "tests/build"], ["-P", "-m", "pytest", "tests/build"]):
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 4
        assert "run scripts/test, or scripts/run pytest" in ended.stdout + ended.stderr


def test_spawn_waits_until_a_program_is_ready(spawn) -> None:
    code = "import time; time.sleep(0.2); print('server is ready'); time.sleep(60)"
    process = spawn("python", "-c", code, ready="is ready")
    assert process.returncode is None
    process.stop()
    assert process.returncode != 0


def test_spawn_shows_what_a_dead_program_printed(spawn) -> None:
    with pytest.raises(AssertionError, match=r"ended with 3 without printing 'ready'.*\nno model"):
        spawn("python", "-c", "print('no model'); exit(3)", ready="ready")


def test_ros_node_spins(ros_node, spawn, settle) -> None:
    """A service of another process answers while nobody spins here."""
    from rcl_interfaces.srv import GetParameters

    code = (
        "import rclpy; rclpy.init(); node = rclpy.create_node('other');"
        "print('ready'); rclpy.spin(node)"
    )
    spawn("python", "-c", code, ready="ready")
    client = ros_node.create_client(GetParameters, "/other/get_parameters")
    assert client.wait_for_service(60.0)
    settle(ros_node, "/other")
    response = client.call(GetParameters.Request(names=["use_sim_time"]), timeout_sec=60.0)
    assert response.values[0].bool_value is False
