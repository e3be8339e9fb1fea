"""Conversion between ROS messages and plain Python: requests, replies, detections, stamps."""

from __future__ import annotations

import array
import math
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import Point32
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import MAX_NAME_CHARS, one_line
from chatspot_ros.msg import ActionStep, RegionAnswer, RegionAnswers, StateChange
from chatspot_ros.msg import Region as RegionMessage
from chatspot_ros.server.frame_buffer import NS
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.watch_tracker import Change
from chatspot_ros.srv import RegionQuery


def to_ns(time: Any) -> int:
    """Return a Time or Duration message in nanoseconds."""
    return int(time.sec) * NS + int(time.nanosec)


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as a Time message; beyond what it can hold, its first or last moment."""
    stamp_ns = min(max(stamp_ns, -(2**31) * NS), 2**31 * NS - 1)
    return Time(sec=stamp_ns // NS, nanosec=stamp_ns % NS)


def to_region(message: RegionMessage) -> Region:
    """Return a Region message as a region, without checking its points."""
    points_px = tuple((float(point.x), float(point.y)) for point in message.points)
    return Region(points_px, id=message.id, label=message.label, stroke=bool(message.stroke))


def to_region_message(region: Region) -> RegionMessage:
    """Return a region as a message."""
    points = [Point32(x=float(x), y=float(y)) for x, y in region.points_px]
    return RegionMessage(id=region.id, label=region.label, points=points, stroke=region.stroke)


def detections_stamp_ns(message: Any) -> int:
    """Return the stamp of a Detection2DArray in ns; if it is 0, the first detection's stamp."""
    return to_ns(message.header.stamp) or next(
        (to_ns(detection.header.stamp) for detection in message.detections), 0
    )


def to_detected_regions(message: Any) -> tuple[Region, ...]:
    """Return the boxes of a vision_msgs/Detection2DArray, in its order.

    The label is the class of the best hypothesis; the id is the detection's id, else its index. A
    rotated box (vision_msgs allows it) becomes the polygon of its corners. Messages of vision_msgs
    before 4.0 (bags, bridges) are read too: `center.x` for `center.position.x`, `id` and `score`
    beside a result's pose, `tracking_id` for `id`.
    """
    return tuple(
        _to_detected_region(index, detection) for index, detection in enumerate(message.detections)
    )


def own_id(detection: Any, index: int) -> str:
    """Return a detection's id from one message to the next; empty if it has none.

    An id that is the detection's index in its message (as detector_node writes it) says nothing
    about the next message.
    """
    name = _name(getattr(detection, "id", "") or getattr(detection, "tracking_id", ""))
    return "" if name == str(index) else name


def _to_detected_region(index: int, detection: Any) -> Region:
    hypotheses = [getattr(result, "hypothesis", result) for result in detection.results]
    best = max(hypotheses, key=_score, default=None)
    label = "" if best is None else str(best.class_id if hasattr(best, "class_id") else best.id)
    name = getattr(detection, "id", "") or getattr(detection, "tracking_id", "") or index
    return Region(_box_points(detection.bbox), id=_name(name), label=_name(label))


def _name(text: object) -> str:
    """Return a detector's name for something as one line, cut to MAX_NAME_CHARS."""
    return one_line(str(text)[:MAX_NAME_CHARS])[:MAX_NAME_CHARS]


def _score(hypothesis: Any) -> float:
    """Return a score for comparison; one that is not finite loses against every number."""
    return float(hypothesis.score) if math.isfinite(hypothesis.score) else -math.inf


def _box_points(box: Any) -> tuple[tuple[float, float], ...]:
    """Return two opposite corners of a BoundingBox2D, or all four if it is rotated.

    NaN for a box that is not finite or has no positive size: it cannot be asked about.
    """
    centre = getattr(box.center, "position", box.center)
    half_x, half_y, turn = box.size_x / 2, box.size_y / 2, box.center.theta
    if not (math.isfinite(turn) and half_x > 0 and half_y > 0):
        return ((math.nan, math.nan), (math.nan, math.nan))
    corners = [(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)]
    if turn:
        cos, sin = math.cos(turn), math.sin(turn)
        corners = [(x * cos - y * sin, x * sin + y * cos) for x, y in corners]
    else:
        corners = corners[::2]
    return tuple((centre.x + x, centre.y + y) for x, y in corners)


def to_query(request: Any) -> Query:
    """Return a RegionQuery request or an AskRegion goal as a query."""
    picture = None
    if len(request.image.data):
        image = request.image
        picture = Picture(
            lambda: image, stamp_ns=to_ns(image.header.stamp), frame_id=image.header.frame_id
        )
    return Query(
        question=request.question,
        camera=request.camera,
        stamp_ns=to_ns(request.stamp),
        picture=picture,
        regions=tuple(to_region(region) for region in request.regions),
        use_detections=request.use_detections,
        marks=request.marks,
        task=request.task,
        choices=tuple(request.choices),
        json_schema=request.json_schema,
        session=request.session,
        timeout_s=to_ns(request.timeout) / NS,
    )


def fill(message: Any, reply: QueryReply) -> Any:
    """Write a reply into a RegionQuery response or an AskRegion result; return the message."""
    _fill_outcome(message, reply)
    message.queued_s = reply.queued_s
    message.seeing_s = reply.seeing_s
    message.answering_s = reply.answering_s
    return message


def to_answers_message(reply: QueryReply) -> RegionAnswers:
    """Return a reply as a message for ~/answers."""
    query = reply.query
    message = RegionAnswers(
        question=query.question, task=query.task, choices=list(query.choices),
        json_schema=query.json_schema, session=query.session,
    )  # fmt: skip
    message.camera = reply.picture.camera if reply.picture else query.camera
    _fill_outcome(message, reply)
    return message


def _fill_outcome(message: Any, reply: QueryReply) -> None:
    message.status = getattr(RegionQuery.Response, reply.status)
    message.message = reply.message
    message.header = to_header(reply.picture)
    message.answers = [_to_answer_message(answer) for answer in reply.answers]
    message.model = reply.model


def to_state_change_message(change: Change, picture: Picture | None) -> StateChange:
    """Return a change of state, seen on a picture, as a message for ~/states."""
    return StateChange(
        header=to_header(picture),
        thing=change.thing,
        label=change.label,
        attribute=change.attribute,
        old_value=change.old,
        new_value=change.new,
        confidence=float(change.confidence),
    )


def to_header(picture: Picture | None) -> Header:
    """Return the picture's header as its camera sent it; an empty one without a picture."""
    if picture is None:
        return Header()
    return Header(stamp=to_time(picture.stamp_ns), frame_id=picture.frame_id)


def _to_answer_message(answer: Answer) -> RegionAnswer:
    return RegionAnswer(
        regions=[to_region_message(region) for region in answer.regions],
        text=answer.text,
        state=[KeyValue(key=key, value=value) for key, value in answer.state.items()],
        steps=[
            ActionStep(action=step.action, target=step.target, text=step.text)
            for step in answer.steps
        ],
        json=answer.json,
        choice_probabilities=[float(one) for one in answer.choice_probabilities],
        grounded=[to_region_message(region) for region in answer.grounded],
        confidence=float(answer.confidence),
        truncated=bool(answer.truncated),
        uncertain=bool(answer.uncertain),
        looked_twice=bool(answer.looked_twice),
        print_lines=list(answer.print_lines),
        sources=list(answer.sources),
        passages=list(answer.passages),
        answer_id=answer.id,
    )


def to_image_message(image_rgb: RgbImage, header: Header) -> Image:
    """Return a picture (uint8 H x W x 3, RGB) as a sensor_msgs/Image."""
    height, width = image_rgb.shape[:2]
    # rclpy copies an array at once; any other type it checks byte by byte.
    data = array.array("B")
    data.frombytes(image_rgb.tobytes())
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=width * 3,
        data=data,
    )
