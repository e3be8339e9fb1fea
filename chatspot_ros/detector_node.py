"""A detector as a node: subscribes images, publishes detections with the image's header.

Topics: `image` (or `image/compressed`); `detections`, a vision_msgs/Detection2DArray. It processes
one picture at a time, always the newest; a picture that comes meanwhile replaces a waiting one.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from chatspot_ros.core.regions import BoxXyxy
from chatspot_ros.detector.settings import SPECS, find_detector, parse_labels
from chatspot_ros.errors import ChatspotError
from chatspot_ros.images.cv_bridge_converter import load_cv_bridge
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.ros.parameters import Values, declare
from chatspot_ros.ros.run_node import Stop, run_node, tell

NAME = "detector_node"
_IMAGE_DEPTH = 1
_CLOSING_S = 2.0
_LOG_EVERY_S = 10.0


class Newest:
    """Passes items to another thread; a newer item replaces a waiting one."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._item: bytes | None = None
        self._closed = False

    def put(self, item: bytes) -> None:
        """Offer an item and drop the waiting one."""
        with self._news:
            self._item = item
            self._news.notify()

    def take(self) -> bytes | None:
        """Wait for an item and return it; None after `close`."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Release the waiting thread."""
        with self._news:
            self._closed = True
            self._news.notify()


class DetectorNode(Node):
    """Detects in its own thread, which also loads the model; the executor only stores images."""

    def __init__(self, stop: Stop) -> None:
        """Raises RequestError for a parameter that cannot be used."""
        super().__init__(NAME)
        self._stop = stop
        self._detector: Any = None
        self._values = values = declare(self, SPECS, self._on_values, self._refuse)
        self._waiting = Newest()
        self._looked = 0
        self._detections = self.create_publisher(
            Detection2DArray, "detections", QoSProfile(depth=10)
        )
        topic = self.resolve_topic_name("image")
        self._image_type: type[Any] = Image
        if values["image_transport"] == "compressed":
            self._image_type, topic = CompressedImage, f"{topic}/compressed"
        # Serialized: a picture that is replaced is never deserialized.
        self.create_subscription(
            self._image_type,
            topic,
            self._waiting.put,
            QoSProfile(
                depth=_IMAGE_DEPTH,
                reliability=ReliabilityPolicy[values["image_reliability"].upper()],
            ),
            raw=True,
        )
        self._thread = threading.Thread(target=self._run, name="detecting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the current picture, for at most 2 s."""
        self._waiting.close()
        self._thread.join(_CLOSING_S)
        self.get_logger().info(f"looked at {self._looked} pictures")

    def _on_values(self, values: Values) -> None:
        self._values = values

    def _refuse(self, values: Values) -> str | None:
        """Return why these values cannot be used with the loaded model; None if they can."""
        if self._detector is None:
            return None
        try:
            self._detector.check_labels(_labels(values))
        except ChatspotError as error:
            return str(error)
        return None

    # --- in the detecting thread

    def _run(self) -> None:
        if not self._load():
            return
        while (data := self._waiting.take()) is not None:
            self._looked += 1
            try:
                self._look(data)
            except ChatspotError as error:
                self.get_logger().error(
                    f"a picture was left out: {error}", throttle_duration_sec=_LOG_EVERY_S
                )
            except Exception:
                self.get_logger().error(
                    f"a picture was left out\n{traceback.format_exc()}",
                    throttle_duration_sec=_LOG_EVERY_S,
                )

    def _load(self) -> bool:
        """Load the model and return True; if that fails, end the process."""
        began_s = time.monotonic()
        try:
            model = find_detector(self._values["model"])
            # Importing torch takes seconds.
            import torch

            from chatspot_ros.detector.object_detector import Detector

            load_cv_bridge()  # may take seconds: not at the first picture
            if self._values["threads"]:
                torch.set_num_threads(self._values["threads"])
            detector = Detector.load(
                model,
                device=self._values["device"],
                local_only=not self._values["allow_download"],
            )
            detector.check_labels(_labels(self._values))
        except ChatspotError as error:
            self.get_logger().fatal(f"cannot start: {error}")
            self._stop("the detector cannot be loaded", exit_code=1)
            return False
        except Exception:
            self.get_logger().fatal(f"cannot start\n{traceback.format_exc()}")
            self._stop("the detector failed to load", exit_code=1)
            return False
        self._detector = detector
        seconds = time.monotonic() - began_s
        self.get_logger().info(f"detector '{detector.name}' loaded in {seconds:.1f} s")
        tell(f"ready: {self.get_name()}")
        return True

    def _look(self, data: bytes) -> None:
        values = self._values
        message = deserialize_message(data, self._image_type)
        image_rgb = message_to_rgb(message, values["max_pixels"])
        found = self._detector.detect(image_rgb, _labels(values), values["threshold"])
        boxes = [(one.label, one.score, one.box_xyxy_px) for one in found]
        self._detections.publish(to_message(boxes[: values["max_detections"]], message.header))


def to_message(found: Sequence[tuple[str, float, BoxXyxy]], header: Header) -> Detection2DArray:
    """Return detections (label, score, box in pixels) as a message with their picture's header.

    The id of a detection is its index.
    """
    message = Detection2DArray(header=header)
    for number, (label, score, (x1, y1, x2, y2)) in enumerate(found):
        one = Detection2D(header=header, id=str(number))
        one.bbox.center.position.x, one.bbox.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
        one.bbox.size_x, one.bbox.size_y = x2 - x1, y2 - y1
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = label, score
        one.results = [result]
        message.detections.append(one)
    return message


def _labels(values: Values) -> tuple[str, ...]:
    return parse_labels(str(values["labels"]))


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop."""
    run_node(DetectorNode, args)


if __name__ == "__main__":
    main()
