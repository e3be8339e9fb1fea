"""Shikra's regions: ChatSpot's fractions in square brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from chatspot_ros.core.dialects.base import AS_ITS_BOX, SpokenRegion, phrase_before
from chatspot_ros.core.dialects.chatspot import ChatSpotDialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region, RegionKind


@dataclass(frozen=True)
class ShikraDialect(ChatSpotDialect):
    """Shikra's: `[0.123,0.456,0.789,0.900]` for a box, `[0.123,0.456]` for a point.

    Fractions of the picture padded to a square, three decimals; several boxes of one phrase stand
    in one pair of brackets, separated by `;`. A polygon is written as its box: Shikra saw none.
    Source: arXiv 2306.15195 and its code's box and point formatters.
    """

    decimals: int = 3
    separator: str = ","
    lead: str = ""
    between: ClassVar[str] = ";"
    opening: str = "["
    closing: str = "]"
    name: str = "shikra"

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.POLYGON:
            x1, y1, x2, y2 = region.box_xyxy_px
            region = Region.box(x1, y1, x2, y2)
        return super().say(region, fit)

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes and points of a text, in order."""
        found: list[SpokenRegion] = []
        last_end = 0
        for match in re.finditer(r"\[([0-9., ;]+)\]", text):
            phrase = phrase_before(text[last_end : match.start()])
            for piece in match[1].split(";"):
                region = self._read(piece, fit)
                if region is not None and len(region.points_px) < 3:
                    found.append(SpokenRegion(region, match.start(), match.end(), phrase))
            last_end = match.end()
        return found

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""
