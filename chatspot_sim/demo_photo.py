"""`chatspot demo --image`: one question about the user's photo, sent with the request."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import cv2
from sensor_msgs.msg import CompressedImage

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError, ImageError, ModelLoadError
from chatspot_ros.images.decode import decode, message_to_rgb
from chatspot_ros.ros.conversions import to_region
from chatspot_ros.util.resources import find_model
from chatspot_sim.demo_client import DemoError, Planner, Reply, request_fields
from chatspot_sim.demo_report import Result, answer_text, region_text

PHOTO_MODEL = "chatspot-small"
_FORMATS = {b"\xff\xd8": "jpeg", b"\x89P": "png"}


def photo_model() -> str:
    """Return the bundled model that knows photographs; chatspot-tiny without it."""
    try:
        return find_model(PHOTO_MODEL)
    except ModelLoadError:
        return "chatspot-tiny"


def read_photo(file: Path) -> tuple[CompressedImage, RgbImage]:
    """Return the photo as a message, and its pixels as the node decodes them.

    JPEG and PNG files are sent as they are, WebP and BMP as PNG.
    Raises DemoError if the file holds no picture.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DemoError(f"cannot read the photo {file}: {error.strerror}") from error
    kind = _FORMATS.get(data[:2])
    if kind is None:
        try:
            rgb = decode(data)
        except ImageError as error:
            raise DemoError(f"{file} is no picture; give a JPEG or PNG file: {error}") from error
        kind, data = "png", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    message = CompressedImage(format=kind, data=array.array("B", data))
    try:
        return message, message_to_rgb(message)
    except ChatspotError as error:
        raise DemoError(f"{file}: {error}") from error


def parse_region(text: str) -> Region:
    """Parse `x,y` (a point), `x1,y1,x2,y2` (a box) or more pairs (a polygon); pixels.

    Raises ValueError for anything else.
    """
    numbers = [float(word) for word in text.replace(",", " ").split()]
    if len(numbers) < 2 or len(numbers) % 2:
        raise ValueError(f"a region has 2 numbers, 4, or an even count from 6 on (got {text!r})")
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return Region.box(*points[0], *points[1]) if len(points) == 2 else Region(points)


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
