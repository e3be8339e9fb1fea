"""The places that an agent gives as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RegionError
from chatspot_ros.operators.client import Frame

_FORMS = "give [x, y], [x1, y1, x2, y2] or 6 or more numbers"


def region_of(numbers: Sequence[float], frame: Frame | None) -> Region:
    """Return the region of 2 numbers (a point), 4 (a box) or 6 and more (a polygon).

    Pixels of the frame, or fractions of its width and height if all are at most 1.

    Raises:
        RegionError: a wrong count, not finite, or fractions of a frame that is not at hand.
    """
    if len(numbers) < 2 or len(numbers) % 2:
        raise RegionError("a region has a wrong count of numbers", value=numbers, remedy=_FORMS)
    if not all(math.isfinite(one) for one in numbers):
        raise RegionError("a region has a number that is none", value=numbers, remedy=_FORMS)
    scale_x, scale_y = 1, 1
    if max(numbers) <= 1:
        if min(numbers) < 0:
            raise RegionError(
                "a fraction of the picture is negative", value=numbers, remedy="give 0 to 1"
            )
        if frame is None:
            raise RegionError(
                "the size of the picture is not known here", value=numbers,
                remedy="look again, or give pixels",
            )  # fmt: skip
        scale_y, scale_x = frame.image_rgb.shape[:2]
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    points = tuple((float(x) * scale_x, float(y) * scale_y) for x, y in pairs)
    return Region.box(*points[0], *points[1]) if len(points) == 2 else Region(points)
