"""Detections as a detector publishes them."""

from __future__ import annotations

from typing import Any

from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose


def detection(
    label: str,
    centre: tuple[float, float],
    size: tuple[float, float] = (10.0, 10.0),
    name: str = "",
    score: float = 0.8,
) -> Detection2D:
    """Return a detection by centre and size in pixels, with `label` as its likeliest class."""
    made = Detection2D(id=name)
    made.bbox.center.position.x, made.bbox.center.position.y = map(float, centre)
    made.bbox.size_x, made.bbox.size_y = map(float, size)
    for class_id, share in (("no", score / 2), (label, score)):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = class_id, share
        made.results.append(result)
    return made


def publish(world: Any, stamp: Any, *detections: Detection2D) -> Detection2DArray:
    """Publish the detections of a frame; return the message."""
    message = Detection2DArray(detections=list(detections))
    message.header.stamp, message.header.frame_id = stamp, "camera_optical"
    world.detections.publish(message)
    return message
