"""A camera's pictures and detections for one watcher: the newest frame only, in a thread."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.detection_space import DetectionSpace
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.operators.client import Frame
from chatspot_ros.ros.camera_subscriber import read_head, read_message
from chatspot_ros.ros.conversions import detections_stamp_ns, to_detected_regions, to_ns
from chatspot_ros.ros.operator_link import CameraTopics
from chatspot_ros.server.frame_buffer import NS

# Best effort matches every publisher, and an old picture is worth nothing.
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_DETECTIONS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# A slow detector's boxes are shown on newer frames for so long.
_DETECTIONS_AGE_NS = 2 * NS
_HELD_DETECTIONS, _HELD_STAMPS = 16, 256


class OperatorCamera:
    """Calls back with every new frame until `end`; frames that come meanwhile are dropped."""

    def __init__(self, node: Node, name: str, on_frame: Callable[[Frame], None]) -> None:
        """`name` is the camera's; empty: the first one. `on_frame` runs in this camera's thread."""
        self.name = name
        # Why the newest picture cannot be shown; empty if it can.
        self.problem = ""
        self._node = node
        self._on_frame = on_frame
        self._topics: CameraTopics | None = None
        self._subscriptions: list[Any] = []
        self._camera = name
        self._news = threading.Condition()
        self._ended = False
        self._data: tuple[bytes, type[Any]] | None = None
        self._boxes_news = False
        self._stamps: deque[int] = deque(maxlen=_HELD_STAMPS)
        self._detections: deque[tuple[int, tuple[Region, ...]]] = deque(maxlen=_HELD_DETECTIONS)
        self._frame: Frame | None = None
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"camera {name}")
        self.thread.start()

    def follow(self, camera: str, topics: CameraTopics) -> None:
        """Subscribe to a camera's topics, unless it is done. For the executor's thread."""
        before, self._topics, self._camera = self._topics, topics, camera
        if self._ended or (
            before and (before.image, before.detections) == (topics.image, topics.detections)
        ):
            return
        self._unsubscribe()
        kind = CompressedImage if topics.compressed else Image
        # Pictures stay serialized until this camera's own thread has time for one.
        self._subscriptions = [
            self._node.create_subscription(
                kind, topics.image, lambda data: self._on_image(data, kind), _NEWEST, raw=True
            )
        ]
        if topics.detections:
            self._subscriptions.append(
                self._node.create_subscription(
                    Detection2DArray, topics.detections, self._on_detections, _DETECTIONS
                )
            )

    def end(self) -> None:
        """Call back no more."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def close(self) -> None:
        """End, and unsubscribe. For the executor's thread."""
        self.end()
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_image(self, data: bytes, kind: type[Any]) -> None:
        with self._news:
            self._data = data, kind
            with contextlib.suppress(Exception):  # broken bytes: the thread says so
                self._stamps.append(read_head(data, kind).stamp_ns)
            self._news.notify_all()

    def _on_detections(self, message: Detection2DArray) -> None:
        stamp_ns = detections_stamp_ns(message)
        if not stamp_ns:
            return  # they belong to no frame
        with self._news:
            self._detections.append((stamp_ns, to_detected_regions(message)))
            self._boxes_news = True
            self._news.notify_all()

    # --- the camera's own thread

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._ended or self._data or self._boxes_news)
                if self._ended:
                    return
                data, self._data, self._boxes_news = self._data, None, False
            try:
                frame = self._take(*data) if data else self._with_own_boxes()
                self.problem = ""
            except ChatspotError as error:
                frame, self.problem = None, f"camera {self._camera}: {error}"
            if frame is not None:
                self._frame = frame
                self._on_frame(frame)

    def _take(self, data: bytes, kind: type[Any]) -> Frame:
        message = read_message(data, kind)
        stamp_ns = to_ns(message.header.stamp)
        return self._with_boxes(Frame(self._camera, stamp_ns, message_to_rgb(message)))

    def _with_own_boxes(self) -> Frame | None:
        """Return the shown frame again if its own detections have come since; else None."""
        before = self._frame
        if before is None or before.detections_stamp_ns == before.stamp_ns:
            return None
        after = self._with_boxes(before)
        return after if after.detections_stamp_ns == after.stamp_ns else None

    def _with_boxes(self, frame: Frame) -> Frame:
        topics = self._topics
        if topics is None or not frame.stamp_ns:
            return frame
        near_ns = round(topics.detection_tolerance_s * NS)
        with self._news:
            held = [
                (frame.stamp_ns if abs(stamp - frame.stamp_ns) <= near_ns else stamp, regions)
                for stamp, regions in self._detections
                if -near_ns <= frame.stamp_ns - stamp <= _DETECTIONS_AGE_NS
            ]
            stamps = list(self._stamps)
        if not held:
            return frame
        stamp_ns, boxes = max(held, key=lambda one: one[0])
        if stamp_ns != frame.stamp_ns and stamps:
            # A frame that the node holds: the nearest that has come here.
            nearest = min(stamps, key=lambda one: abs(one - stamp_ns))
            stamp_ns = nearest if abs(nearest - stamp_ns) <= near_ns else stamp_ns
        height, width = frame.image_rgb.shape[:2]
        space = DetectionSpace.parse(topics.detection_space)
        regions = []
        for region in space.to_image(boxes, (width, height)):
            with contextlib.suppress(ChatspotError):  # not finite, or outside the picture
                regions.append(region.clipped(width, height))
        return Frame(frame.camera, frame.stamp_ns, frame.image_rgb, tuple(regions), stamp_ns)
