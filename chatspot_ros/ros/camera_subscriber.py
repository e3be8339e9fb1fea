"""Subscriptions of one camera: images, detections, clicks. Callbacks only store messages."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Point
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ImageError
from chatspot_ros.ros.camera_diagnosis import COMPRESSED, RAW, Listening, diagnose
from chatspot_ros.ros.conversions import detections_stamp_ns, to_detected_regions, to_ns
from chatspot_ros.ros.diagnostics import CameraReport
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.frame_buffer import NS, Frame
from chatspot_ros.server.request import Picture

OnClick = Callable[[Camera, float, float], Coroutine[Any, Any, None]]
OnDetections = Callable[[Camera, Detection2DArray, tuple[Region, ...]], None]
RELIABILITY = {
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_available": ReliabilityPolicy.BEST_AVAILABLE,
    "system_default": ReliabilityPolicy.SYSTEM_DEFAULT,
}
_WARN_AGAIN_S = 30.0
# The encapsulation header of a serialized message.
_CDR_BYTES = 4
# From this number of detection messages without a frame on, a warning is due.
_UNMATCHED = 5
# The ROS graph is read this often at most.
_LOOK_AGAIN_S = 0.5
# More lost at once is a reset of the middleware's count.
_MOST_LOST = 1_000_000


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
        self._incompatible = self._incompatible_untold = False
        self._diagnosed: tuple[float, str] | None = None
        camera.diagnose = self.diagnose
        self._message_type: type[Any] = Image
        self.topic = node.resolve_topic_name(f"{prefix}image")
        if settings.image_transport == "compressed":
            self._message_type = CompressedImage
            self.topic += "/compressed"

    def start(self) -> None:
        """Subscribe. For the executor's thread."""
        self._begin_patience(time.monotonic())
        self._last_frame_s = self._diagnosed = None
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
            depth=settings.image_depth, reliability=RELIABILITY[settings.image_reliability]
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
        age_s = None if self._last_frame_s is None else now_s - self._last_frame_s
        return CameraReport(
            name=self.camera.name,
            topic=self.topic,
            subscribed=bool(self._subscriptions),
            detections_topic=self._node.resolve_topic_name(f"{self._prefix}detections"),
            frames=self._frames,
            lost=self._lost,
            rate_hz=(self._frames - before) / max(now_s - since_s, 1e-3),
            age_s=age_s,
            silence=self.diagnose() if self._subscriptions and self._is_quiet(now_s) else "",
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

    def diagnose(self) -> str:
        """Return which topic is listened on, and why no image comes. For the executor's thread."""
        now_s = time.monotonic()
        if self._diagnosed is None or now_s - self._diagnosed[0] > _LOOK_AGAIN_S:
            self._diagnosed = now_s, diagnose(self._look(now_s))
        return self._diagnosed[1]

    def _look(self, now_s: float) -> Listening:
        own = self._node.get_fully_qualified_name() + "/"
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        images = {
            name: types[0]
            for name, types in self._node.get_topic_names_and_types()
            if types
            and types[0] in (RAW, COMPRESSED)
            and not name.startswith(own)
            and name != self.topic
            and self._node.count_publishers(name)
        }
        best_effort = ReliabilityPolicy.BEST_EFFORT
        last_s = self._last_frame_s
        return Listening(
            topic=self.topic,
            wanted=RAW if self._message_type is Image else COMPRESSED,
            reliable=self.camera.settings.image_reliability == "reliable" or self._incompatible,
            publishers=[
                (one.topic_type, one.qos_profile.reliability == best_effort) for one in publishers
            ],
            images=images,
            quiet_s=now_s - (self._quiet_since_s if last_s is None else last_s),
            frames=0 if last_s is None else self._frames,
            lost=self._lost,
        )

    def _is_quiet(self, now_s: float) -> bool:
        """Return True where no frame has come yet, or none for longer than is allowed."""
        allowed_s = self.camera.settings.max_image_age
        return self._last_frame_s is None or 0 < allowed_s < now_s - self._last_frame_s

    def _watch_images(self) -> None:
        """Say why no frame comes; each wait is twice the one before."""
        now_s = time.monotonic()
        limit_s = self.camera.settings.no_image_warning
        if not self._incompatible_untold and (
            limit_s <= 0 or now_s - self._quiet_since_s < self._patience_s
        ):
            return
        self._incompatible_untold = False
        self._patience_s *= 2
        said, logger = self.diagnose(), self._node.get_logger()
        if self._last_frame_s is not None and not self._lost:
            logger.info(f"the camera has stopped: {said}")
        else:
            logger.warning(f"no image: {said}")

    def _begin_patience(self, now_s: float) -> None:
        self._quiet_since_s = now_s
        self._patience_s = self.camera.settings.no_image_warning

    def _on_image(self, data: bytes) -> None:
        message_type = self._message_type
        try:
            head = read_head(data, message_type)
        except Exception:
            head = Head(0, "")  # BAD_IMAGE to whoever asks about it
        stamp_ns, frame_id = head.stamp_ns, head.frame_id
        picture = Picture(
            lambda: read_message(data, message_type),
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
        if self.camera.add_frame(Frame(key_ns, picture, len(data), self._last_frame_s)):
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
        broken = sum(not math.isfinite(sum(map(sum, region.points_px))) for region in regions)
        if broken:
            self._node.get_logger().warning(
                f"{broken} of {len(regions)} detections on {self._prefix}detections are left out: "
                "not finite, or without area",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
        self.camera.add_detections(stamp_ns, regions)
        self._on_arrival()
        self._tell_detections(self.camera, message, regions)

    async def _on_point(self, point: Point) -> None:
        await self._on_click(self.camera, point.x, point.y)

    def _on_message_lost(self, info: Any) -> None:
        self._lost += plausible_loss(info.total_count_change)

    def _on_incompatible_qos(self, _: Any) -> None:
        self._incompatible = self._incompatible_untold = True


def plausible_loss(change: int) -> int:
    """Return a change of the middleware's count of lost messages; 0 where the count was reset."""
    return change if 0 < change < _MOST_LOST else 0


@dataclass(frozen=True)
class Head:
    """The first fields of a serialized image; `size_wh` in pixels, None if they do not say."""

    stamp_ns: int
    frame_id: str
    size_wh: tuple[int, int] | None = None


def read_message(data: bytes, message_type: type[Any]) -> Any:
    """Return a deserialized message. Raises ImageError for broken bytes."""
    try:
        return deserialize_message(data, message_type)
    except Exception as error:
        raise ImageError(
            "the message's bytes cannot be read", value=error, remedy="look at what sends them"
        ) from error


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
