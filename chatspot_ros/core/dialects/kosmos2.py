"""Kosmos-2's boxes: two cells of a grid, as location tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatspot_ros.core.dialects.base import (
    BoxesOnly,
    SpokenRegion,
    phrase_before,
    region_from_units,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_DELIMITER = "</delimiter_of_multi_objects/>"
_KOSMOS = re.compile(
    r"(?:<phrase>(?P<ref>[^<]*)</phrase>\s*)?<object>\s*(?P<places>(?:<patch_index_\d{1,4}>\s*|"
    rf"{re.escape(_DELIMITER)}\s*)+)</object>"
)
_PATCH = re.compile(r"<patch_index_(\d{1,4})>")


@dataclass(frozen=True)
class Kosmos2Dialect(BoxesOnly):
    """Kosmos-2's: `<phrase> mug</phrase><object><patch_index_0044><patch_index_0863></object>`.

    The picture has 32 x 32 cells, numbered row by row; a box is the cells of its top-left and
    bottom-right corners. Read back, a corner is the middle of its cell, but the whole cells count
    where both lie in one row or column. `phrase` names the region of a question.
    Source: arXiv 2306.14824 and transformers' Kosmos2Processor.
    """

    phrase: str = "It"
    cells: int = 32
    name: str = "kosmos2"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the tags and the places."""
        tags = ("<phrase>", "</phrase>", "<object>", "</object>", _DELIMITER, "<grounding>")
        return (*tags, *(_place(k) for k in range(self.cells**2)))

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = corners
        first = self._cell(math.floor(x1 * self.cells), math.floor(y1 * self.cells))
        last = self._cell(math.ceil(x2 * self.cells - 1), math.ceil(y2 * self.cells - 1))
        return f"{self._named(self.phrase)}<object>{_place(first)}{_place(last)}</object>"

    def _named(self, phrase: str) -> str:
        return f"<phrase> {phrase}</phrase>" if phrase else ""

    def _cell(self, column: int, row: int) -> int:
        column, row = (min(max(place, 0), self.cells - 1) for place in (column, row))
        return row * self.cells + column

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order."""
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
        """Return True if the text contains region markup, well-formed or not."""
        return "<object>" in text or "<patch_index_" in text

    def words(self, text: str) -> str:
        """Return a text for people: the phrases as words of their sentences, without places."""
        text = re.sub(r"\s*<object>.*?(?:</object>|$)", "", text)
        text = re.sub(r"<patch_index_\d+>|</?(?:phrase|object|grounding)>", "", text)
        return re.sub(r"\s+", " ", text.replace(_DELIMITER, "")).strip()

    def locate_grammar(self, none: Sequence[str] = ()) -> None:
        """Return None: the model answers its fixed prompts in forms of its own."""
        return

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer; one without a phrase continues the prompt's phrase."""
        return " ".join(replace(self, phrase=phrase).say(region, fit) for phrase, region in places)


def _place(cell: int) -> str:
    return f"<patch_index_{cell:04d}>"
