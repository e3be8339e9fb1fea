"""The regions that a person draws on a picture: points, boxes, polygons and chosen detections.

A page or a window turns its pointer into image pixels and calls `press`, `move`, `release` and
`corner`; what is drawn, with its number and colour, is in `drawn`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from chatspot_ros.core.regions import MAX_CORNERS, Region, RegionKind
from chatspot_ros.images.annotate import PALETTE, Colour

Xy = tuple[float, float]


def colour_of(number: int) -> Colour:
    """Return the colour (RGB, 0 to 255) of the region or answer with this number, from 1."""
    return PALETTE[(number - 1) % len(PALETTE)]


@dataclass(frozen=True)
class Drawn:
    """A region of the drawing with its number, from 1, and its colour (RGB, 0 to 255)."""

    region: Region
    number: int

    @property
    def colour(self) -> Colour:
        """Its colour (RGB, 0 to 255)."""
        return colour_of(self.number)


class Drawing:
    """Regions on a picture of `image_wh` pixels, and the gesture that is going on.

    Coordinates are image pixels. `slop_px` is how far, in image pixels, a pointer may slip during a
    click: a page or window gives its view's few pixels, divided by the scale.
    """

    def __init__(self) -> None:
        self.image_wh: tuple[int, int] = (0, 0)
        self.detections: tuple[Region, ...] = ()
        self.corners: tuple[Xy, ...] = ()
        self._regions: tuple[Region, ...] = ()
        self._pressed: Xy | None = None
        self._at: Xy | None = None
        self._is_asked = False

    # --- what is drawn ---

    @property
    def regions(self) -> tuple[Region, ...]:
        """The drawn regions, in order."""
        return self._regions

    @property
    def drawn(self) -> tuple[Drawn, ...]:
        """The drawn regions with their numbers and colours."""
        return tuple(Drawn(region, number) for number, region in enumerate(self._regions, 1))

    @property
    def unfinished(self) -> Region | None:
        """The box being dragged, or the polygon's corners with the pointer as the next one."""
        if self._pressed is not None and self._at is not None and self._pressed != self._at:
            return Region.box(*self._inside(self._pressed), *self._inside(self._at))
        if self.corners:
            ends = (self._inside(self._at),) if self._at is not None else ()
            return Region((*self.corners, *ends), stroke=True)
        return None

    @property
    def is_busy(self) -> bool:
        """Whether a box is being dragged, or a polygon has corners but no end."""
        return self._pressed is not None or bool(self.corners)

    def is_chosen(self, detection: Region) -> bool:
        """Return whether a detection is among the regions."""
        return any(_is_same(detection, region) for region in self._regions)

    # --- gestures ---

    def press(self, at_px: Xy) -> None:
        """Begin a click or a box, with the left button or a finger."""
        self._pressed = self._at = at_px

    def move(self, at_px: Xy) -> None:
        """Follow the pointer, pressed or not."""
        self._at = at_px

    def release(
        self, at_px: Xy, slop_px: float, *, keep: bool = False, point: bool = False
    ) -> bool:
        """End a click or a box; return whether the regions have changed.

        A click on a detection chooses it, or drops it; elsewhere, or with `point`, it adds a point.
        The first region after a question replaces those of the question, unless `keep`.
        """
        begun, self._pressed, self._at = self._pressed, None, at_px
        if begun is None or min(self.image_wh) < 1:
            return False
        if math.dist(begun, at_px) > slop_px:
            x1, y1, x2, y2 = *self._inside(begun), *self._inside(at_px)
            if x1 == x2 or y1 == y2:
                return False
            return self._add(Region.box(x1, y1, x2, y2), keep)
        if not self._contains(at_px):
            return False
        found = None if point else self.detection_at(at_px)
        if found is None:
            return self._add(Region.point(*at_px), keep)
        if self.is_chosen(found):
            self._regions = tuple(one for one in self._regions if not _is_same(found, one))
            return True
        return self._add(found, keep)

    def corner(self, at_px: Xy, slop_px: float, *, keep: bool = False) -> bool:
        """Add a corner of a polygon (the right button); on its first corner it ends.

        Return whether the regions have changed.
        """
        if min(self.image_wh) < 1 or not (self.corners or self._contains(at_px)):
            return False
        at = self._inside(at_px)
        if self.corners and math.dist(self.corners[0], at) <= slop_px and len(self.corners) > 2:
            return self.close(keep=keep)
        if not self.corners or at != self.corners[-1]:
            self.corners = (*self.corners, at)
        return len(self.corners) == MAX_CORNERS and self.close(keep=keep)

    def close(self, *, keep: bool = False) -> bool:
        """End the polygon; return whether it became a region (three corners or more do)."""
        if len(self.corners) < 3:
            return False
        corners, self.corners = self.corners, ()
        return self._add(Region.polygon(corners), keep)

    def cancel(self) -> None:
        """Drop the unfinished box or polygon."""
        self._pressed, self.corners = None, ()

    def escape(self) -> None:
        """Drop the unfinished box or polygon; where there is none, all regions."""
        if self.is_busy:
            self.cancel()
        else:
            self.clear()

    def clear(self) -> None:
        """Drop all regions."""
        self.cancel()
        self._regions, self._is_asked = (), False

    def undo(self) -> bool:
        """Drop the last corner, or the last region; return whether there was one."""
        if self.corners:
            self.corners = self.corners[:-1]
            return True
        had, self._regions = bool(self._regions), self._regions[:-1]
        return had

    def choose(self, detection: Region, *, keep: bool = True) -> bool:
        """Add a detection, if it is not chosen yet; return whether the regions have changed."""
        return not self.is_chosen(detection) and self._add(detection, keep)

    def asked(self) -> None:
        """Take the regions as those of a question: the next one begins a new drawing."""
        self._is_asked = True

    def detection_at(self, at_px: Xy) -> Region | None:
        """Return the smallest detection around a place."""
        around = [
            (box, one)
            for one in self.detections
            if one.kind is RegionKind.BOX
            for box in (one.box_xyxy_px,)
            if box[0] <= at_px[0] <= box[2] and box[1] <= at_px[1] <= box[3]
        ]
        around.sort(key=lambda item: (item[0][2] - item[0][0]) * (item[0][3] - item[0][1]))
        return around[0][1] if around else None

    # --- inside ---

    def _add(self, region: Region, keep: bool) -> bool:
        if self._is_asked and not keep:
            self._regions = ()
        self._is_asked = False
        self._regions = (*self._regions, region)
        return True

    def _contains(self, at_px: Xy) -> bool:
        width, height = self.image_wh
        return 0 <= at_px[0] <= width and 0 <= at_px[1] <= height

    def _inside(self, at_px: Xy) -> Xy:
        width, height = self.image_wh
        return min(max(at_px[0], 0.0), float(width)), min(max(at_px[1], 0.0), float(height))


def _is_same(one: Region, other: Region) -> bool:
    return one.id == other.id and one.points_px == other.points_px


def scaled(region: Region, scale: float) -> Region:
    """Return the region of the same picture, larger by `scale`."""
    return replace(region, points_px=tuple((x * scale, y * scale) for x, y in region.points_px))


def in_words(region: Region) -> str:
    """Return a region in a few words: its label, or such as `box 10, 20 to 200, 300`."""
    if region.label:
        return region.label
    places = [f"{x:.0f}, {y:.0f}" for x, y in region.points_px]
    match region.kind:
        case RegionKind.IMAGE:
            return "the whole picture"
        case RegionKind.POINT:
            return f"point {places[0]}"
        case RegionKind.BOX:
            return f"box {places[0]} to {places[1]}"
        case RegionKind.POLYGON:
            return f"polygon of {len(places)} corners at {places[0]}"
        case _:
            return f"stroke of {len(places)} points at {places[0]}"
