"""Regions as JSON: Qwen2.5-VL's in pixels, Qwen3-VL's and Gemma's in thousandths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatspot_ros.core.answer_grammars import LEAD, NAME, WORDS, absent
from chatspot_ros.core.dialects import loose_json
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
from chatspot_ros.core.regions import Point, Region, RegionKind

# How far beyond the edge of the scale a number still means the edge.
_BEYOND = 0.03
_SPACE = r"ws ::= [ \t\n]{0,8}" + "\n"
# Attributes that the models add to a place when asked for them, such as "color".
_EXTRA = (
    'extra ::= "\\"" key "\\"" ws ":" ws value\n'
    "key ::= [a-z_]{1,24}\n"
    'value ::= "\\"" name "\\"" | [0-9]{1,6} ("." [0-9]{1,6})? | "true" | "false" | "null"\n'
)


@dataclass(frozen=True)
class PixelJsonDialect(Dialect):
    """Qwen's JSON: `{"bbox_2d": [x1, y1, x2, y2]}` and `{"point_2d": [x, y]}`, whole numbers.

    With `grid` 0 they are pixels of the model's own (resized) picture, as Qwen2.5-VL has them
    (arXiv 2502.13923 and its cookbook on spatial understanding); else parts of that many of each
    side, 1000 for Qwen3-VL (its cookbook on 2D grounding). A polygon is written as its box. Answers
    may carry a `"label"` and further keys.

    Gemma writes `{"box_2d": [y1, x1, y2, x2]}` and `{"point": [y, x]}` in thousandths: `y_first`.
    Source: gemma4.md of huggingface/blog, and Google's documentation of Gemini's boxes.

    Read are also other keys for a place, bare lists, and points as XML (`loose_json`). Fractions,
    and numbers beyond the edge that can be pixels of the resized picture or of the camera's image,
    are read as such and doubtful. Others just beyond the edge count as the edge and are doubtful;
    those farther off are no region.
    """

    grid: int = 0
    name: str = "pixel_json"
    box_key: str = "bbox_2d"
    point_key: str = "point_2d"
    y_first: bool = False

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
            return json.dumps({self.point_key: self._ordered((step(x, w), step(y, h)))})
        return self._place("", region, fit)

    def _ordered(self, *corners: tuple[int, int]) -> list[int]:
        """Return the numbers of corners (x, y) in the dialect's order."""
        return [n for corner in corners for n in (reversed(corner) if self.y_first else corner)]

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all regions of a text whose numbers have a meaning, in order."""
        found: list[SpokenRegion] = []
        places = self._places(text)
        scale, doubtful = self._scale(places, fit)
        for place in places:
            units = [(x / scale[0], y / scale[1]) for x, y in place.corners]
            if max(map(max, units)) > 1 + _BEYOND:
                continue
            units = [(min(x, 1.0), min(y, 1.0)) for x, y in units]
            region = region_from_units(units, fit, tolerance=1 / min(self._steps(fit)))
            if region is not None:
                found.append(SpokenRegion(region, place.start, place.end, place.label, doubtful))
        return found

    def _places(self, text: str) -> list[loose_json.Place]:
        """Return the places of a text, their corners (x, y)."""
        places = loose_json.places(text)
        if not self.y_first:
            return places
        # A tag names its x and y.
        return [
            place if text[place.start] == "<"
            else replace(place, corners=tuple((x, y) for y, x in place.corners))
            for place in places
        ]  # fmt: skip

    def doubts(self, text: str, found: Sequence[SpokenRegion]) -> bool:
        """Return whether regions of a text, of which `found` were read, are lost or doubtful."""
        lost = len(found) < len(loose_json.places(text))
        return super().doubts(text, found) or lost

    def _scale(self, places: Sequence[loose_json.Place], fit: Fit) -> tuple[Point, bool]:
        """Return the numbers of the picture's right and lower edge in an answer, and whether they
        are a guess. All places of an answer have one scale."""
        corners = [corner for place in places for corner in place.corners]
        width, height = self._steps(fit)
        if not corners:
            return (width, height), False
        right, bottom = (max(axis) for axis in zip(*corners, strict=True))
        if max(right, bottom) <= 1 and any(n % 1 for corner in corners for n in corner):
            return (1.0, 1.0), True
        if right <= width and bottom <= height:
            return (width, height), False
        others = (fit.model_wh, fit.image_wh)
        fits = (wh for wh in others if right <= wh[0] and bottom <= wh[1])
        return next(fits, (width, height)), True

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return loose_json.mentions(text)

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: objects with a box, a `label` and other keys, alone or in a list,
        which may be empty, in a code block or not."""
        number = "[0-9]{1,5}"
        numbers = ' "," ws '.join([number] * 4)
        return (
            f'root ::= {LEAD} (absent | answer | "```json" ws answer ws "```")\n'
            'answer ::= place | "[" ws (place (ws "," ws place)*)? ws "]"\n'
            'place ::= "{" ws (box ("," ws label)? | label "," ws box) ("," ws extra){0,4} ws "}"\n'
            f'box ::= "\\"{self.box_key}\\"" ws ":" ws "[" ws {numbers} ws "]"\n'
            'label ::= "\\"label\\"" ws ":" ws "\\"" name "\\""\n'
            f"{_EXTRA}{_SPACE}{NAME}{absent(none)}{WORDS}"
        )

    def says_none(self, text: str) -> bool:
        """Return whether an answer is an empty list."""
        return loose_json.is_empty(text)

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer as objects, several in a list; points become boxes."""
        objects = [self._place(phrase, region, fit) for phrase, region in places]
        return objects[0] if len(objects) == 1 else f"[{', '.join(objects)}]"

    def _place(self, phrase: str, region: Region, fit: Fit) -> str:
        numbers = self._ordered(*grid_box(box_units(region, fit), self._steps(fit)))
        label = {"label": phrase} if phrase else {}
        return json.dumps({self.box_key: numbers, **label}, ensure_ascii=False)

    def _steps(self, fit: Fit) -> tuple[int, int]:
        return (self.grid, self.grid) if self.grid else fit.model_wh
