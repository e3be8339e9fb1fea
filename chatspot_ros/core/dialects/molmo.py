"""Points between tags: Molmo's and Molmo 2's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from chatspot_ros.core.dialects.base import (
    AS_ITS_CENTRE,
    Dialect,
    SpokenRegion,
    region_from_units,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region, RegionKind

_TAG = re.compile(
    r"<(?P<tag>points?)\b(?P<settings>[^<>]*?)/?>(?:(?P<said>[^<]*)</(?P=tag)>)?", re.DOTALL
)
_COORDS = re.compile(r'\bcoords="([0-9.,; \t]*)"')
_PERCENT = re.compile(r'\bx\d*="\s*(\d+(?:\.\d+)?)"\s+y\d*="\s*(\d+(?:\.\d+)?)"')
_ALT = re.compile(r'\balt="([^"]*)"')


@dataclass(frozen=True)
class MolmoDialect(Dialect):
    """Molmo 2's: `<points coords="1 1 432 321">mug</points>`; Molmo's: `<point x="43.2" y="32.1">`.

    Molmo 2 names the picture (1), then each point's number and its thousandths; Molmo gives
    percents with one decimal (`version` 1). Both are read. Boxes and polygons are written as their
    centre: the models saw none. Source: the model cards of allenai/Molmo-7B-D-0924 and
    allenai/Molmo2-8B.
    """

    place: ClassVar[str] = "point"
    version: int = 2
    phrase: str = "this"
    name: str = "molmo"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the beginnings of the tags."""
        return ("<point", "</point")

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        left, top, right, bottom = region.box_xyxy_px
        ((x, y),) = fit.to_unit([((left + right) / 2, (top + bottom) / 2)])
        if self.version == 1:
            alt = f'alt="{self.phrase}">{self.phrase}</point>'
            return f'<point x="{x * 100:.1f}" y="{y * 100:.1f}" {alt}'
        place = f"{round(x * 1000):03d} {round(y * 1000):03d}"
        return f'<points coords="1 1 {place}">{self.phrase}</points>'

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed points of a text, in order."""
        found: list[SpokenRegion] = []
        for match in _TAG.finditer(text):
            settings = match["settings"]
            alt = _ALT.search(settings)
            phrase = (match["said"] or (alt[1] if alt else "")).strip()
            for unit in _units(settings):
                region = region_from_units([unit], fit, tolerance=0.001)
                if region is not None:
                    found.append(SpokenRegion(region, match.start(), match.end(), phrase))
        return found

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return "<point" in text

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        extended = region.kind in (RegionKind.BOX, RegionKind.POLYGON)
        return AS_ITS_CENTRE if extended else ""

    def locate_grammar(self, none: Sequence[str] = ()) -> None:
        """Return None: the model writes its points among free text."""
        return

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase within its tag."""
        named = ((phrase or self.phrase, region) for phrase, region in places)
        return " ".join(replace(self, phrase=phrase).say(region, fit) for phrase, region in named)


def _units(settings: str) -> list[Point]:
    """Return the points of a tag in unit coordinates; none for missing or wrong numbers."""
    coords = _COORDS.search(settings)
    if coords is None:
        percents = [(float(x) / 100, float(y) / 100) for x, y in _PERCENT.findall(settings)]
        return percents if all(max(point) <= 1 for point in percents) else []
    try:
        numbers = [float(word) for word in re.split(r"[\s,;]+", coords[1].strip()) if word]
    except ValueError:
        return []
    # The picture's number comes first, then number, x and y of each point.
    if len(numbers) % 3 != 1 or len(numbers) < 4 or numbers[0] != 1:
        return []
    places = list(zip(numbers[2::3], numbers[3::3], strict=True))
    return [(x / 1000, y / 1000) for x, y in places] if max(map(max, places)) <= 1000 else []
