"""Publish large best-effort images for `chatspot doctor`, in a process of its own.

Within one process the middleware hands messages on without its transports.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from chatspot_ros.ros.conversions import to_image_message

WIDTH, HEIGHT = 1920, 1080
_PERIOD_S = 0.2
_FOUND_S = 15.0


def main() -> None:
    """Publish: `transport_probe TOPIC COUNT`. The stamp's seconds are the image's number."""
    topic, count = sys.argv[1], int(sys.argv[2])
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("chatspot_doctor_probe", use_global_arguments=False, enable_rosout=False)
    publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
    message = to_image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8), Header())
    until_s = time.monotonic() + _FOUND_S
    while not publisher.get_subscription_count() and time.monotonic() < until_s:
        time.sleep(0.05)
    # The subscription may not know this publisher yet.
    time.sleep(1.0)
    for number in range(count):
        message.header.stamp.sec = number + 1
        publisher.publish(message)
        time.sleep(_PERIOD_S)
    # What is on its way arrives; the parent ends this process.
    print("published", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
