"""`chatspot demo --image`: one question about the user's photo, sent with the request."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CompressedImage

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.images.photo import read_photo as read_file
from chatspot_ros.ros.conversions import to_region
from chatspot_sim.demo_client import DemoError, Planner, Reply, request_fields
from chatspot_sim.demo_report import Result, answer_text, region_text


def read_photo(file: Path) -> tuple[CompressedImage, RgbImage]:
    """Return the photo as a message, and its pixels as the node decodes them.

    Raises DemoError if the file holds no picture.
    """
    try:
        kind, data = read_file(file)
        message = CompressedImage(format=kind, data=array.array("B", data))
        return message, message_to_rgb(message)
    except ChatspotError as error:
        raise DemoError(f"{file}: {error}") from error


def ask_photo(
    planner: Planner, photo: CompressedImage, regions: tuple[Region, ...], question: str
) -> list[Result]:
    """Ask; return one result per answer, without truth. Raises DemoError."""
    reply = planner.query(**request_fields(question, regions), image=photo)
    if not reply.ok:
        raise DemoError(f"the node answered: {reply.message.message}")
    return [_result(question, answer, reply) for answer in reply.message.answers]


def _result(question: str, answer: Any, reply: Reply) -> Result:
    asked = tuple(to_region(region) for region in answer.regions)
    grounded = tuple(to_region(region) for region in answer.grounded)
    shown = tuple(region for region in asked if region.points_px)
    said = answer_text(answer.text, grounded)
    return Result("service", question, region_text(shown), said, "", None, reply.seconds, shown,
                  grounded)  # fmt: skip
