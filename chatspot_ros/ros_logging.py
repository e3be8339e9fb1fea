"""Python's logging, which the layers without ROS use, sent on to a ROS logger."""

from __future__ import annotations

import logging
from typing import Any


class RosLogHandler(logging.Handler):
    """Passes records on to the logger of a node, with their traceback."""

    def __init__(self, ros_logger: Any) -> None:
        super().__init__()
        self._ros_logger = ros_logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at the matching severity."""
        text = self.format(record)
        # rclpy ties a line of code to one severity, so each has its own.
        if record.levelno >= logging.ERROR:
            self._ros_logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros_logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._ros_logger.info(text)
        else:
            self._ros_logger.debug(text)


def forward_logging(ros_logger: Any) -> logging.Handler:
    """Send the records of this project's packages to a ROS logger.

    Return the handler, to be removed at the end.
    """
    handler = RosLogHandler(ros_logger)
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("chatspot_ros")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    return handler
