"""The life of a node's process.

Start, spin, a clean end at SIGINT and SIGTERM, an exit code that tells.
"""

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
    """Print a line for whoever has started the program, if it can be read at all."""
    with contextlib.suppress(OSError):  # a full disk must not end what works
        print(line, flush=True)


class Service(Protocol):
    """A node that can be served: `close` ends its work while its replies can still be sent."""

    def close(self) -> None:
        """Answer what is pending and release what is held; takes at most a few seconds."""

    def destroy_node(self) -> None:
        """Destroy the node (rclpy's own)."""

    def get_logger(self) -> Any:
        """Return the node's logger (rclpy's own)."""


class Stop:
    """Asks the process to end.

    The first reason wins. Safe from any thread and from signal handlers.
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
        """Wait until somebody asks."""
        self._event.wait()

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()


def serve(make_node: Callable[[Stop], Service], args: Sequence[str] | None = None) -> NoReturn:
    """Run a node until a signal or the node itself asks to stop; then end the process.

    The exit code is the node's, 0 after a signal, 1 when the node cannot be made.

    rclpy's own signal handlers end all communication first, so that pending requests could not be
    answered any more. Here the executor spins in a thread of its own while the main thread waits
    for the signal.
    """
    process_memory.arrange()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
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
    # The end takes a few seconds at most. An impatient second Ctrl-C must not cut the replies off.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    node.get_logger().info(f"stopping: {stop.reason}")
    node.close()
    # Waking is not enough: the executor returns to its loop only after it has done something.
    executor.create_task(closing.set)
    spinner.join(timeout=_END_S)
    _leave(lambda: _destroy(executor, node), stop.exit_code)


def _destroy(executor: SingleThreadedExecutor, node: Service) -> None:
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


def _leave(clean_up: Callable[[], None], exit_code: int) -> NoReturn:
    """Clean up as far as that goes in time, and end the process.

    With LARGE_DATA, Fast DDS 3.2 sometimes waits for ever when a participant with TCP channels is
    destroyed; and the interpreter must not end under a model that still computes.
    """
    cleaner = threading.Thread(target=clean_up, name="clean-up", daemon=True)
    cleaner.start()
    cleaner.join(timeout=_END_S)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # where it goes to, there may be no room
            stream.flush()
    os._exit(exit_code)


def _spin(
    executor: SingleThreadedExecutor, node: Service, stop: Stop, closing: threading.Event
) -> None:
    """Spin until `closing`; a callback that fails is logged and ends nothing but itself."""
    while not closing.is_set():
        try:
            executor.spin_once()
        except ExternalShutdownException:
            stop("the ROS context was shut down")
            return
        except Exception:
            node.get_logger().error(f"a callback failed; going on\n{traceback.format_exc()}")
