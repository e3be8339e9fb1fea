"""Conversion between an operator's questions and replies and the messages of AskRegion."""

from __future__ import annotations

import array
from dataclasses import replace
from typing import Any

import cv2
from builtin_interfaces.msg import Duration
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from chatspot_ros.action import AskRegion
from chatspot_ros.operators.client import Answer, Ask, Frame, Reply
from chatspot_ros.ros.conversions import to_ns, to_region, to_region_message, to_time
from chatspot_ros.server.frame_buffer import NS
from chatspot_ros.srv import RegionQuery

_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_STATUSES = {
    value: name
    for name in dir(RegionQuery.Response)
    if name.isupper() and isinstance(value := getattr(RegionQuery.Response, name), int)
}


def to_goal(ask: Ask) -> AskRegion.Goal:
    """Return a question as a goal of AskRegion.

    Raises whatever rclpy raises for values that a message cannot hold.
    """
    timeout_ns = round(ask.timeout_s * NS)
    sent = {} if ask.picture is None else {"image": to_compressed(ask.picture)}
    return AskRegion.Goal(
        **sent,
        camera=ask.camera,
        stamp=to_time(ask.stamp_ns),
        regions=[to_region_message(region) for region in ask.regions],
        use_detections=ask.use_detections,
        marks=ask.marks,
        question=ask.question,
        task=ask.task,
        choices=list(ask.choices),
        json_schema=ask.json_schema,
        session=ask.session,
        timeout=Duration(sec=timeout_ns // NS, nanosec=timeout_ns % NS),
    )


def to_compressed(frame: Frame) -> CompressedImage:
    """Return a frame's picture, without loss, with its stamp."""
    bgr = cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2BGR)
    data = array.array("B", cv2.imencode(".png", bgr, _FAST_PNG)[1].tobytes())
    return CompressedImage(header=Header(stamp=to_time(frame.stamp_ns)), format="png", data=data)


def to_reply(result: Any) -> Reply:
    """Return the result of an AskRegion, or the response of a RegionQuery, as a reply."""
    return replace(
        to_answers_reply(result),
        queued_s=float(result.queued_s),
        seeing_s=float(result.seeing_s),
        answering_s=float(result.answering_s),
    )


def to_answers_reply(message: Any) -> Reply:
    """Return a RegionAnswers as a reply, without times."""
    return Reply(
        status=_STATUSES.get(int(message.status), f"status {message.status}"),
        message=message.message,
        answers=tuple(to_answer(answer) for answer in message.answers),
        stamp_ns=to_ns(message.header.stamp),
        model=message.model,
    )


def to_answer(message: Any) -> Answer:
    """Return a RegionAnswer as an answer."""
    return Answer(
        text=message.text,
        regions=tuple(to_region(region) for region in message.regions),
        state={pair.key: pair.value for pair in message.state},
        steps=tuple(step.text or f"{step.action} {step.target}".strip() for step in message.steps),
        grounded=tuple(to_region(region) for region in message.grounded),
        confidence=float(message.confidence),
        uncertain=bool(message.uncertain),
        truncated=bool(message.truncated),
        looked_twice=bool(message.looked_twice),
        json=message.json,
        choice_probabilities=tuple(float(one) for one in message.choice_probabilities),
        print_lines=tuple(message.print_lines),
        sources=tuple(message.sources),
        answer_id=message.answer_id,
    )
