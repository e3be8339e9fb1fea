"""Florence-2's boxes: four bins as location tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.dialects.base import (
    BoxesOnly,
    SpokenRegion,
    bins_box,
    phrase_before,
    region_from_units,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_FLORENCE = re.compile(r"(?:<loc_\d{1,3}>)+")


@dataclass(frozen=True)
class Florence2Dialect(BoxesOnly):
    """Florence-2's: `<loc_x1><loc_y1><loc_x2><loc_y2>`, each side in 1000 bins.

    A coordinate is the bin that it falls into, 999 at most; read back, the middle of the bin. In
    answers the phrase stands before it, and several boxes may follow. Source: arXiv 2311.06242
    and transformers' Florence2PostProcessor.
    """

    bins: int = 1000
    name: str = "florence2"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the places."""
        return tuple(f"<loc_{k}>" for k in range(self.bins))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, self.bins)
        return f"<loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order.

        Runs of other than a multiple of four places are no boxes.
        """
        found: list[SpokenRegion] = []
        last_end = 0
        for match in _FLORENCE.finditer(text):
            places = [int(number) for number in re.findall(r"\d+", match[0])]
            phrase = phrase_before(re.sub(r"</?\w+>", "", text[last_end : match.start()]))
            last_end = match.end()
            if len(places) % 4:
                continue
            for k in range(0, len(places), 4):
                region = region_from_units(self._units(places[k : k + 4]), fit, 1 / self.bins)
                if region is not None:
                    found.append(SpokenRegion(region, match.start(), match.end(), phrase))
        return found

    def _units(self, places: Sequence[int]) -> list[Point]:
        x1, y1, x2, y2 = ((place + 0.5) / self.bins for place in places)
        # Equal places are the whole of their bin.
        half_x, half_y = (0.5 / self.bins if a == b else 0.0 for a, b in ((x1, x2), (y1, y2)))
        return [(x1 - half_x, y1 - half_y), (x2 + half_x, y2 + half_y)]

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return "<loc_" in text

    def words(self, text: str) -> str:
        """Return a text for people: the phrases without their places, parted by commas."""
        pieces = re.split(r"(?:<loc_\d+>)+", re.sub(r"</?(?:poly|sep|s|pad|ncel|od)>", "", text))
        return ", ".join(piece.strip() for piece in pieces if piece.strip())

    def locate_grammar(self, none: Sequence[str] = ()) -> None:
        """Return None: the model answers its fixed prompts in forms of its own."""
        return

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase directly before its box."""
        return "".join(f"{phrase}{self.say(region, fit)}" for phrase, region in places)
