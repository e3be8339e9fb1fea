"""InternVL's boxes: thousandths in double brackets between tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_grammars import between, literal, locate_in_words
from chatspot_ros.core.dialects.base import BoxesOnly, SpokenRegion, grid_box
from chatspot_ros.core.dialects.thousandths import GRID, NUMBER_RULE, Group, loses_any, spoken_boxes
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_INTERNVL_BOXES = re.compile(
    r"(?:<ref>(?P<ref>[^<]*)</ref>\s*)?<box>\s*\[(?P<boxes>[\[\]0-9.,\s]+)\]\s*</box>"
)
_FOUR = re.compile(r"\[?\s*(\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*)\s*\]?")
# Without the tags, which some answers leave out.
_BARE = re.compile(r"(?:<ref>(?P<ref>[^<]*)</ref>\s*|(?<!>))(?P<boxes>\[\[[\[\]0-9.,\s]+\]\])")


@dataclass(frozen=True)
class InternVLDialect(BoxesOnly):
    """InternVL's: `<box>[[x1, y1, x2, y2]]</box>`, thousandths from 0 to 1000.

    In answers the phrase stands before it, between `<ref>` and `</ref>`; several boxes of one
    phrase share the outer brackets. Source: InternVL's documentation of its chat data format.
    """

    name: str = "internvl"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the tags."""
        return ("<box>", "</box>", "<ref>", "</ref>")

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = grid_box(corners, (GRID, GRID))
        return f"<box>[[{x1}, {y1}, {x2}, {y2}]]</box>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order; the tags may be missing."""
        return list(spoken_boxes(_groups(text), text, fit))

    def doubts(self, text: str, found: Sequence[SpokenRegion]) -> bool:
        """Return whether regions of a text, of which `found` were read, are lost or doubtful."""
        return super().doubts(text, found) or loses_any(_groups(text), len(found))

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return "<box>" in text or "</box>" in text or bool(_BARE.search(text))

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: a phrase, bare or between its tags, then its boxes."""
        one = between("[", ", ", "]", [NUMBER_RULE] * 4)
        box = f"{literal('<box>[')} {one} ({literal(', ')} {one})* {literal(']</box>')}"
        return locate_in_words(box, none, ("<ref>", "</ref>"))

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase between its tags."""
        named = ((f"<ref>{phrase}</ref>" if phrase else "", region) for phrase, region in places)
        return ", ".join(tags + self.say(region, fit) for tags, region in named)


def _groups(text: str) -> list[Group]:
    matches = list(_INTERNVL_BOXES.finditer(text)) or list(_BARE.finditer(text))
    return [
        (match, [[float(word) for word in box.split(",")] for box in _FOUR.findall(match["boxes"])])
        for match in matches
    ]
