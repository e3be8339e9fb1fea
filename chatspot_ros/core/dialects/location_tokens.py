"""Boxes by tokens that stand for places: Kosmos-2's, Florence-2's and PaliGemma's."""

from __future__ import annotations

import math
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
from chatspot_ros.core.regions import Point

_DELIMITER = "</delimiter_of_multi_objects/>"
_KOSMOS = re.compile(
    r"(?:<phrase>(?P<ref>[^<]*)</phrase>\s*)?<object>\s*(?P<places>(?:<patch_index_\d{1,4}>\s*|"
    rf"{re.escape(_DELIMITER)}\s*)+)</object>"
)
_PATCH = re.compile(r"<patch_index_(\d{1,4})>")
_FLORENCE = re.compile(r"(?:<loc_\d{1,3}>)+")
_PALIGEMMA = re.compile(r"(?P<places>(?:<loc\d{4}>){4})\s*(?P<ref>[^;<\n]*)")


@dataclass(frozen=True)
class Kosmos2Dialect(BoxesOnly):
    """Kosmos-2's: `<phrase> mug</phrase><object><patch_index_0044><patch_index_0863></object>`.

    The picture has 32 x 32 cells, numbered row by row; a box is the cells of its top-left and
    bottom-right corners. Read back, a corner is the middle of its cell, but the whole cells count
    where both lie in one row or column. `phrase` is what a region of a question is called.
    Source: arXiv 2306.14824 and transformers' Kosmos2Processor.
    """

    phrase: str = "It"
    cells: int = 32
    name: str = "kosmos2"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """The tags and the places."""
        tags = ("<phrase>", "</phrase>", "<object>", "</object>", _DELIMITER, "<grounding>")
        return (*tags, *(f"<patch_index_{k:04d}>" for k in range(self.cells**2)))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = corners
        first = self._cell(math.floor(x1 * self.cells), math.floor(y1 * self.cells))
        last = self._cell(math.ceil(x2 * self.cells - 1), math.ceil(y2 * self.cells - 1))
        places = f"<patch_index_{first:04d}><patch_index_{last:04d}>"
        return f"<phrase> {self.phrase}</phrase><object>{places}</object>"

    def _cell(self, column: int, row: int) -> int:
        column, row = (min(max(place, 0), self.cells - 1) for place in (column, row))
        return row * self.cells + column

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order, clipped to the image."""
        found: list[SpokenRegion] = []
        last_end = 0
        for match in _KOSMOS.finditer(text):
            before = text[last_end : match.start()]
            phrase = phrase_before(before) if match["ref"] is None else match["ref"].strip()
            last_end = match.end()
            for pair in match["places"].split(_DELIMITER):
                cells = [int(number) for number in _PATCH.findall(pair)]
                if len(cells) == 2 and max(cells) < self.cells**2:
                    region = region_from_units(self._units(*cells), fit, 1 / self.cells)
                    if region is not None:
                        found.append(SpokenRegion(region, match.start(), match.end(), phrase))
        return found

    def _units(self, first: int, last: int) -> list[Point]:
        (y1, x1), (y2, x2) = divmod(first, self.cells), divmod(last, self.cells)
        inset = 0.0 if x1 == x2 or y1 == y2 else 0.5
        low = ((x1 + inset) / self.cells, (y1 + inset) / self.cells)
        return [low, ((x2 + 1 - inset) / self.cells, (y2 + 1 - inset) / self.cells)]

    def mentions(self, text: str) -> bool:
        """Whether the text tries to say a region, well-formed or not."""
        return "<object>" in text or "<patch_index_" in text


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
        """The places."""
        return tuple(f"<loc_{k}>" for k in range(self.bins))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, self.bins)
        return f"<loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order, clipped to the image.

        Places in other numbers than four or a multiple of it say something else.
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
        """Whether the text tries to say a region, well-formed or not."""
        return "<loc_" in text


@dataclass(frozen=True)
class PaliGemmaDialect(BoxesOnly):
    """PaliGemma's: `<loc0123><loc0045><loc0678><loc0910>`: top, left, bottom, right.

    Each side has 1024 bins; read back, a place is where its bin begins. In answers what it is
    stands behind, and `;` parts several. Source: arXiv 2407.07726 and the authors' demonstration.
    """

    bins: int = 1024
    name: str = "paligemma"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """The places."""
        return tuple(f"<loc{k:04d}>" for k in range(self.bins))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, self.bins)
        return f"<loc{y1:04d}><loc{x1:04d}><loc{y2:04d}><loc{x2:04d}>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order, clipped to the image."""
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
        """Whether the text tries to say a region, well-formed or not."""
        return re.search(r"<loc\d", text) is not None
