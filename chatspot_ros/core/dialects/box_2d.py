"""Gemma's boxes and points: JSON in thousandths, top before left."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_grammars import ABSENT, LEAD, WORDS
from chatspot_ros.core.dialects.base import (
    AS_ITS_BOX,
    Dialect,
    SpokenRegion,
    box_units,
    grid_box,
    region_from_units,
    step,
)
from chatspot_ros.core.dialects.thousandths import GRID, NUMBER_RULE
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region, RegionKind

_OBJECT = re.compile(
    r'\{[^{}]*"(?P<kind>box_2d|point)"\s*:\s*\[(?P<numbers>\s*\d+(?:\.\d+)?'
    r"(?:\s*,\s*\d+(?:\.\d+)?)+\s*)\][^{}]*\}"
)
_LABEL = re.compile(r'"label"\s*:\s*"([^"]*)"')
_MENTIONED = re.compile(r'box_2d|"point"')
_SPACE = r"ws ::= [ \t\n]{0,8}" + "\n"


@dataclass(frozen=True)
class Box2dDialect(Dialect):
    """Gemma's JSON: `{"box_2d": [y1, x1, y2, x2], "label": "mug"}` and `{"point": [y, x]}`.

    Whole thousandths of the image's sides. A polygon is written as its box. Source: Google's
    documentation of Gemini's boxes and points, and Hugging Face's article on Gemma 4 (gemma4.md of
    huggingface/blog), where Gemma 4 answers so unasked.
    """

    name: str = "box_2d"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return none: the text is plain JSON."""
        return ()

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        if region.kind is RegionKind.POINT:
            ((x, y),) = fit.to_unit(region.points_px)
            return json.dumps({"point": [step(y, GRID), step(x, GRID)]})
        return json.dumps({"box_2d": self._numbers(region, fit)})

    @staticmethod
    def _numbers(region: Region, fit: Fit) -> list[int]:
        (x1, y1), (x2, y2) = grid_box(box_units(region, fit), (GRID, GRID))
        return [y1, x1, y2, x2]

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order."""
        found: list[SpokenRegion] = []
        for match in _OBJECT.finditer(text):
            numbers = [float(word) / GRID for word in match["numbers"].split(",")]
            if len(numbers) != (4 if match["kind"] == "box_2d" else 2) or max(numbers) > 1:
                continue
            units = [(x, y) for y, x in zip(numbers[::2], numbers[1::2], strict=True)]
            region = region_from_units(units, fit, tolerance=1 / GRID)
            if region is not None:
                phrase = _LABEL.search(match[0])
                said = phrase[1] if phrase else ""
                found.append(SpokenRegion(region, match.start(), match.end(), said))
        return found

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return _MENTIONED.search(text) is not None

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""

    def locate_grammar(self) -> str:
        """Return the grammar: objects with `box_2d` and a `label`, alone or in a list, in a code
        block or not."""
        numbers = ' "," ws '.join([NUMBER_RULE] * 4)
        return (
            f'root ::= {LEAD} (absent | answer | "```json" ws answer ws "```")\n'
            'answer ::= place | "[" ws (place (ws "," ws place)* ws)? "]"\n'
            'place ::= "{" ws (box ("," ws label)? | label "," ws box) ws "}"\n'
            f'box ::= "\\"box_2d\\"" ws ":" ws "[" ws {numbers} ws "]"\n'
            'label ::= "\\"label\\"" ws ":" ws "\\"" phrase "\\""\n'
            f"{_SPACE}{ABSENT}{WORDS}"
        )

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer as a list of objects; points become boxes."""
        return json.dumps(
            [{"box_2d": self._numbers(region, fit), **({"label": phrase} if phrase else {})}
             for phrase, region in places], ensure_ascii=False,
        )  # fmt: skip
