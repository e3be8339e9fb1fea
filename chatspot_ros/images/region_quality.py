"""How large, sharp and light a region of a picture is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.crops import cut_around
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region, RegionKind

_LEAST_SIDE = 3  # pixels; the Laplacian looks at neighbours


@dataclass(frozen=True)
class RegionQuality:
    """`share` of the image's area, 0 to 1; `sharpness`, the variance of the Laplacian of the grey
    values (0 to 255), 0 or more; `light`, the mean luminance (BT.601, as stored), 0 to 1."""

    share: float
    sharpness: float
    light: float


def measure(image_rgb: RgbImage, regions: Sequence[Region]) -> RegionQuality:
    """Measure regions, clipped to the picture (uint8 H x W x 3, RGB): shares add up, the rest is
    the mean. None at all means the whole image.

    A point stands for the square around it with a quarter of the image's shorter side.
    """
    each = [_measure(image_rgb, region) for region in regions or (Region.image(),)]
    return RegionQuality(
        min(sum(one.share for one in each), 1.0),
        sum(one.sharpness for one in each) / len(each),
        sum(one.light for one in each) / len(each),
    )


def bounds(region: Region, image_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the region's bounds as whole pixels (x1, y1, x2, y2), x2 and y2 exclusive, at least
    three pixels a side where the image of (width, height) pixels has them."""
    width, height = image_wh
    if region.kind is RegionKind.IMAGE:
        return 0, 0, width, height
    if region.kind is RegionKind.POINT:
        return cut_around(region, image_wh, 0.0)
    x1, y1, x2, y2 = region.box_xyxy_px
    left, right = _span(x1, x2, width)
    top, bottom = _span(y1, y2, height)
    return left, top, right, bottom


def _measure(image_rgb: RgbImage, region: Region) -> RegionQuality:
    height, width = image_rgb.shape[:2]
    x1, y1, x2, y2 = bounds(region, (width, height))
    grey = cv2.cvtColor(np.ascontiguousarray(image_rgb[y1:y2, x1:x2]), cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    mask: NDArray[np.uint8] | None = None
    area = float((x2 - x1) * (y2 - y1))
    if region.kind is RegionKind.POLYGON:
        corners = np.array(region.points_px) - (x1, y1)
        mask = np.zeros(grey.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        xs, ys = corners.T
        area = float(abs(np.dot(xs, np.roll(ys, 1)) - np.dot(ys, np.roll(xs, 1))) / 2)
    deviation = float(cv2.meanStdDev(edges, mask=mask)[1].item())
    light = cv2.mean(grey, mask=mask)[0] / 255
    return RegionQuality(min(area / (width * height), 1.0), deviation**2, min(light, 1.0))


def _span(first: float, last: float, whole: int) -> tuple[int, int]:
    """Return the whole pixels that a stretch covers, at least three of them."""
    low = min(max(int(np.floor(first)), 0), whole)
    high = min(max(int(np.ceil(last)), low), whole)
    if high - low < _LEAST_SIDE:
        low = max(min(low, whole - _LEAST_SIDE), 0)
        high = min(low + _LEAST_SIDE, whole)
    return low, high
