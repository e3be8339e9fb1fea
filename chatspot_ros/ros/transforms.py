"""Transforms into the target frame by tf2, where tf2_ros is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time

from chatspot_ros.errors import PositionError
from chatspot_ros.server.positions import Motion


class Transforms:
    """Listens to /tf and /tf_static, and finds the motion from a frame into the target frame."""

    def __init__(self, node: Node, target_frame: str) -> None:
        """Begin to listen. Without tf2_ros every call says so, and so does the log, once."""
        self._target = target_frame
        self._problem = ""
        try:
            tf2: Any = importlib.import_module("tf2_ros")
        except ImportError as error:
            self._problem = str(error)
            node.get_logger().warning(
                f"target_frame is {target_frame}, but tf2_ros cannot be imported ({error}): "
                "answers have no position_in_target; install tf2_ros (ros-DISTRO-tf2-ros-py)"
            )
            return
        self._error = tf2.TransformException
        self._buffer = tf2.Buffer()
        self._listener = tf2.TransformListener(self._buffer, node)

    def find(self, frame_id: str, stamp_ns: int) -> Motion:
        """Return rotation (3 x 3) and translation (3, in m) out of a frame at a stamp.

        Raises PositionError: tf2 does not know it.
        """
        if self._problem:
            raise PositionError(
                f"no position in {self._target}: tf2_ros is not installed",
                value=self._problem,
                remedy="install tf2_ros (ros-DISTRO-tf2-ros-py)",
            )
        try:
            stamped = self._buffer.lookup_transform(
                self._target, frame_id, Time(nanoseconds=stamp_ns)
            )
        except self._error as error:
            raise PositionError(
                f"no transform from {frame_id} to {self._target} at the image's stamp",
                value=error,
                remedy="look what publishes /tf (ros2 run tf2_tools view_frames)",
            ) from error
        turn, move = stamped.transform.rotation, stamped.transform.translation
        return rotation_matrix(turn.x, turn.y, turn.z, turn.w), np.array([move.x, move.y, move.z])


def rotation_matrix(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix of a quaternion of any length above 0."""
    x, y, z, w = np.array([x, y, z, w]) / np.linalg.norm([x, y, z, w])
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
