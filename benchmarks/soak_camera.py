"""The camera and detector of `benchmarks.soak_node`, which runs this program."""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from chatspot_ros.detector_node import to_message
from chatspot_ros.ros.conversions import to_image_message


def camera(size_wh: tuple[int, int], rate_hz: float) -> None:
    """Publish different pictures, and detections on every third one."""
    node = Node("camera")
    rng = np.random.default_rng(0)
    width, height = size_wh
    pictures = [scene(rng, width, height) for _ in range(4)]
    images = node.create_publisher(Image, "image", qos_profile_sensor_data)
    detections = node.create_publisher(Detection2DArray, "detections", QoSProfile(depth=10))
    messages = [to_image_message(picture, Header(frame_id="camera")) for picture in pictures]
    count = 0

    def publish() -> None:
        nonlocal count
        count += 1
        message = messages[count % len(messages)]
        message.header.stamp = node.get_clock().now().to_msg()
        for place, byte in enumerate(count.to_bytes(4, "little")):
            message.data[place] = byte
        images.publish(message)
        if count % 3 == 0:
            unit = [("fridge", 0.9, (0.1, 0.1, 0.4, 0.9)), ("drawer", 0.7, (0.5, 0.5, 0.7, 0.6))]
            scale = np.array([width, height] * 2)
            boxes = [np.array(box) * scale for _, _, box in unit]
            found = [
                (label, score, (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
                for (label, score, _), b in zip(unit, boxes, strict=True)
            ]
            detections.publish(to_message(found, message.header))

    node.create_timer(1 / rate_hz, publish)
    print("ready: camera", flush=True)
    rclpy.spin(node)


def scene(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return a picture of patches and noise, uint8 H x W x 3."""
    coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int16)
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Publish pictures and detections.")
    parser.add_argument("--size", nargs=2, type=int, required=True, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rate", type=float, required=True, help="pictures a second")
    options, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    width, height = options.size
    camera((width, height), options.rate)


if __name__ == "__main__":
    main()
