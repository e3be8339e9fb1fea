"""Forwards Python's logging, which the layers without ROS use, to a ROS logger.

In its own thread: a blocked console would block the thread that logs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import LoggingSeverity

_PACKAGE = "chatspot_ros"
# The function that rclpy's logger writes with. Python's record already has the caller; rclpy's
# logger would search it again, which takes five times as long as writing, and find this file.
_WRITE = getattr(rclpy_implementation, "rclpy_logging_rcutils_log", None)
# The number of lines that may wait to be written; further ones are dropped.
_WAITING = 10_000


class RosLogHandler(logging.Handler):
    """Writes records to the logger of a node, with their tracebacks."""

    def __init__(self, ros_logger: Any) -> None:
        super().__init__()
        self._ros_logger = ros_logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at the matching severity."""
        text = self.format(record)
        if _WRITE is not None:
            severity = _severity(record.levelno)
            if self._ros_logger.is_enabled_for(severity):
                where = (record.funcName, record.pathname, record.lineno)
                _WRITE(severity, self._ros_logger.name, text, *where)
            return
        # rclpy allows one severity for each line of code.
        if record.levelno >= logging.ERROR:
            self._ros_logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros_logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._ros_logger.info(text)
        else:
            self._ros_logger.debug(text)


def _severity(level: int) -> LoggingSeverity:
    """Return the ROS severity of a level of Python's logging."""
    for severity in (LoggingSeverity.FATAL, LoggingSeverity.ERROR, LoggingSeverity.WARN,
                     LoggingSeverity.INFO):  # fmt: skip
        if level >= severity:
            return severity
    return LoggingSeverity.DEBUG


class _Lines(QueueHandler):
    """Queues records for the thread that writes them; never blocks."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it if the queue is full."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


class LogForwarding:
    """Forwards the records of this package to a ROS logger, in order, until `close`."""

    def __init__(self, ros_logger: Any) -> None:
        """Start at once."""
        waiting: queue.Queue[Any] = queue.Queue(_WAITING)
        self._lines = _Lines(waiting)
        self._listener = QueueListener(waiting, RosLogHandler(ros_logger))
        self._listener.start()
        package = logging.getLogger(_PACKAGE)
        package.addHandler(self._lines)
        package.setLevel(logging.INFO)
        package.propagate = False

    def close(self) -> None:
        """Write the queued records, and stop."""
        logging.getLogger(_PACKAGE).removeHandler(self._lines)
        self._listener.stop()
