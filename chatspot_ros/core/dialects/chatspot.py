"""ChatSpot's own regions: fractions of the model's picture between tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from chatspot_ros.core.answer_grammars import literal, locate_in_words
from chatspot_ros.core.dialects.base import (
    NUMBER,
    Dialect,
    SpokenRegion,
    box_units,
    grid_box,
    lost_as_box,
    phrase_before,
    region_from_units,
    step,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region, RegionKind


@dataclass(frozen=True)
class ChatSpotDialect(Dialect):
    """ChatSpot's own: `<box>` fractions `</box>`, as `<box> 0.12 0.34 0.56 0.78</box>`.

    Every number has `decimals` digits and is clamped to [0, 1]; `lead` stands before the first one,
    `separator` between two. Polygons are simplified to `max_vertices` corners, clockwise from the
    one nearest the top left. A region that rounding would leave without area is rounded outwards, a
    polygon as its box. With `boxes_only` points and polygons are written as boxes; with
    `short_numbers` zeros at the end are left out, as in `0.3`.
    """

    decimals: int = 2
    separator: str = " "
    lead: str = " "
    # Parts several boxes of one phrase within the tags; empty: there is only one.
    between: ClassVar[str] = ""
    max_vertices: int = 8
    opening: str = "<box>"
    closing: str = "</box>"
    boxes_only: bool = False
    short_numbers: bool = False
    name: str = "chatspot"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the tags; mere brackets are none, since a user may type them."""
        return tuple(tag for tag in (self.opening, self.closing) if len(tag) > 1)

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        steps = 10**self.decimals
        if self.boxes_only:
            return self._in_tags(grid_box(box_units(region, fit), (steps, steps)))
        units = fit.to_unit(region.points_px)
        if region.kind is RegionKind.POLYGON:
            units = _thinned(units, self.max_vertices)
        whole = [(step(x, steps), step(y, steps)) for x, y in units]
        if region.kind is RegionKind.POLYGON:
            whole = _canonical(whole) if whole else []
        if region.kind is RegionKind.BOX or (region.kind is RegionKind.POLYGON and len(whole) < 3):
            whole = grid_box(fit.to_unit(region.points_px), (steps, steps))
        return self._in_tags(whole)

    def _in_tags(self, steps: Sequence[tuple[int, int]]) -> str:
        numbers = [f"{n / 10**self.decimals:.{self.decimals}f}" for point in steps for n in point]
        if self.short_numbers:
            numbers = [number[:3] + number[3:].rstrip("0") for number in numbers]
        return f"{self.opening}{self.lead}{self.separator.join(numbers)}{self.closing}"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order.

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
        """Return True if the text contains region markup, well-formed or not."""
        return self.opening in text or (self.closing in text and len(self.closing) > 1)

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return lost_as_box(region) if self.boxes_only else ""

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: a phrase, then four fractions with the dialect's decimals.

        A space behind the opening tag is optional.
        """
        fewest = 1 if self.short_numbers else self.decimals
        many = f"{{{fewest},{self.decimals}}}"
        number = f'("0." [0-9]{many} | "1." [0]{many})'
        one = f" {literal(self.separator)} ".join([number] * 4)
        more = f" ({literal(self.between)} {one})*" if self.between else ""
        box = f'{literal(self.opening)} " "? {one}{more} {literal(self.closing)}'
        return locate_in_words(box, none)

    def _read(self, inner: str, fit: Fit) -> Region | None:
        words = [word for word in re.split(r"[\s,]+", inner) if word]
        if not all(NUMBER.fullmatch(word) for word in words):
            return None
        numbers = [float(word) for word in words]
        if len(numbers) < 2 or len(numbers) % 2 or not all(0 <= value <= 1 for value in numbers):
            return None
        units = list(zip(numbers[::2], numbers[1::2], strict=True))
        return region_from_units(units, fit, tolerance=10**-self.decimals)


def _thinned(points: Sequence[Point], max_vertices: int) -> tuple[Point, ...]:
    """Return a similar polygon with at most `max_vertices` corners."""
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
