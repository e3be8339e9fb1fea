"""A simulated detector node: reads the kitchen's truth, publishes detections.

Subscribes `camera_info` (for the headers) and `kitchen/truth`; publishes `detections`, a
vision_msgs/Detection2DArray with the header of the picture it belongs to.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from chatspot_ros.ros.conversions import to_ns
from chatspot_ros.ros.parameters import declare
from chatspot_ros.ros.run_node import Stop, run_node, tell
from chatspot_sim.detector import Detection, DetectorSettings, detect
from chatspot_sim.kitchen_parameters import DETECTOR, DETECTOR_SPECS
from chatspot_sim.truth import Truth

_HELD = 20  # headers or truths kept until their counterpart arrives


class KitchenDetector(Node):
    """Publishes detections for every picture whose camera info and truth have arrived."""

    def __init__(self, stop: Stop) -> None:
        """Raises RequestError for a parameter that cannot be used."""
        super().__init__(DETECTOR)
        values = declare(self, DETECTOR_SPECS)
        self._seed = int(values.pop("seed"))
        self._detector = DetectorSettings(**values)
        self._headers: dict[int, Header] = {}
        self._truths: dict[int, Truth] = {}
        self._detections = self.create_publisher(
            Detection2DArray, "detections", QoSProfile(depth=10)
        )
        # Matches a camera of either reliability.
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(CameraInfo, "camera_info", self._on_info, qos)
        self.create_subscription(String, "kitchen/truth", self._on_truth, QoSProfile(depth=10))
        tell(f"ready: {self.get_name()}")

    def close(self) -> None:
        """Do nothing: the node holds no resources."""

    def _on_info(self, info: CameraInfo) -> None:
        self._headers[to_ns(info.header.stamp)] = info.header
        self._publish_pair(to_ns(info.header.stamp))

    def _on_truth(self, message: String) -> None:
        try:
            truth = Truth.from_json(message.data)
        except (ValueError, KeyError, TypeError) as error:
            self.get_logger().error(
                f"kitchen/truth is not a kitchen's truth ({error!r}): {message.data[:120]!r}; "
                "is another program publishing there?",
                throttle_duration_sec=10.0,
            )
            return
        self._truths[truth.stamp_ns] = truth
        self._publish_pair(truth.stamp_ns)

    def _publish_pair(self, stamp_ns: int) -> None:
        if stamp_ns in self._headers and stamp_ns in self._truths:
            header, truth = self._headers.pop(stamp_ns), self._truths.pop(stamp_ns)
            rng = np.random.default_rng([self._seed, stamp_ns])
            self._detections.publish(to_message(detect(truth, self._detector, rng), header))
        for held in (self._headers, self._truths):
            while len(held) > _HELD:
                del held[next(iter(held))]


def to_message(detections: Sequence[Detection], header: Header) -> Detection2DArray:
    """Return detections with their picture's header; boxes as centre and size in pixels."""
    message = Detection2DArray(header=header)
    for found in detections:
        x1, y1, x2, y2 = found.box_xyxy_px
        one = Detection2D(header=header, id=found.id)
        one.bbox.center.position.x, one.bbox.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
        one.bbox.size_x, one.bbox.size_y = x2 - x1, y2 - y1
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = found.name, found.score
        one.results = [result]
        message.detections.append(one)
    return message


def main(args: Sequence[str] | None = None) -> int:
    """Run the detector until it is told to stop; return the process's exit code."""
    return run_node(KitchenDetector, args)


if __name__ == "__main__":
    sys.exit(main())
