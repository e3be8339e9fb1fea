"""The picture of a tool's result: a part of a frame with its regions, as a JPEG of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from chatspot_ros.core.crops import Cut, cut_around
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ImageError
from chatspot_ros.images.annotate import Note, annotate

LONGEST_SIDE_PX = 1024
MOST_BYTES = 400_000
# A small cut is enlarged to this side, to be seen with its outlines and numbers; never by more.
_ENLARGED_SIDE_PX, _LARGEST_SCALE = 512, 4.0
_CONTEXT = 0.5
_QUALITIES = (85, 70, 50)
_SMALLER = 0.7


@dataclass(frozen=True)
class ShownPicture:
    """A JPEG of the part `cut_xyxy_px` of a picture; `scale` of its pixels are one of theirs."""

    jpeg: bytes
    cut_xyxy_px: Cut
    scale: float


def whole_of(image_rgb: RgbImage) -> Cut:
    """Return the whole picture as a part."""
    height, width = image_rgb.shape[:2]
    return 0, 0, width, height


def part_around(image_rgb: RgbImage, regions: Sequence[Region]) -> Cut:
    """Return the part that holds all the regions with some context; the whole if one is that."""
    if not regions or not all(region.points_px for region in regions):
        return whole_of(image_rgb)
    height, width = image_rgb.shape[:2]
    around = Region(tuple(point for region in regions for point in region.points_px))
    return cut_around(around, (width, height), _CONTEXT)


def show_part(
    image_rgb: RgbImage, regions: Sequence[Region], grounded: Sequence[Region], part: Cut
) -> ShownPicture:
    """Return a part of a picture (H x W x 3, RGB, uint8) with numbered regions drawn on it.

    The regions get the numbers 1, 2, ...; `grounded` ones are thin, with their labels. At most
    LONGEST_SIDE_PX a side and MOST_BYTES long.

    Raises:
        ImageError: it cannot be encoded.
    """
    x1, y1, x2, y2 = part
    cut = image_rgb[y1:y2, x1:x2]
    longest = max(x2 - x1, y2 - y1)
    scale = min(LONGEST_SIDE_PX / longest, max(1.0, _ENLARGED_SIDE_PX / longest), _LARGEST_SCALE)
    while True:
        size_wh = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(cut, size_wh, interpolation=way), np.uint8)

        def placed(region: Region, scale: float = scale) -> Region:
            points = tuple(((x - x1) * scale, (y - y1) * scale) for x, y in region.points_px)
            return replace(region, points_px=points)

        notes = [Note((placed(one),), str(number)) for number, one in enumerate(regions, 1)]
        notes += [Note((), "", (placed(one),)) for one in grounded if one.points_px]
        drawn = cv2.cvtColor(annotate(picture, notes), cv2.COLOR_RGB2BGR)
        for quality in _QUALITIES:
            done, jpeg = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not done:
                raise ImageError(
                    "the picture cannot be encoded", value=f"{x2 - x1} x {y2 - y1}",
                    remedy="use another camera",
                )  # fmt: skip
            if jpeg.size <= MOST_BYTES:
                return ShownPicture(jpeg.tobytes(), part, scale)
        scale *= _SMALLER
