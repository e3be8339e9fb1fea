"""Gemma's boxes and points: JSON in thousandths, top before left."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_grammars import LEAD, WORDS, absent
from chatspot_ros.core.dialects.base import (
    SpokenRegion,
    box_units,
    grid_box,
    region_from_units,
    step,
)
from chatspot_ros.core.dialects.qwen_json import PixelJsonDialect
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
class Box2dDialect(PixelJsonDialect):
    """Gemma's JSON: `{"box_2d": [y1, x1, y2, x2], "label": "mug"}` and `{"point": [y, x]}`.

    Whole thousandths of the image's sides. A polygon is written as its box. Source: Google's
    documentation of Gemini's boxes and points, and Hugging Face's article on Gemma 4 (gemma4.md of
    huggingface/blog), where Gemma 4 answers so unasked.
    """

    grid: int = GRID
    name: str = "box_2d"

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        if region.kind is RegionKind.POINT:
            ((x, y),) = fit.to_unit(region.points_px)
            return json.dumps({"point": [step(y, GRID), step(x, GRID)]})
        return self._place("", region, fit)

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

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: objects with `box_2d` and a `label`, alone or in a list, in a code
        block or not."""
        numbers = ' ws "," ws '.join([NUMBER_RULE] * 4)
        return (
            f'root ::= {LEAD} (absent | answer | "```json" ws answer ws "```")\n'
            'answer ::= place | "[" ws (place (ws "," ws place)*)? ws "]"\n'
            'place ::= "{" ws (box (ws "," ws label)? | label ws "," ws box) ws "}"\n'
            f'box ::= "\\"box_2d\\"" ws ":" ws "[" ws {numbers} ws "]"\n'
            'label ::= "\\"label\\"" ws ":" ws "\\"" phrase "\\""\n'
            f"{_SPACE}{absent(none)}{WORDS}"
        )

    def _place(self, phrase: str, region: Region, fit: Fit) -> str:
        (x1, y1), (x2, y2) = grid_box(box_units(region, fit), (GRID, GRID))
        label = {"label": phrase} if phrase else {}
        return json.dumps({"box_2d": [y1, x1, y2, x2], **label}, ensure_ascii=False)
