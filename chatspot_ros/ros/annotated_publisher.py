"""Publishes regions and answers: on the picture (~/annotated), and alone (~/annotations)."""

from __future__ import annotations

import traceback

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.images.annotate import Note, annotate
from chatspot_ros.ros.conversions import to_header, to_image_message
from chatspot_ros.ros.image_annotations import ImageAnnotationsPublisher
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.request import Picture, QueryReply

_WARN_AGAIN_S = 10.0


class AnnotatedPublisher:
    """Draws and publishes only while somebody subscribes."""

    def __init__(self, node: Node, metrics: Metrics) -> None:
        self._node = node
        self._metrics = metrics
        self._publisher = node.create_publisher(Image, "~/annotated", QoSProfile(depth=1))
        self._annotations = ImageAnnotationsPublisher(node)

    def draw(self, picture: Picture, image_rgb: RgbImage, reply: QueryReply) -> None:
        """Publish the picture (uint8 H x W x 3, RGB) of a reply. In the worker's thread."""
        try:
            notes = [Note(answer.regions, answer.text, answer.grounded) for answer in reply.answers]
            height, width = image_rgb.shape[:2]
            self._annotations.publish(picture, (width, height), notes)
            if self._publisher.get_subscription_count():
                drawn = annotate(image_rgb, notes)
                self._publisher.publish(to_image_message(drawn, to_header(picture)))
                self._metrics.note_drawn()
        except Exception:
            self._metrics.note_error(f"{reply.id}: the annotated picture could not be drawn")
            self._node.get_logger().error(
                f"{reply.id}: the annotated picture could not be drawn\n{traceback.format_exc()}",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
