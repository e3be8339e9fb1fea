"""A region of an image: N points in pixels, as in the paper.

Pixels: (0, 0) is the top-left corner of the top-left pixel, x grows to the right, y downwards, and
the right and bottom edges of a W x H image are x = W and y = H.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import shapely
from shapely.geometry import MultiPoint, Polygon, box

from chatspot_ros.core.place import Place
from chatspot_ros.errors import RegionError, RequestError

Point = tuple[float, float]
BoxXyxy = tuple[float, float, float, float]

REGION_MARK = "<region>"
# Most corners of a polygon from a request or an answer. To repair a self-crossing one takes time by
# the square of its corners: 64 take 9 ms, 300 take 0.8 s, 1,000 take 15 s.
MAX_CORNERS = 64
_TYPED = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_TYPED_FORM = "write <box>x1,y1,x2,y2</box>"
# Tags that are meant for a typed region.
_TAG_NAMES = r"(?:b?box(?:es)?|points?|polygons?|rect(?:angle)?|regions?)\b"
_MEANT = re.compile(rf"<\s*/?\s*{_TAG_NAMES}[^<>]*>|</?{_TAG_NAMES}", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SEPARATORS = re.compile(r"[\s,;()\[\]]+")
# The width of a stroke's pen, as a share of the image's shorter side; the most corners around it.
_PEN_SHARE, _STROKE_CORNERS = 0.02, 16
# Beyond this, areas lose their meaning in double precision.
_FARTHEST_PX = 1e9
# A self-crossing outline whose largest loop has less than this share is read as its hull.
_MAIN_LOOP_SHARE = 0.8
_FIX_REGION = "give a region that lies at least partly inside the image"


class RegionKind(StrEnum):
    """The kind of a region, by its number of points."""

    IMAGE = "image"
    POINT = "point"
    BOX = "box"
    POLYGON = "polygon"
    STROKE = "stroke"


@dataclass(frozen=True)
class Region:
    """A part of one image; the number of its points gives their meaning.

    0 points: the whole image; 1: a point; 2: a box by opposite corners; 3 or more: a polygon, its
    corners in order, not closed. With `stroke` two or more are the way of a pen, as a person
    scribbles over a thing or around it. `points_px` may lie outside the image until `clipped`.
    `place` is where the thing in it is; only a node with a depth camera sets it, in its answers.
    """

    points_px: tuple[Point, ...] = ()
    id: str = ""
    label: str = ""
    stroke: bool = False
    place: Place | None = field(default=None, compare=False)

    @classmethod
    def image(cls) -> Region:
        """Return the whole image."""
        return cls()

    @classmethod
    def point(cls, x: float, y: float) -> Region:
        """Return a point, in pixels."""
        return cls(((float(x), float(y)),))

    @classmethod
    def box(cls, x1: float, y1: float, x2: float, y2: float) -> Region:
        """Return a box, in pixels; its corners may come in either order."""
        left, right = sorted((float(x1), float(x2)))
        top, bottom = sorted((float(y1), float(y2)))
        return cls(((left, top), (right, bottom)))

    @classmethod
    def polygon(cls, points: Iterable[Iterable[float]]) -> Region:
        """Return a polygon by its corners in pixels, in order."""
        return cls(tuple((float(x), float(y)) for x, y in points))

    @property
    def kind(self) -> RegionKind:
        """Return the kind, by the number of points."""
        if self.stroke and len(self.points_px) > 1:
            return RegionKind.STROKE
        kinds = (RegionKind.IMAGE, RegionKind.POINT, RegionKind.BOX)
        return kinds[len(self.points_px)] if len(self.points_px) < 3 else RegionKind.POLYGON

    @property
    def crosses_itself(self) -> bool:
        """Return True for a polygon whose edges cross, which costs time to repair."""
        return self.kind is RegionKind.POLYGON and not Polygon(self.points_px).is_valid

    @property
    def box_xyxy_px(self) -> BoxXyxy:
        """Bounds (left, top, right, bottom) in pixels. Raises RegionError for the whole image."""
        if not self.points_px:
            raise RegionError(
                "the whole image has no bounds of its own",
                value="no points",
                remedy="use the image's size",
            )
        xs, ys = zip(*self.points_px, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def clipped(self, width: int, height: int, max_corners: int | None = None) -> Region:
        """Return the part of the region inside an image of width x height pixels, normalised.

        A box's corners are sorted. A polygon loses repeated corners (two that remain make a box).
        A polygon that crosses itself becomes its main loop, or its convex hull where no loop is the
        main one (corners in the wrong order). Of several parts in the image the largest is kept.
        A stroke becomes the polygon around all it touches, as if drawn with a pen of two hundredths
        of the image's shorter side.
        With `max_corners`, a polygon of more loses those on straight edges.

        Raises:
            RegionError: NaN or infinite coordinates, wholly outside the image, without area, or
                still more than `max_corners`.
        """
        for x, y in self.points_px:
            if not (math.isfinite(x) and math.isfinite(y)):
                raise RegionError(
                    "a coordinate is not a finite number",
                    value=f"({x}, {y})",
                    remedy="give pixels as finite numbers",
                )
        kind = self.kind
        if kind is RegionKind.IMAGE:
            return self
        if kind is RegionKind.POINT:
            x, y = self.points_px[0]
            if not (0 <= x <= width and 0 <= y <= height):
                raise self._outside(width, height)
            return self
        if kind is RegionKind.STROKE:
            return self._around_stroke(width, height)
        if kind is RegionKind.BOX:
            return self._clipped_box(width, height)
        return self._clipped_polygon(width, height, max_corners)

    def _around_stroke(self, width: int, height: int) -> Region:
        if any(abs(value) > _FARTHEST_PX for point in self.points_px for value in point):
            raise RegionError(
                "a point of the stroke is too far away", value=_text(self.points_px[:8]),
                remedy=_FIX_REGION,
            )  # fmt: skip
        half = max(1.0, _PEN_SHARE * min(width, height) / 2)
        hull = MultiPoint(self.points_px).convex_hull
        outline: Any = hull.buffer(half, quad_segs=1, join_style="bevel")
        while len(outline.exterior.coords) - 1 > _STROKE_CORNERS:
            outline = outline.simplify(half)
            half *= 2
        corners = tuple((float(x), float(y)) for x, y in outline.exterior.coords[:-1])
        return replace(self, points_px=corners, stroke=False).clipped(width, height)

    def _clipped_box(self, width: int, height: int) -> Region:
        left, top, right, bottom = self.box_xyxy_px
        if left == right or top == bottom:
            raise RegionError(
                "the box has no area", value=_text(self.points_px), remedy="give two corners apart"
            )
        left, right = max(left, 0.0), min(right, float(width))
        top, bottom = max(top, 0.0), min(bottom, float(height))
        if left >= right or top >= bottom:
            raise self._outside(width, height)
        corners = ((left, top), (right, bottom))
        return self if corners == self.points_px else replace(self, points_px=corners)

    def _clipped_polygon(self, width: int, height: int, max_corners: int | None) -> Region:
        if any(abs(value) > _FARTHEST_PX for point in self.points_px for value in point):
            raise RegionError(
                "a corner is too far away", value=_text(self.points_px), remedy=_FIX_REGION
            )
        corners = _without_repeats(self.points_px)
        if len(corners) == 2:
            return replace(self, points_px=corners)._clipped_box(width, height)
        if max_corners is not None and len(corners) > max_corners:
            corners = _without_straight(corners)
            if len(corners) > max_corners:
                raise RegionError(
                    f"the polygon has more than {max_corners} corners",
                    value=len(corners),
                    remedy="simplify its outline, or raise the parameter max_corners",
                )
        outline = _simple_outline(corners)
        if outline is None:
            raise RegionError(
                "the polygon has no area",
                value=_text(self.points_px),
                remedy="give at least three corners that are not on one line",
            )
        frame = box(0, 0, width, height)
        if not frame.covers(outline):
            clipped = _largest(frame.intersection(outline))
            if clipped is None:
                raise self._outside(width, height)
            outline = clipped
        elif outline.exterior.coords[:-1] == list(corners):
            return replace(self, points_px=corners)
        kept = _without_repeats(
            (min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height)))
            for x, y in outline.exterior.coords
        )
        return replace(self, points_px=kept)

    def _outside(self, width: int, height: int) -> RegionError:
        return RegionError(
            f"the {self.kind} lies outside the image of {width} x {height} pixels",
            value=_text(self.points_px),
            remedy=_FIX_REGION,
        )


def parse_region(text: str) -> Region:
    """Parse `x,y` (a point), `x1,y1,x2,y2` (a box) or more pairs (a polygon); pixels.

    Raises ValueError for anything else.
    """
    numbers = [float(word) for word in text.replace(",", " ").split()]
    if len(numbers) < 2 or len(numbers) % 2:
        raise ValueError(f"a region has 2 numbers, 4, or an even count from 6 on (got {text!r})")
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return Region.box(*points[0], *points[1]) if len(points) == 2 else Region(points)


def parse_typed_regions(question: str, width: int, height: int) -> tuple[str, list[Region]]:
    """Read the regions that were typed into a question, such as `<box>120,80,300,400</box>`.

    Two numbers make a point, four a box, six or more a polygon; in pixels of the width x height
    image, or as fractions of it when all numbers of a region are at most 1. Return the question
    with `<region>` in place of each, and the regions in order, not yet clipped.

    Raises:
        RegionError: `<box>` without `</box>`, not numbers, a wrong number of them, or negative
            fractions.
        RequestError: a tag that is meant for a region and is not read, such as `<bbox>`.
    """
    regions: list[Region] = []

    def take(match: re.Match[str]) -> str:
        regions.append(_typed_region(match[1], width, height))
        return REGION_MARK

    text = _TYPED.sub(take, question)
    if "<box>" in text:
        raise RegionError("a typed region is not closed", value=question, remedy=_TYPED_FORM)
    tag = stray_tag(text)
    if tag:
        raise RequestError("a typed region cannot be read", value=tag, remedy=_TYPED_FORM)
    return text, regions


def stray_tag(text: str) -> str:
    """Return the first tag in a text that is meant for a region and is not `<region>`; else "".

    Other letter cases, wide characters and invisible ones are seen through.
    """
    plain = unicodedata.normalize("NFKC", text.replace(REGION_MARK, " "))
    found = _MEANT.search("".join(one for one in plain if one.isprintable() or one.isspace()))
    return found[0] if found else ""


def _typed_region(text: str, width: int, height: int) -> Region:
    remedy = f"{_TYPED_FORM}: 2 numbers for a point, 4 for a box, 6 or more for a polygon"
    words = [word for word in _SEPARATORS.split(text.strip()) if word]
    if not all(_NUMBER.fullmatch(word) for word in words):
        raise RegionError("a typed region is not numbers", value=text, remedy=remedy)
    numbers = [float(word) for word in words]
    if len(numbers) % 2 or not numbers:
        raise RegionError("a typed region has a wrong count of numbers", value=text, remedy=remedy)
    if max(numbers) <= 1 and min(numbers) < 0:
        raise RegionError("a fraction of the image is negative", value=text, remedy=remedy)
    scale_x, scale_y = (width, height) if max(numbers) <= 1 else (1, 1)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    points = tuple((x * scale_x, y * scale_y) for x, y in pairs)
    return Region.box(*points[0], *points[1]) if len(points) == 2 else Region(points)


def _text(points: Iterable[Point]) -> str:
    return " ".join(f"({x:g}, {y:g})" for x, y in points)


def _without_repeats(points: Iterable[Point]) -> tuple[Point, ...]:
    """Drop corners equal to the one before them, the last one also when it repeats the first."""
    kept: list[Point] = []
    for point in points:
        if not kept or point != kept[-1]:
            kept.append(point)
    while len(kept) > 1 and kept[-1] == kept[0]:
        kept.pop()
    return tuple(kept)


def _without_straight(corners: tuple[Point, ...]) -> tuple[Point, ...]:
    """Drop corners on a straight edge between their neighbours."""
    around = zip((corners[-1], *corners), corners, (*corners[1:], corners[0]), strict=False)
    return tuple(
        (x, y)
        for (ax, ay), (x, y), (bx, by) in around
        if (x - ax) * (by - y) != (y - ay) * (bx - x)
        or (x - ax) * (bx - x) + (y - ay) * (by - y) < 0
    )


def _simple_outline(corners: tuple[Point, ...]) -> Polygon | None:
    """Return the polygon of the corners without self-crossings; None when it has no area."""
    if len(corners) < 3:
        return None
    outline = Polygon(corners)
    if outline.is_valid:
        return outline
    repaired = shapely.make_valid(outline, method="structure")
    main = _largest(repaired)
    if main is None:
        return None
    if main.area < _MAIN_LOOP_SHARE * repaired.area:
        return _largest(MultiPoint(corners).convex_hull)
    return main


def _largest(shape: shapely.Geometry) -> Polygon | None:
    """Return the largest polygon of a shape, its holes filled; None when it has no area."""
    parts = [part for part in shapely.get_parts(shape) if isinstance(part, Polygon)]
    nested = [
        part
        for collection in shapely.get_parts(shape)
        if not isinstance(collection, Polygon)
        for part in shapely.get_parts(collection)
        if isinstance(part, Polygon)
    ]
    largest = max([*parts, *nested], key=lambda part: part.area, default=None)
    return None if largest is None or largest.area <= 0 else Polygon(largest.exterior)
