"""Nodes with a scripted engine, each in a process of its own, and what talks to them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("world")
from world import Gate, World  # noqa: E402

FAKE_NODE = str(Path(__file__).with_name("faulty_node.py"))
# A slow machine must not make frames too old; what is about age has limits of its own.
PATIENT = ("-p", "max_image_age:=600.0", "-p", "buffer_seconds:=600.0")
_namespaces = itertools.count()


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a file opens a gate."""
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def fake(module_spawn: Any, module_ros_node: Any, gates: Path) -> World:
    """A node with the scripted engine, and what talks to it; one for all tests of a file."""
    process = module_spawn(
        *(sys.executable, FAKE_NODE, "--ros-args", *PATIENT),
        ready="ready: region_query_node",
        env={"FAKE_GATES": str(gates)},
    )
    world = World(module_ros_node, process)
    world.wait_for_node()
    return world


@pytest.fixture
def gate(gates: Path) -> Iterator[Gate]:
    """A question to `fake` that is not done before the test says so, or ends."""
    made = Gate(gates)
    yield made
    made.open()


@pytest.fixture
def start_fake(spawn: Any, ros_node: Any) -> Callable[..., World]:
    """Start a node of the test's own: `start_fake("-p", "queue_size:=1", FAKE_LOAD_BREAKS="1")`."""

    def start(*arguments: str, ready: str | None = "ready: region_query_node", **env: str) -> World:
        # The node of the whole file still runs, so this one keeps to itself.
        namespace = f"/own_{next(_namespaces)}"
        command = (sys.executable, FAKE_NODE, "--ros-args", "-r", f"__ns:={namespace}", *PATIENT)
        process = spawn(*command, *arguments, ready=ready, env=env)
        return World(ros_node, process, namespace)

    return start


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    """What talks to a node that the test itself has started."""
    return World
