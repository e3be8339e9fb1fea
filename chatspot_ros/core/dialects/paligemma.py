"""PaliGemma's boxes: four bins as location tokens, top before left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.dialects.base import BoxesOnly, SpokenRegion, grid_box, region_from_units
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_PALIGEMMA = re.compile(r"(?P<places>(?:<loc\d{4}>){4})\s*(?P<ref>[^;<\n]*)")


@dataclass(frozen=True)
class PaliGemmaDialect(BoxesOnly):
    """PaliGemma's: `<loc0123><loc0045><loc0678><loc0910>`: top, left, bottom, right.

    Each side has 1023 steps, numbered from 0; a coordinate is the nearest. In answers the phrase
    follows the box, and `;` separates several. Source: arXiv 2407.07726 and the preprocessing in
    google-research/big_vision, big_vision/pp/proj/paligemma/segmentation.py.
    """

    steps: int = 1023
    name: str = "paligemma"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the places."""
        return tuple(f"<loc{k:04d}>" for k in range(self.steps + 1))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = grid_box(corners, (self.steps, self.steps))
        return f"<loc{y1:04d}><loc{x1:04d}><loc{y2:04d}><loc{x2:04d}>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order."""
        found: list[SpokenRegion] = []
        for match in _PALIGEMMA.finditer(text):
            places = [int(number) for number in re.findall(r"\d{4}", match["places"])]
            if max(places) > self.steps:
                continue
            y1, x1, y2, x2 = (place / self.steps for place in places)
            region = region_from_units([(x1, y1), (x2, y2)], fit, 1 / self.steps)
            if region is not None:
                phrase = match["ref"].strip()
                found.append(SpokenRegion(region, match.start(), match.end("places"), phrase))
        return found

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return re.search(r"<loc\d", text) is not None

    def words(self, text: str) -> str:
        """Return a text for people: the phrases without their places."""
        return _spaced(re.sub(r"<(?:loc\d{4}|seg\d{3})>", " ", text))

    def locate_grammar(self, none: Sequence[str] = ()) -> None:
        """Return None: the model answers its fixed prompts in forms of its own."""
        return

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase behind its box."""
        return " ; ".join(f"{self.say(region, fit)} {phrase}".strip() for phrase, region in places)


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" ;")
