"""The topics of one camera: images, detections, clicks. Callbacks only store what came."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

from geometry_msgs.msg import Point
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from chatspot_ros.feeds import CameraFeed
from chatspot_ros.frames import NS, Frame
from chatspot_ros.messages import detections_stamp_ns, to_detected_regions, to_ns
from chatspot_ros.query import Picture
from chatspot_ros.settings import Settings

OnClick = Callable[[CameraFeed, float, float], Coroutine[Any, Any, None]]
_IMAGE_DEPTH = 5
_REMEDY = (
    "Fast DDS loses best-effort images above about 500 kB as it starts: start the camera with "
    "FASTDDS_BUILTIN_TRANSPORTS='DEFAULT?max_msg_size=60KB&sockets_size=16MB', or let both use "
    "reliable QoS (parameter image_reliability:=reliable). With LARGE_DATA in one process only, "
    "the two do not meet at all"
)


class CameraInput:
    """Fills a camera's feed from its topics, and warns when images should come and do not."""

    def __init__(
        self,
        node: Node,
        feed: CameraFeed,
        settings: Settings,
        *,
        prefix: str,
        group: CallbackGroup,
        on_arrival: Callable[[], None],
        on_click: OnClick,
    ) -> None:
        """`prefix` stands before the topics' names.

        `on_arrival` is called after each frame and detection.
        """
        self.feed = feed
        self.last_frame_s: float | None = None
        self.frame_count = 0
        self._node = node
        self._settings = settings
        self._on_arrival = on_arrival
        self._on_click = on_click
        self._begin_patience(time.monotonic())
        self._message_type: type[Any] = Image
        self.topic = node.resolve_topic_name(f"{prefix}image")
        if settings.image_transport == "compressed":
            self._message_type = CompressedImage
            self.topic += "/compressed"
        reliable = settings.image_reliability == "reliable"
        # Images come as bytes and are unpacked only when one is asked about.
        node.create_subscription(
            self._message_type,
            self.topic,
            self._on_image,
            QoSProfile(
                depth=_IMAGE_DEPTH,
                reliability=ReliabilityPolicy.RELIABLE
                if reliable
                else ReliabilityPolicy.BEST_EFFORT,
            ),
            callback_group=group,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
        )
        node.create_subscription(
            Detection2DArray,
            f"{prefix}detections",
            self._on_detections,
            QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=group,
        )
        node.create_subscription(
            Point, f"{prefix}click", self._on_point, QoSProfile(depth=10), callback_group=group
        )

    def watch(self) -> None:
        """Warn while a publisher exists and no frame comes, ever more rarely."""
        if self._settings.no_image_warning <= 0:
            return
        now_s = time.monotonic()
        publishers = self._node.count_publishers(self.topic)
        if not publishers:
            self._begin_patience(now_s)
        if now_s - self._quiet_since_s < self._patience_s:
            return
        self._patience_s *= 2
        self._node.get_logger().warning(
            f"{publishers} publisher(s) on {self.topic}, but no frame has come for "
            f"{now_s - self._quiet_since_s:.0f} s. If the camera does publish: {_REMEDY}"
        )

    def _begin_patience(self, now_s: float) -> None:
        self._quiet_since_s = now_s
        self._patience_s = self._settings.no_image_warning

    def _on_image(self, data: bytes) -> None:
        stamp_ns, frame_id = read_header(data, self._message_type)
        message_type = self._message_type
        picture = Picture(
            lambda: deserialize_message(data, message_type),
            stamp_ns=stamp_ns,
            frame_id=frame_id,
            camera=self.feed.name,
        )
        self.last_frame_s = time.monotonic()
        self._begin_patience(self.last_frame_s)
        self.frame_count += 1
        # A camera that does not stamp its images is known by when they came.
        key_ns = stamp_ns or self._node.get_clock().now().nanoseconds
        if self.feed.add_frame(Frame(key_ns, picture, len(data), frame_id)):
            self._node.get_logger().warning(
                f"the stamps on {self.topic} went back to {stamp_ns / NS:.3f} s; the frames before "
                "are forgotten"
            )
        self._on_arrival()

    def _on_detections(self, message: Detection2DArray) -> None:
        self.feed.add_detections(detections_stamp_ns(message), to_detected_regions(message))
        self._on_arrival()

    async def _on_point(self, point: Point) -> None:
        await self._on_click(self.feed, point.x, point.y)

    def _on_incompatible_qos(self, info: Any) -> None:
        self._node.get_logger().warning(
            f"a publisher on {self.topic} offers a QoS that this node's subscription does not "
            "accept (policy "
            f"{info.last_policy_kind}): no image of it will come; set "
            "image_reliability:=best_effort"
        )


def read_header(data: bytes, message_type: type[Any]) -> tuple[int, str]:
    """Return (stamp in ns, frame_id) of a serialized message that begins with a std_msgs/Header.

    Only these bytes are read: unpacking a whole 1080p image costs milliseconds, for frames nobody
    may ask about.
    """
    try:
        order = "<" if data[1] & 1 else ">"
        sec, nanosec, length = struct.unpack_from(f"{order}iII", data, 4)
        frame_id = data[16 : 16 + length]
        if len(frame_id) == length and frame_id[-1] == 0:
            return sec * NS + nanosec, frame_id[:-1].decode()
    except (struct.error, IndexError, UnicodeDecodeError):
        pass  # Not the encoding that was thought: let the middleware read it.
    header = deserialize_message(data, message_type).header
    return to_ns(header.stamp), header.frame_id
