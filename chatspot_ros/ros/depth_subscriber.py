"""Subscriptions of one camera's depth pictures and CameraInfo. Callbacks only store messages."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from chatspot_ros.ros.camera_subscriber import RELIABILITY, read_head, read_message
from chatspot_ros.ros.conversions import to_ns
from chatspot_ros.server.depth_settings import COMPRESSED_DEPTH
from chatspot_ros.server.positions import DepthBuffer, DepthPicture
from chatspot_ros.server.settings import Settings

_WARN_AGAIN_S = 30.0


class DepthSubscriber:
    """Stores a camera's depth pictures, still serialized, and its CameraInfo."""

    def __init__(
        self,
        node: Node,
        buffer: DepthBuffer,
        settings: Settings,
        *,
        prefix: str,
        group: CallbackGroup,
    ) -> None:
        """`prefix` is put before the topics' names. Nothing is subscribed before `start`."""
        self._node = node
        self._buffer = buffer
        self._settings = settings
        self._group = group
        self._message_type: type[Any] = Image
        self.topic = node.resolve_topic_name(f"{prefix}depth/image")
        if settings.depth_images == COMPRESSED_DEPTH:
            self._message_type = CompressedImage
            self.topic += f"/{COMPRESSED_DEPTH}"
        self.info_topic = node.resolve_topic_name(f"{prefix}depth/camera_info")
        buffer.topics = (self.topic, self.info_topic)
        self._subscriptions: list[Any] = []

    def start(self) -> None:
        """Subscribe. For the executor's thread."""
        settings = self._settings
        qos = QoSProfile(
            depth=settings.image_depth, reliability=RELIABILITY[settings.image_reliability]
        )
        latest = QoSProfile(depth=settings.image_depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscriptions = [
            # Depth pictures stay serialized until a region is asked about.
            self._node.create_subscription(
                self._message_type, self.topic, self._on_depth, qos,
                callback_group=self._group, raw=True,
            ),
            self._node.create_subscription(
                CameraInfo, self.info_topic, self._on_info, latest, callback_group=self._group
            ),
        ]  # fmt: skip

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_depth(self, data: bytes) -> None:
        try:
            head = read_head(data, self._message_type)
        except Exception:
            self._node.get_logger().warning(
                f"a depth picture on {self.topic} cannot be read ({len(data)} bytes)",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
            return
        load = partial(read_message, data, self._message_type)
        self._buffer.add_depth(DepthPicture(load, head.stamp_ns, head.frame_id), len(data))

    def _on_info(self, info: CameraInfo) -> None:
        self._buffer.add_info(to_ns(info.header.stamp), info)
