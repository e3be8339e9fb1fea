"""What all dialects share: the interface, and conversions between units, grids and regions."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import MAX_CORNERS, Point, Region, RegionKind
from chatspot_ros.errors import RegionError

# A model without points gets a box around one, as large as this share of the image's sides.
POINT_BOX_SHARE = 0.05
AS_ITS_BOX = "the model has no polygons: the box around it was asked about"
AS_A_BOX = "the model has no points: a box of 5 % of the image around it was asked about"
AS_ITS_CENTRE = "the model has only points: the middle of the region was asked about"

NUMBER = re.compile(r"-?\d+(?:\.\d*)?|-?\.\d+")
_PHRASE_BREAKS = re.compile(r"[.,;:!?\n]")


@dataclass(frozen=True)
class SpokenRegion:
    """A region found in a text: text[start:end] holds it, `phrase` is its name there.

    `doubtful`: its numbers are not on the dialect's scale, and what they mean was guessed.
    """

    region_px: Region
    start: int
    end: int
    phrase: str
    doubtful: bool = False


class Dialect(ABC):
    """One way to write regions, and the form of an answer that names places.

    `say` takes regions that are clipped to the image; `find` returns clipped ones. `place` names
    what an answer gives for a thing's place.
    """

    place: ClassVar[str] = "bounding box"

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in a model's settings."""

    @property
    @abstractmethod
    def control_strings(self) -> tuple[str, ...]:
        """Strings that only this dialect may write into a prompt, never a user."""

    @abstractmethod
    def say(self, region: Region, fit: Fit) -> str:
        """Write a region; the whole image is the empty text."""

    @abstractmethod
    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed regions of a text, in order."""

    @abstractmethod
    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""

    def doubts(self, text: str, found: Sequence[SpokenRegion]) -> bool:
        """Return whether regions of a text, of which `found` were read, are lost or doubtful."""
        return any(one.doubtful for one in found) or (self.mentions(text) and not found)

    def words(self, text: str) -> str:
        """Return a text for people: without location tokens, where the model writes any."""
        return text

    @abstractmethod
    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""

    @abstractmethod
    def locate_grammar(self, none: Sequence[str] = ()) -> str | None:
        """Return the EBNF of answers that name places (see `answer_grammars`); None: free text.

        `none` are further answers for a thing that is not there.
        """

    def says_none(self, text: str) -> bool:
        """Return whether an answer has the form of one with places, and none is in it."""
        return False

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each with its phrase, as `locate_grammar` has them."""
        return ", ".join(f"{phrase} {self.say(region, fit)}".strip() for phrase, region in places)


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
        return Region(points).clipped(width, height, MAX_CORNERS)
    except RegionError:
        return None


def phrase_before(text: str) -> str:
    """Return the words of a text after its last punctuation mark, without outer spaces."""
    return _PHRASE_BREAKS.split(text)[-1].strip() if text.strip() else ""


def step(value: float, steps: int) -> int:
    """Return the nearest of 0 to `steps` for a fraction; beyond the ends, the end."""
    return min(max(round(value * steps), 0), steps)


def grid_box(units: Sequence[Point], steps_xy: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the bounds of points (unit) as two corners on a grid of that many steps.

    Rounded to the nearest; on an axis where this would leave nothing, outwards, so that the box
    still overlaps what it was.
    """
    low, high = [], []
    for values, steps in zip(zip(*units, strict=True), steps_xy, strict=True):
        a, b = step(min(values), steps), step(max(values), steps)
        if a == b:
            a = min(max(math.floor(min(values) * steps), 0), steps - 1)
            b = min(max(math.ceil(max(values) * steps), a + 1), steps)
        low.append(a)
        high.append(b)
    return [(low[0], low[1]), (high[0], high[1])]


def bins_box(units: Sequence[Point], bins: int) -> list[tuple[int, int]]:
    """Return the bounds of points (unit) as two corners, each the bin that it falls into.

    Bins are numbered from 0 to `bins` - 1. A box within one bin gets the next one as well.
    """
    low, high = [], []
    for values in zip(*units, strict=True):
        a, b = (min(max(math.floor(v * bins), 0), bins - 1) for v in (min(values), max(values)))
        if a == b:
            a, b = (a, a + 1) if a + 1 < bins else (a - 1, a)
        low.append(a)
        high.append(b)
    return [(low[0], low[1]), (high[0], high[1])]


def box_units(region: Region, fit: Fit) -> tuple[Point, Point]:
    """Return the box of any region, as two corners in unit coordinates.

    A point's is POINT_BOX_SHARE of the image's sides, around it as far as the image goes.
    """
    if region.kind is RegionKind.POINT:
        (x, y), (w, h) = region.points_px[0], fit.image_wh
        half_w, half_h = w * POINT_BOX_SHARE / 2, h * POINT_BOX_SHARE / 2
        corners = ((max(x - half_w, 0.0), max(y - half_h, 0.0)),
                   (min(x + half_w, float(w)), min(y + half_h, float(h))))  # fmt: skip
    else:
        x1, y1, x2, y2 = region.box_xyxy_px
        corners = ((x1, y1), (x2, y2))
    first, second = fit.to_unit(corners)
    return first, second


def lost_as_box(region: Region) -> str:
    """Return a sentence on what is lost when a region is written as a box; empty: nothing."""
    if region.kind is RegionKind.POINT:
        return AS_A_BOX
    return AS_ITS_BOX if region.kind is RegionKind.POLYGON else ""


class BoxesOnly(Dialect):
    """Base of the dialects of models that were trained on boxes alone."""

    def say(self, region: Region, fit: Fit) -> str:
        """Write a region as its box; the whole image is the empty text."""
        if region.kind is RegionKind.IMAGE:
            return ""
        return self._say_box(box_units(region, fit))

    def simplifies(self, region: Region) -> str:
        """Return a sentence on what is lost when the region is written; empty: nothing."""
        return lost_as_box(region)

    @abstractmethod
    def _say_box(self, corners: tuple[Point, Point]) -> str:
        """Write a box given by two corners in unit coordinates."""
