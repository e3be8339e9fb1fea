"""Regions as JSON: Qwen2.5-VL's in pixels, Qwen3-VL's in thousandths."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_grammars import LEAD, WORDS, absent
from chatspot_ros.core.dialects.base import (
    AS_ITS_BOX,
    Dialect,
    SpokenRegion,
    box_units,
    grid_box,
    region_from_units,
    step,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region, RegionKind

_OBJECT = re.compile(
    r'\{[^{}]*"(?P<kind>bbox|point)_2d"\s*:\s*\[(?P<numbers>\s*\d+(?:\.\d+)?'
    r"(?:\s*,\s*\d+(?:\.\d+)?)+\s*)\][^{}]*\}"
)
_EMPTY = re.compile(r"\s*(?:```\w*\s*)?\[\s*\]\s*(?:```)?\s*")
_SPACE = r"ws ::= [ \t\n]{0,8}" + "\n"
_LABEL = re.compile(r'"label"\s*:\s*"([^"]*)"')


@dataclass(frozen=True)
class PixelJsonDialect(Dialect):
    """Qwen's JSON: `{"bbox_2d": [x1, y1, x2, y2]}` and `{"point_2d": [x, y]}`, whole numbers.

    With `grid` 0 they are pixels of the model's own (resized) picture, as Qwen2.5-VL has them
    (arXiv 2502.13923 and its cookbook on spatial understanding); else parts of that many of each
    side, 1000 for Qwen3-VL (its cookbook on 2D grounding), where larger numbers have been seen and
    count as the edge. A polygon is written as its box. Answers may carry a `"label"`.
    """

    grid: int = 0
    name: str = "pixel_json"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return none: the text is plain JSON."""
        return ()

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        if region.kind is RegionKind.POINT:
            ((x, y),), (w, h) = fit.to_unit(region.points_px), self._steps(fit)
            return f'{{"point_2d": [{step(x, w)}, {step(y, h)}]}}'
        (x1, y1), (x2, y2) = grid_box(box_units(region, fit), self._steps(fit))
        return f'{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order."""
        found: list[SpokenRegion] = []
        w, h = self._steps(fit)
        for match in _OBJECT.finditer(text):
            numbers = [float(word) for word in match["numbers"].split(",")]
            if len(numbers) != (4 if match["kind"] == "bbox" else 2):
                continue
            if self.grid:
                numbers = [min(number, float(self.grid)) for number in numbers]
            units = [(x / w, y / h) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            region = region_from_units(units, fit, tolerance=1 / min(w, h))
            if region is not None:
                phrase = _LABEL.search(match[0])
                said = phrase[1] if phrase else ""
                found.append(SpokenRegion(region, match.start(), match.end(), said))
        return found

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return "_2d" in text

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: objects with `bbox_2d` and a `label`, alone or in a list, in a code
        block or not."""
        number = "[0-9]{1,5}"
        numbers = ' "," ws '.join([number] * 4)
        return (
            f'root ::= {LEAD} (absent | answer | "```json" ws answer ws "```")\n'
            'answer ::= place | "[" ws (place (ws "," ws place)*)? ws "]"\n'
            'place ::= "{" ws (box ("," ws label)? | label "," ws box) ws "}"\n'
            f'box ::= "\\"bbox_2d\\"" ws ":" ws "[" ws {numbers} ws "]"\n'
            'label ::= "\\"label\\"" ws ":" ws "\\"" phrase "\\""\n'
            f"{_SPACE}{absent(none)}{WORDS}"
        )

    def says_none(self, text: str) -> bool:
        """Return whether an answer is an empty list."""
        return _EMPTY.fullmatch(text) is not None

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer as objects, several in a list; points become boxes."""
        objects = [self._place(phrase, region, fit) for phrase, region in places]
        return objects[0] if len(objects) == 1 else f"[{', '.join(objects)}]"

    def _place(self, phrase: str, region: Region, fit: Fit) -> str:
        corners = grid_box(box_units(region, fit), self._steps(fit))
        numbers = [value for corner in corners for value in corner]
        return json.dumps({"bbox_2d": numbers, **({"label": phrase} if phrase else {})},
                          ensure_ascii=False)  # fmt: skip

    def _steps(self, fit: Fit) -> tuple[int, int]:
        return (self.grid, self.grid) if self.grid else fit.model_wh
