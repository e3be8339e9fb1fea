"""Regions as JSON: Qwen2.5-VL's in pixels, Qwen3-VL's in thousandths."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chatspot_ros.core.dialects.base import (
    AS_ITS_BOX,
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
_LABEL = re.compile(r'"label"\s*:\s*"([^"]*)"')


@dataclass(frozen=True)
class PixelJsonDialect:
    """Qwen's JSON: `{"bbox_2d": [x1, y1, x2, y2]}` and `{"point_2d": [x, y]}`, whole numbers.

    With `grid` 0 they are pixels of the model's own (resized) picture, as Qwen2.5-VL has them
    (arXiv 2502.13923 and its cookbook on spatial understanding); else parts of that many of each
    side, 1000 for Qwen3-VL (its cookbook on 2D grounding), where larger numbers have been seen and
    count as the edge. A polygon is said as its box. Answers
    may carry a `"label"`.
    """

    grid: int = 0
    name: str = "pixel_json"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """None: its text is plain JSON."""
        return ()

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region (clipped to the image); the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        if region.kind is RegionKind.POINT:
            ((x, y),), (w, h) = fit.to_unit(region.points_px), self._steps(fit)
            return f'{{"point_2d": [{step(x, w)}, {step(y, h)}]}}'
        (x1, y1), (x2, y2) = grid_box(box_units(region, fit), self._steps(fit))
        return f'{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order, clipped to the image."""
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
        """Whether the text tries to say a region, well-formed or not."""
        return "_2d" in text

    def simplifies(self, region: Region) -> str:
        """What of a region gets lost when it is said, as a sentence for people; empty: nothing."""
        return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""

    def _steps(self, fit: Fit) -> tuple[int, int]:
        return (self.grid, self.grid) if self.grid else fit.model_wh
