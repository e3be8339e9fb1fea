"""Subscriptions of one camera: images, detections, clicks. Callbacks only store messages."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Point
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import detections_stamp_ns, to_detected_regions, to_ns
from chatspot_ros.ros.diagnostics import CameraReport
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.frame_buffer import NS, Frame
from chatspot_ros.server.request import Picture

OnClick = Callable[[Camera, float, float], Coroutine[Any, Any, None]]
OnDetections = Callable[[Camera, Detection2DArray, tuple[Region, ...]], None]
_RELIABILITY = {
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_available": ReliabilityPolicy.BEST_AVAILABLE,
    "system_default": ReliabilityPolicy.SYSTEM_DEFAULT,
}
_REMEDY = (
    "Fast DDS loses best-effort images above about 500 kB as it starts: start the camera with "
    "FASTDDS_BUILTIN_TRANSPORTS='DEFAULT?max_msg_size=60KB&sockets_size=16MB', or let both use "
    "reliable QoS (parameter image_reliability:=reliable). With LARGE_DATA in one process only, "
    "the two do not meet at all"
)
_WARN_AGAIN_S = 30.0
# The encapsulation header of a serialized message.
_CDR_BYTES = 4
# From this number of detection messages without a frame on, a warning is due.
_UNMATCHED = 5


class CameraSubscriber:
    """Stores a camera's messages, and warns if images or detections should come and do not."""

    def __init__(
        self,
        node: Node,
        camera: Camera,
        *,
        prefix: str,
        group: CallbackGroup,
        on_arrival: Callable[[], None],
        on_click: OnClick,
        on_detections: OnDetections,
    ) -> None:
        """`prefix` is put before the topics' names. Nothing is subscribed before `start`.

        `on_arrival` is called after each frame and each message of detections; after the latter
        also `on_detections`, with the message and its boxes in the detector's pixels.
        """
        settings = camera.settings
        self.camera = camera
        self._node = node
        self._group = group
        self._prefix = prefix
        self._on_arrival = on_arrival
        self._on_click = on_click
        self._tell_detections = on_detections
        self._last_frame_s: float | None = None
        self._frames = self._lost = self._detections = 0
        self._measured = (time.monotonic(), 0)
        self._subscriptions: list[Any] = []
        self._begin_patience(time.monotonic())
        self._message_type: type[Any] = Image
        self.topic = node.resolve_topic_name(f"{prefix}image")
        if settings.image_transport == "compressed":
            self._message_type = CompressedImage
            self.topic += "/compressed"

    def start(self) -> None:
        """Subscribe. For the executor's thread."""
        self._begin_patience(time.monotonic())
        self._last_frame_s = None
        self._subscriptions = [
            self._subscribe_images(),
            self._node.create_subscription(
                Detection2DArray,
                f"{self._prefix}detections",
                self._on_detections,
                QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
                callback_group=self._group,
            ),
            self._node.create_subscription(
                Point,
                f"{self._prefix}click",
                self._on_point,
                QoSProfile(depth=10),
                callback_group=self._group,
            ),
        ]

    def stop(self) -> None:
        """Unsubscribe: receiving an image costs time even if it is never used."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _subscribe_images(self) -> Any:
        settings = self.camera.settings
        qos = QoSProfile(
            depth=settings.image_depth, reliability=_RELIABILITY[settings.image_reliability]
        )

        def subscribe(**events: Any) -> Any:
            # Images stay serialized until one is asked about.
            return self._node.create_subscription(
                self._message_type,
                self.topic,
                self._on_image,
                qos,
                callback_group=self._group,
                raw=True,
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=self._on_incompatible_qos, **events
                ),
            )

        try:
            return subscribe(message_lost=self._on_message_lost)
        except UnsupportedEventTypeError:
            return subscribe()

    def report(self) -> CameraReport:
        """Return the camera's state for /diagnostics. Call it once a second."""
        now_s = time.monotonic()
        since_s, before = self._measured
        self._measured = (now_s, self._frames)
        held, matched = self.camera.detection_counts()
        return CameraReport(
            name=self.camera.name,
            topic=self.topic,
            subscribed=bool(self._subscriptions),
            frames=self._frames,
            lost=self._lost,
            rate_hz=(self._frames - before) / max(now_s - since_s, 1e-3),
            age_s=None if self._last_frame_s is None else now_s - self._last_frame_s,
            max_age_s=self.camera.settings.max_image_age,
            held=len(self.camera.frames),
            held_bytes=self.camera.frames.total_bytes,
            detections=self._detections,
            detections_held=held,
            detections_matched=matched,
            detections_unusable=self.camera.unusable_detections,
        )

    def watch(self, report: CameraReport) -> None:
        """Warn of faults that an operator has to mend. Call it once a second."""
        if not self._subscriptions:
            return
        self._watch_images()
        if report.detections_held >= _UNMATCHED and not report.detections_matched and report.held:
            self._node.get_logger().warning(
                f"no detections on {self._prefix}detections have the stamp of a frame of "
                f"{self.topic}: a detector must copy the image's header.stamp; for stamps that are "
                "a little off there is the parameter detection_tolerance",
                throttle_duration_sec=_WARN_AGAIN_S,
            )

    def _watch_images(self) -> None:
        """Warn while a publisher exists and no frame comes; each wait is twice the one before."""
        if self.camera.settings.no_image_warning <= 0:
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
        self._patience_s = self.camera.settings.no_image_warning

    def _on_image(self, data: bytes) -> None:
        message_type = self._message_type
        head = read_head(data, message_type)
        stamp_ns, frame_id = head.stamp_ns, head.frame_id
        picture = Picture(
            lambda: deserialize_message(data, message_type),
            stamp_ns=stamp_ns,
            frame_id=frame_id,
            camera=self.camera.name,
            size_wh=head.size_wh,
        )
        self._last_frame_s = time.monotonic()
        self._begin_patience(self._last_frame_s)
        self._frames += 1
        # Images without a stamp are ordered by their time of arrival.
        key_ns = stamp_ns or self._node.get_clock().now().nanoseconds
        if self.camera.add_frame(Frame(key_ns, picture, len(data))):
            self._node.get_logger().warning(
                f"the stamps on {self.topic} went back to {stamp_ns / NS:.3f} s; the frames before "
                "are forgotten",
                throttle_duration_sec=1.0,
            )
        self._on_arrival()

    def _on_detections(self, message: Detection2DArray) -> None:
        self._detections += 1
        stamp_ns = detections_stamp_ns(message)
        if not stamp_ns:
            self._node.get_logger().warning(
                f"detections on {self._prefix}detections have no stamp, so they belong to no "
                "frame: a detector must copy the image's header",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
        regions = to_detected_regions(message)
        self.camera.add_detections(stamp_ns, regions)
        self._on_arrival()
        self._tell_detections(self.camera, message, regions)

    async def _on_point(self, point: Point) -> None:
        await self._on_click(self.camera, point.x, point.y)

    def _on_message_lost(self, info: Any) -> None:
        self._lost += info.total_count_change

    def _on_incompatible_qos(self, info: Any) -> None:
        policy = qos_policy_name_from_kind(info.last_policy_kind)
        self._node.get_logger().warning(
            f"a publisher on {self.topic} offers a QoS that this node's subscription does not "
            f"accept (policy {policy}): no image of it will come; set "
            "image_reliability:=best_effort",
            throttle_duration_sec=1.0,
        )


@dataclass(frozen=True)
class Head:
    """The first fields of a serialized image; `size_wh` in pixels, None if they do not say."""

    stamp_ns: int
    frame_id: str
    size_wh: tuple[int, int] | None = None


def read_head(data: bytes, message_type: type[Any]) -> Head:
    """Return the fields before the data of a serialized sensor_msgs Image or CompressedImage.

    Reading only these bytes saves the milliseconds of deserializing a whole 1080p image, which may
    never be asked about.
    """
    try:
        order = "<" if data[1] & 1 else ">"
        sec, nanosec, length = struct.unpack_from(f"{order}iII", data, _CDR_BYTES)
        end = 16 + length
        frame_id = data[16:end]
        if len(frame_id) == length and frame_id[-1] == 0:
            size_wh = None
            if message_type is Image:
                # Numbers are aligned to 4 bytes; the encapsulation header is 4 bytes as well.
                height, width = struct.unpack_from(f"{order}II", data, -(-end // 4) * 4)
                size_wh = width, height
            return Head(sec * NS + nanosec, frame_id[:-1].decode(), size_wh)
    except (struct.error, IndexError, UnicodeDecodeError):
        pass  # Another encoding than expected: let the middleware deserialize it.
    header = deserialize_message(data, message_type).header
    return Head(to_ns(header.stamp), header.frame_id)
