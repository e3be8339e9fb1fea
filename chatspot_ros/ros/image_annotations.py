"""Regions and answers as foxglove_msgs/ImageAnnotations on ~/annotations, which Foxglove and
Lichtblick draw on the camera's own picture. Only where the package foxglove_msgs is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import shorten
from chatspot_ros.images.annotate import PALETTE, Colour, Note
from chatspot_ros.ros.conversions import to_header
from chatspot_ros.server.request import Picture

_WHITE: Colour = (255, 255, 255)
_TEXT_CHARS = 120
# Of the smaller side of the picture, as on the annotated picture.
_FONT_SHARE, _LINE_SHARE, _POINT_SHARE = 1 / 40, 1 / 300, 1 / 40
_LEAST_FONT_PX = 11.0


def load_messages() -> Any | None:
    """Return the module of foxglove's messages; None where it is not installed."""
    try:
        return import_module("foxglove_msgs.msg")
    except ImportError:
        return None


class ImageAnnotationsPublisher:
    """Publishes only while somebody subscribes; offers no topic without the package."""

    def __init__(self, node: Node) -> None:
        self._messages = load_messages()
        self._publisher = (
            None
            if self._messages is None
            else node.create_publisher(
                self._messages.ImageAnnotations, "~/annotations", QoSProfile(depth=1)
            )
        )

    def publish(self, picture: Picture, size_wh: tuple[int, int], notes: Sequence[Note]) -> None:
        """Publish the notes on a picture of `size_wh` pixels. In the worker's thread."""
        if self._publisher is not None and self._publisher.get_subscription_count():
            self._publisher.publish(
                to_image_annotations(self._messages, to_header(picture).stamp, size_wh, notes)
            )


def to_image_annotations(
    messages: Any, stamp: Any, size_wh: tuple[int, int], notes: Sequence[Note]
) -> Any:
    """Return an ImageAnnotations of the module `messages`, in pixels of a picture of `size_wh`.

    A point is a circle, everything else a closed line; the text stands at the first region.
    Grounded regions are white.
    """
    made = messages.ImageAnnotations()
    if hasattr(made, "timestamp"):  # newer versions
        made.timestamp = stamp
    # Older ones call the texts labels.
    texts = made.texts if hasattr(made, "texts") else made.labels
    for number, note in enumerate(notes):
        colour = PALETTE[number % len(PALETTE)]
        drawn = [(one, colour) for one in note.regions] + [(one, _WHITE) for one in note.grounded]
        for region, ink in drawn:
            if region.kind is RegionKind.POINT:
                made.circles.append(_circle(messages, stamp, size_wh, region, ink))
            else:
                made.points.append(_outline(messages, stamp, size_wh, region, ink))
        for region, text, ink in _texts(note, colour):
            texts.append(_text(messages, stamp, size_wh, region, text, ink))
    return made


def _texts(note: Note, colour: Colour) -> Iterator[tuple[Region, str, Colour]]:
    if note.text:
        yield (note.regions[0] if note.regions else Region.image()), note.text, colour
    for region in note.grounded:
        if region.label:
            yield region, region.label, _WHITE


def _circle(
    messages: Any, stamp: Any, size_wh: tuple[int, int], region: Region, ink: Colour
) -> Any:
    ((x, y),) = region.points_px
    return messages.CircleAnnotation(
        timestamp=stamp,
        position=messages.Point2(x=float(x), y=float(y)),
        diameter=min(size_wh) * _POINT_SHARE,
        thickness=_thickness(size_wh),
        fill_color=_colour(messages, ink, 0.0),
        outline_color=_colour(messages, ink),
    )


def _outline(
    messages: Any, stamp: Any, size_wh: tuple[int, int], region: Region, ink: Colour
) -> Any:
    corners = region.points_px
    if region.kind in (RegionKind.IMAGE, RegionKind.BOX):
        x1, y1, x2, y2 = region.box_xyxy_px if corners else (0.0, 0.0, *map(float, size_wh))
        corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    return messages.PointsAnnotation(
        timestamp=stamp,
        type=messages.PointsAnnotation.LINE_LOOP,
        points=[messages.Point2(x=float(x), y=float(y)) for x, y in corners],
        outline_color=_colour(messages, ink),
        fill_color=_colour(messages, ink, 0.0),
        thickness=_thickness(size_wh),
    )


def _text(
    messages: Any, stamp: Any, size_wh: tuple[int, int], region: Region, text: str, ink: Colour
) -> Any:
    font_px = max(_LEAST_FONT_PX, min(size_wh) * _FONT_SHARE)
    left, top = region.box_xyxy_px[:2] if region.points_px else (0.0, 0.0)
    return messages.TextAnnotation(
        timestamp=stamp,
        # Above the region, or inside where the picture ends.
        position=messages.Point2(x=float(left), y=float(top if top > font_px else top + font_px)),
        text=shorten(text, _TEXT_CHARS),
        font_size=font_px,
        text_color=_colour(messages, ink),
        background_color=_colour(messages, (0, 0, 0), 0.7),
    )


def _thickness(size_wh: tuple[int, int]) -> float:
    return max(1.0, min(size_wh) * _LINE_SHARE)


def _colour(messages: Any, rgb: Colour, opacity: float = 1.0) -> Any:
    red, green, blue = (value / 255 for value in rgb)
    return messages.Color(r=red, g=green, b=blue, a=opacity)
