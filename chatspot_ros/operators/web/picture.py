"""The live picture as an element of the page, and what is drawn on it.

Not `ui.interactive_image`: that one sends every move of the pointer to the server, knows no drag of
a finger, and its picture has no stamp.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nicegui import ui

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.images.annotate import Colour
from chatspot_ros.operators.web.conversation import Conversation

_GROUNDED = "#ffffff"


def to_css(colour: Colour) -> str:
    """Return a colour (RGB, 0 to 255) as in a style sheet."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def to_shape(region: Region, text: str, colour: str, look: str) -> dict[str, Any]:
    """Return a region as the browser draws it, with a text at its top-left corner."""
    return {
        "kind": str(region.kind),
        "points": [list(point) for point in region.points_px],
        "text": text,
        "colour": colour,
        "look": look,
    }


def shapes_of(conversation: Conversation) -> list[dict[str, Any]]:
    """Return what is drawn on a person's picture: the places that answers name, the regions."""
    named = [to_shape(one, one.label, _GROUNDED, "grounded") for one in conversation.grounded]
    drawn = [
        to_shape(one.region, str(one.number), to_css(one.colour), "region")
        for one in conversation.drawing.drawn
    ]
    return [one for one in (*named, *drawn) if one["kind"] != RegionKind.IMAGE]


class RegionPicture(ui.element, component="region_picture.js"):
    """The picture. Its events are `press`, `corner`, `key` and `restore` (see the component)."""

    def __init__(self, url: str) -> None:
        """`url` gives the frames: a reply to `?after=NUMBER` is as `frames.packed` makes it."""
        super().__init__()
        self._props["url"] = url
        self.say("Waiting for the camera's first picture ...")

    def say(self, waiting: str) -> None:
        """Set the words in place of a picture that has not come."""
        self._set("waiting", waiting)

    def draw(self, shapes: Sequence[dict[str, Any]], corners: Sequence[Sequence[float]]) -> None:
        """Draw these shapes, and the corners of an unfinished polygon."""
        self._set("shapes", list(shapes))
        self._set("corners", [list(corner) for corner in corners])

    def take_corners(self, polygon: bool) -> None:
        """Take each click as a corner of a polygon, or as a point."""
        self._set("polygon", polygon)

    def show_detections(self, shown: bool) -> None:
        """Show the detector's boxes, or hide them."""
        self._set("detections", shown)

    def save(self, saved: dict[str, Any]) -> None:
        """Let the browser keep this while its tab is open."""
        self._set("saved", json.dumps(saved))

    def _set(self, name: str, value: Any) -> None:
        if self._props.get(name) != value:
            self._props[name] = value
            self.update()
