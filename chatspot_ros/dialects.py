"""How a model family writes regions as text, and how its text is read back.

The numbers refer to the model's picture, so every dialect works with a `geometry.Fit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from chatspot_ros.errors import RegionError
from chatspot_ros.geometry import Fit
from chatspot_ros.regions import Point, Region, RegionKind

_NUMBER = re.compile(r"-?\d+(?:\.\d*)?|-?\.\d+")
_PHRASE_BREAKS = re.compile(r"[.,;:!?\n]")


@dataclass(frozen=True)
class SpokenRegion:
    """A region found in a text: text[start:end] says it, `phrase` is what stands before it."""

    region_px: Region
    start: int
    end: int
    phrase: str


class Dialect(Protocol):
    """One way to write regions."""

    @property
    def name(self) -> str:
        """Name in a model's settings."""

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Strings that only this dialect may write into a prompt, never a user."""

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region (clipped to the image); the whole image is the empty text."""

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order, clipped to the image."""

    def mentions(self, text: str) -> bool:
        """Whether the text tries to say a region, well-formed or not."""


@dataclass(frozen=True)
class ChatSpotDialect:
    """ChatSpot's own: `<box>` fractions `</box>`, as `<box> 0.12 0.34 0.56 0.78</box>`.

    Every number has `decimals` digits and is clamped to [0, 1]; `lead` stands before the first one,
    `separator` between two. Polygons are thinned to `max_vertices` corners and start at the one
    nearest the top left, clockwise as seen. What rounding would leave without area is rounded
    outwards, a polygon as its box.
    """

    decimals: int = 2
    separator: str = " "
    lead: str = " "
    max_vertices: int = 8
    opening: str = "<box>"
    closing: str = "</box>"
    name: str = "chatspot"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """The tags, unless they are mere brackets, which a user may type."""
        return tuple(tag for tag in (self.opening, self.closing) if len(tag) > 1)

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region (clipped to the image); the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        steps = 10**self.decimals
        units = fit.to_unit(region.points_px)
        if region.kind is RegionKind.POLYGON:
            units = _thinned(units, self.max_vertices)
        whole = [(_step(x, steps), _step(y, steps)) for x, y in units]
        if region.kind is RegionKind.POLYGON:
            whole = _canonical(whole) if whole else []
        if region.kind is RegionKind.BOX or (region.kind is RegionKind.POLYGON and len(whole) < 3):
            whole = _grid_box(fit.to_unit(region.points_px), (steps, steps))
        numbers = (f"{value / steps:.{self.decimals}f}" for point in whole for value in point)
        return f"{self.opening}{self.lead}{self.separator.join(numbers)}{self.closing}"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order, clipped to the image.

        Spaces and commas between numbers are free. Wrong counts, numbers outside [0, 1], unclosed
        tags and regions without area inside the image are left out.
        """
        found: list[SpokenRegion] = []
        pattern = f"{re.escape(self.opening)}([-0-9., \t\n]*){re.escape(self.closing)}"
        last_end = 0
        for match in re.finditer(pattern, text):
            region = self._read(match[1], fit)
            if region is not None:
                phrase = phrase_before(text[last_end : match.start()])
                found.append(SpokenRegion(region, match.start(), match.end(), phrase))
            last_end = match.end()
        return found

    def mentions(self, text: str) -> bool:
        """Whether the text tries to say a region, well-formed or not."""
        return self.opening in text or (self.closing in text and len(self.closing) > 1)

    def _read(self, inner: str, fit: Fit) -> Region | None:
        words = [word for word in re.split(r"[\s,]+", inner) if word]
        if not all(_NUMBER.fullmatch(word) for word in words):
            return None
        numbers = [float(word) for word in words]
        if len(numbers) < 2 or len(numbers) % 2 or not all(0 <= value <= 1 for value in numbers):
            return None
        units = list(zip(numbers[::2], numbers[1::2], strict=True))
        return region_from_units(units, fit, tolerance=10**-self.decimals)


def region_from_units(units: Sequence[Point], fit: Fit, tolerance: float) -> Region | None:
    """Return the region of points in unit coordinates, clipped to the image; None without area.

    A lone point that rounding put outside the image by up to `tolerance` (unit) is moved inside.
    """
    points = fit.to_px(units)
    width, height = fit.image_wh
    if len(points) == 1:
        x, y = min(max(points[0][0], 0.0), width), min(max(points[0][1], 0.0), height)
        ((back_x, back_y),) = fit.to_unit([(x, y)])
        if max(abs(back_x - units[0][0]), abs(back_y - units[0][1])) > tolerance + 1e-9:
            return None
        return Region.point(x, y)
    try:
        return Region(points).clipped(width, height)
    except RegionError:
        return None


def phrase_before(text: str) -> str:
    """Return the words of a text after its last punctuation mark, without outer spaces."""
    return _PHRASE_BREAKS.split(text)[-1].strip() if text.strip() else ""


def _step(value: float, steps: int) -> int:
    return min(max(round(value * steps), 0), steps)


def _grid_box(units: Sequence[Point], steps_xy: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the bounds of points (unit) as two corners on a grid of that many steps.

    Rounded to the nearest; on an axis where this would leave nothing, outwards, so that the box
    still overlaps what it was.
    """
    low, high = [], []
    for values, steps in zip(zip(*units, strict=True), steps_xy, strict=True):
        a, b = _step(min(values), steps), _step(max(values), steps)
        if a == b:
            a = min(max(math.floor(min(values) * steps), 0), steps - 1)
            b = min(max(math.ceil(max(values) * steps), a + 1), steps)
        low.append(a)
        high.append(b)
    return [(low[0], low[1]), (high[0], high[1])]


def _thinned(points: Sequence[Point], max_vertices: int) -> tuple[Point, ...]:
    """Return a polygon with at most `max_vertices` corners, as near to the given one as can be."""
    outline, tolerance = Polygon(points), 0.002
    corners = tuple(points)
    while len(corners) > max_vertices:
        corners = _corners(outline.simplify(tolerance))
        tolerance *= 1.4
        if tolerance > 1:
            # A shape that only crossing itself would make simpler.
            return _corners(outline.minimum_rotated_rectangle)
    return corners


def _corners(shape: BaseGeometry) -> tuple[Point, ...]:
    if not isinstance(shape, Polygon):
        return ()
    return tuple((float(x), float(y)) for x, y in shape.exterior.coords[:-1])


def _canonical(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the corners clockwise as seen from the one nearest the top left; empty: no area."""
    kept = [point for point, before in zip(points, [points[-1], *points], strict=False)
            if point != before]  # fmt: skip
    area = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in
               zip(kept, [*kept[1:], *kept[:1]], strict=True))  # fmt: skip
    if len(kept) < 3 or area == 0 or not Polygon(kept).is_valid:
        return []
    if area < 0:
        kept.reverse()
    start = min(range(len(kept)), key=lambda k: (sum(kept[k]), kept[k]))
    return kept[start:] + kept[:start]


@dataclass(frozen=True)
class PixelJsonDialect:
    """Qwen2.5-VL's: JSON with whole pixels of the model's own (resized) picture.

    A box is `{"bbox_2d": [x1, y1, x2, y2]}`, a point `{"point_2d": [x, y]}`, a polygon the box
    around it. Answers may carry a `"label"`.
    """

    name: str = "pixel_json"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """None: its text is plain JSON."""
        return ()

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region (clipped to the image); the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        units = fit.to_unit(region.points_px)
        if region.kind is RegionKind.POINT:
            ((x, y),), (w, h) = units, fit.model_wh
            return f'{{"point_2d": [{_step(x, w)}, {_step(y, h)}]}}'
        (x1, y1), (x2, y2) = _grid_box(units, fit.model_wh)
        return f'{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}]}}'

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order, clipped to the image."""
        found: list[SpokenRegion] = []
        w, h = fit.model_wh
        for match in _PIXEL_JSON.finditer(text):
            numbers = [float(word) for word in match["numbers"].split(",")]
            if len(numbers) != (4 if match["kind"] == "bbox" else 2):
                continue
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


_PIXEL_JSON = re.compile(
    r'\{[^{}]*"(?P<kind>bbox|point)_2d"\s*:\s*\[(?P<numbers>\s*\d+(?:\.\d+)?'
    r"(?:\s*,\s*\d+(?:\.\d+)?)+\s*)\][^{}]*\}"
)
_LABEL = re.compile(r'"label"\s*:\s*"([^"]*)"')
