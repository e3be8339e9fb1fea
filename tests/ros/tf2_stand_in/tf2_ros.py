"""The calls of tf2_ros that the node makes, for where tf2_ros is not installed (the wheels).

Transforms come as geometry_msgs/TransformStamped on `tf_stand_in`, and hold at their stamp only.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped


class TransformException(Exception):  # noqa: N818
    """Raised where there is no transform, by tf2's own name."""


class Buffer:
    """Holds transforms by target frame, source frame and stamp."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, int], TransformStamped] = {}

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any) -> Any:
        key = (target_frame, source_frame, time.nanoseconds)
        if key not in self.held:
            raise TransformException(f"{source_frame} does not exist at {time.nanoseconds}")
        return self.held[key]


class TransformListener:
    """Puts what comes on `tf_stand_in` into a buffer."""

    def __init__(self, buffer: Buffer, node: Any) -> None:
        self._buffer = buffer
        self._subscription = node.create_subscription(
            TransformStamped, "tf_stand_in", self._on_transform, 100
        )

    def _on_transform(self, message: TransformStamped) -> None:
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        self._buffer.held[message.header.frame_id, message.child_frame_id, stamp_ns] = message
