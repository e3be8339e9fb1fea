"""The second look of Chain-of-Spot: which part of the image is shown again, larger."""

from __future__ import annotations

from collections.abc import Sequence

from chatspot_ros.core.regions import Region, RegionKind

# The side of a point's surroundings, as a share of the image's shorter side.
_POINT_SHARE = 0.25
# A cut has at least so many pixels a side, where the image has them.
_LEAST_SIDE = 16

Cut = tuple[int, int, int, int]


def cut_around(region: Region, image_wh: tuple[int, int], context: float) -> Cut:
    """Return the square around a region as whole pixels (x1, y1, x2, y2), x2 and y2 exclusive.

    `region` is clipped to the image of (width, height) pixels. The square's side is the region's
    longer one with `context` times that on each side, at most the image's; it is moved into the
    image. A point counts as a box of a quarter of the image's shorter side.
    """
    width, height = image_wh
    xs, ys = zip(*region.points_px, strict=True)
    longer = max(max(xs) - min(xs), max(ys) - min(ys))
    if region.kind is RegionKind.POINT:
        longer = _POINT_SHARE * min(width, height)
    side = max(round(longer * (1 + 2 * context)), _LEAST_SIDE)
    x1, x2 = _span((min(xs) + max(xs)) / 2, side, width)
    y1, y2 = _span((min(ys) + max(ys)) / 2, side, height)
    return x1, y1, x2, y2


def region_to_look_at(regions: Sequence[Region]) -> Region | None:
    """Return the one region to look at twice; None: several, or the whole image."""
    only = regions[0] if len(regions) == 1 else None
    return only if only is not None and only.points_px else None


def _span(middle: float, side: int, whole: int) -> tuple[int, int]:
    side = min(side, whole)
    first = min(max(round(middle - side / 2), 0), whole - side)
    return first, first + side
