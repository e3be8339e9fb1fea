"""PaliGemma's boxes: four bins as location tokens, top before left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.dialects.base import BoxesOnly, SpokenRegion, bins_box, region_from_units
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_PALIGEMMA = re.compile(r"(?P<places>(?:<loc\d{4}>){4})\s*(?P<ref>[^;<\n]*)")


@dataclass(frozen=True)
class PaliGemmaDialect(BoxesOnly):
    """PaliGemma's: `<loc0123><loc0045><loc0678><loc0910>`: top, left, bottom, right.

    Each side has 1024 bins; read back, a place is the start of its bin. In answers the phrase
    follows the box, and `;` separates several. Source: arXiv 2407.07726 and the authors'
    demonstration.
    """

    bins: int = 1024
    name: str = "paligemma"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the places."""
        return tuple(f"<loc{k:04d}>" for k in range(self.bins))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, self.bins)
        return f"<loc{y1:04d}><loc{x1:04d}><loc{y2:04d}><loc{x2:04d}>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order."""
        found: list[SpokenRegion] = []
        for match in _PALIGEMMA.finditer(text):
            places = [int(number) for number in re.findall(r"\d{4}", match["places"])]
            if max(places) >= self.bins:
                continue
            y1, x1, y2, x2 = (place / self.bins for place in places)
            region = region_from_units([(x1, y1), (x2, y2)], fit, 1 / self.bins)
            if region is not None:
                phrase = match["ref"].strip()
                found.append(SpokenRegion(region, match.start(), match.end("places"), phrase))
        return found

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return re.search(r"<loc\d", text) is not None

    def locate_grammar(self, none: Sequence[str] = ()) -> None:
        """Return None: the model answers its fixed prompts in forms of its own."""
        return

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase behind its box."""
        return " ; ".join(f"{self.say(region, fit)} {phrase}".strip() for phrase, region in places)
