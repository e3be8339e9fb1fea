"""Runs a node as a process: start, spin, a clean end at SIGINT and SIGTERM, an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from chatspot_ros.errors import ChatspotError
from chatspot_ros.util import process_memory

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_END_S = 2.0


def tell(line: str) -> None:
    """Print a line for the program's caller, if standard output can be written to."""
    with contextlib.suppress(OSError):  # a full disk must not end a working program
        print(line, flush=True)


class RunnableNode(Protocol):
    """A node that `run_node` can run. `close` ends its work while replies can still be sent."""

    def close(self) -> None:
        """Reply to all requests in flight and release everything, in a few seconds at most."""

    def destroy_node(self) -> None:
        """Destroy the node (rclpy's own)."""

    def get_logger(self) -> Any:
        """Return the node's logger (rclpy's own)."""


class Stop:
    """A request to end the process. The first reason wins.

    Safe from any thread and from signal handlers.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = 0
        self.reason = ""

    def __call__(self, reason: str, exit_code: int = 0) -> None:
        if not self._event.is_set():
            self.reason, self.exit_code = reason, exit_code
            self._event.set()

    def wait(self) -> None:
        """Wait for the request."""
        self._event.wait()

    def is_set(self) -> bool:
        """Return True after the request."""
        return self._event.is_set()


def run_node(
    make_node: Callable[[Stop], RunnableNode], args: Sequence[str] | None = None
) -> NoReturn:
    """Run a node until a signal or the node itself asks to stop; then end the process.

    The exit code is 0 after a signal, 1 if the node cannot be made, else the node's.

    rclpy's own signal handlers end all communication first, so that requests in flight would get no
    reply. Here the executor spins in its own thread while the main thread waits for the signal.
    """
    process_memory.arrange()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        # Of which a log folder that cannot be made is the usual one.
        print(
            f"cannot start: {str(error).splitlines()[0]}; arguments right, and ROS_LOG_DIR or HOME "
            "a folder that can be written to?",
            file=sys.stderr,
            flush=True,
        )
        _leave(rclpy.try_shutdown, 1)
    stop = Stop()
    for number in _SIGNALS:
        signal.signal(number, lambda caught, _: stop(signal.Signals(caught).name))
    try:
        node = make_node(stop)
    except ChatspotError as error:
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        _leave(rclpy.try_shutdown, 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    closing = threading.Event()
    spinner = threading.Thread(
        target=_spin, args=(executor, node, stop, closing), name="executor", daemon=True
    )
    spinner.start()
    stop.wait()
    # Ending takes a few seconds at most. A second Ctrl-C must not cut off the replies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    node.get_logger().info(f"stopping: {stop.reason}")
    node.close()
    # Waking is not enough: `spin_once` returns only after a task.
    executor.create_task(closing.set)
    spinner.join(timeout=_END_S)
    _leave(lambda: _destroy(executor, node), stop.exit_code)


def _destroy(executor: SingleThreadedExecutor, node: RunnableNode) -> None:
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


def _leave(clean_up: Callable[[], None], exit_code: int) -> NoReturn:
    """Clean up for at most 2 s, and end the process.

    With LARGE_DATA, Fast DDS 3.2 sometimes hangs when a participant with TCP channels is destroyed.
    And the interpreter must not shut down while a model is computing.
    """
    cleaner = threading.Thread(target=clean_up, name="clean-up", daemon=True)
    cleaner.start()
    cleaner.join(timeout=_END_S)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the disk may be full
            stream.flush()
    os._exit(exit_code)


def _spin(
    executor: SingleThreadedExecutor, node: RunnableNode, stop: Stop, closing: threading.Event
) -> None:
    """Spin until `closing`; log the exceptions of callbacks and go on."""
    while not closing.is_set():
        try:
            executor.spin_once()
        except ExternalShutdownException:
            stop("the ROS context was shut down")
            return
        except Exception:
            node.get_logger().error(f"a callback failed; going on\n{traceback.format_exc()}")
