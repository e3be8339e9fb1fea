"""Shared by all tests: the installed package is what is tested, on a ROS domain of its own."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from programs import Process, spawner


def qt_binding() -> str:
    """Name the window's Qt binding as pytest-qt does: rqt's own, else PySide6."""
    if importlib.util.find_spec("python_qt_binding") is None:
        return "pyside6"
    from python_qt_binding import QtCore

    return QtCore.__name__.split(".")[0].lower()


ROOT = Path(__file__).resolve().parents[1]

# Before Qt is imported: no screen is needed, and no window takes anybody's focus.
os.environ["QT_QPA_PLATFORM"] = "offscreen"
# pytest-qt must drive the binding that the window uses.
os.environ["PYTEST_QT_API"] = qt_binding()

# Above 101 the ports of a domain overlap those that Linux hands out to outgoing connections.
LAST_DOMAIN_ID = 101

# Where workers share the files among them these go first, or one of them ends long after the rest.
LONG_FILES = (
    "tests/ros/test_planner.py",
    "tests/demo/test_demo.py",
    "tests/ros/test_faults.py",
    "tests/ros/test_node_life.py",
    "tests/ros/test_soak.py",
)

_EXIT_STATUS = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    if not installed_package_is_found():
        pytest.exit(
            "the installed chatspot_ros is not importable here; "
            "run scripts/test, or scripts/run pytest ...",
            returncode=4,
        )
    if shares_tests(config):
        return
    # Always replaced: a test must never talk to a robot that the shell happens to be set up for.
    domain_id, lock = take_domain_id()
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    # With LARGE_DATA, of programs that start at once some never find each other (docs/adr/0006).
    # Both ends of a test are reliable or their images small.
    os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "DEFAULT"
    config.add_cleanup(lock.close)


def shares_tests(config: pytest.Config) -> bool:
    """Whether this process runs no tests, but hands them out to workers (pytest-xdist)."""
    return bool(config.getoption("numprocesses", default=None)) and not is_worker(config)


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def installed_package_is_found() -> bool:
    """Tell the installed package from the source folder, which has no generated interfaces."""
    try:
        return importlib.util.find_spec("chatspot_ros.srv") is not None
    except ModuleNotFoundError:
        return False


def take_domain_id() -> tuple[int, IO[str]]:
    """Find a domain that no other test run here holds; closing the file gives it back."""
    for domain_id in random.sample(range(1, LAST_DOMAIN_ID + 1), LAST_DOMAIN_ID):
        path = Path(tempfile.gettempdir()) / f"chatspot_ros_domain_{domain_id}.lock"
        try:
            lock = path.open("w")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return domain_id, lock
    pytest.exit("all ROS domains of this machine are taken by other test runs", returncode=4)


def pytest_report_header(config: pytest.Config) -> str:
    domain_id = "each worker's own" if shares_tests(config) else os.environ["ROS_DOMAIN_ID"]
    return f"ROS_DOMAIN_ID: {domain_id}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_worker(config):
        items.sort(key=lambda item: item.location[0] not in LONG_FILES)
    if shutil.which("ros2"):
        return
    for item in items:
        if item.get_closest_marker("ros_distro"):
            item.add_marker(pytest.mark.skip(reason="needs a real ROS 2 distribution (no ros2)"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture
def spawn() -> Iterator[Callable[..., Process]]:
    """Start a program: `spawn("python", "-m", "chatspot_ros.region_query_node", ready="text")`.

    `ready` waits for a line that holds the text. Every program is stopped after the test.
    """
    yield from spawner()


@pytest.fixture(scope="module")
def module_spawn() -> Iterator[Callable[..., Process]]:
    """As `spawn`, for programs that serve all tests of a file."""
    yield from spawner()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a bag: `write(("/image", message), ...)`; returns its folder."""
    from recorded import write_bag

    return functools.partial(write_bag, tmp_path)


@functools.cache
def _context() -> Any:
    """The ROS context of the whole test run, with a node that keeps its participant alive.

    With LARGE_DATA, Fast DDS 3.2 sometimes waits for ever when a participant with TCP channels is
    destroyed, so it is made once and ends with the process: see pytest_unconfigure.
    """
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    context.kept_alive = rclpy.create_node("test_run", context=context)  # type: ignore[attr-defined]
    return context


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_EXIT_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if _context.cache_info().currsize:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_EXIT_STATUS, 1))


def _spinning_node(name: str) -> Iterator[object]:
    import rclpy
    from rclpy.exceptions import InvalidHandle
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    context = _context()
    node = rclpy.create_node(name, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ended = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not ended.is_set():
                # A test may destroy what the executor is about to wait for.
                with contextlib.suppress(InvalidHandle):
                    executor.spin_once()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield node
    executor.create_task(ended.set)
    thread.join(5.0)
    executor.shutdown()
    node.destroy_node()


@pytest.fixture
def ros_node() -> Iterator[object]:
    """An rclpy node of the test's own, spinning in a thread: wait on futures, do not spin."""
    yield from _spinning_node("test_node")


@pytest.fixture(scope="module")
def module_ros_node() -> Iterator[object]:
    """As `ros_node`, for all tests of a file."""
    yield from _spinning_node("test_module_node")


def _settle(node: Any, name: str) -> None:
    from rcl_interfaces.srv import GetParameters

    client = node.create_client(GetParameters, f"{name}/get_parameters")
    assert client.wait_for_service(60.0)
    replied = threading.Event()
    for _ in range(60):
        client.call_async(GetParameters.Request()).add_done_callback(lambda _: replied.set())
        if replied.wait(1.0):
            break
    assert replied.is_set(), f"{name} does not reply"
    node.executor.create_task(lambda: node.destroy_client(client))


@pytest.fixture(scope="session")
def settle() -> Callable[[Any, str], None]:
    """Wait until a running node knows what was made here: `settle(ros_node, "/kitchen_camera")`.

    A server that does not know its new client's reader yet loses the reply. It hears of readers in
    the order in which they were made, so a reply to the newest one shows that it knows all.
    """
    return _settle
