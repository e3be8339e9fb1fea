"""The layout of a camera image on the model's picture, and coordinates in both directions.

There are three layouts; a region's numbers have a meaning only in the one of the model's training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import Point
from chatspot_ros.errors import ImageError

RgbImage = NDArray[np.uint8]
_LONGEST_SIDES = 200


class PictureGeometry(StrEnum):
    """The layout of the image on the model's picture.

    STRETCH: the whole picture, each axis scaled by itself. PAD_CENTRE and PAD_TOP_LEFT: scaled
    evenly; the rest is filled on both sides, or on the right and at the bottom.
    """

    STRETCH = "stretch"
    PAD_CENTRE = "pad_centre"
    PAD_TOP_LEFT = "pad_top_left"


@dataclass(frozen=True)
class Fit:
    """One image size laid onto one model picture.

    Sizes are (width, height) in whole pixels. The image covers `content_wh` pixels of the model's
    picture, from `offset_xy` on. Unit coordinates are fractions of the whole model's picture,
    filling included: (0, 0) its top-left corner, (1, 1) its bottom-right one.
    """

    image_wh: tuple[int, int]
    model_wh: tuple[int, int]
    content_wh: tuple[int, int]
    offset_xy: tuple[int, int]

    def to_unit(self, points_px: Iterable[Point]) -> tuple[Point, ...]:
        """Return image pixels as fractions of the model's picture; inside it they are in [0, 1]."""
        (w, h), (mw, mh), (cw, ch) = self.image_wh, self.model_wh, self.content_wh
        ox, oy = self.offset_xy
        return tuple(((x * cw / w + ox) / mw, (y * ch / h + oy) / mh) for x, y in points_px)

    def to_px(self, points_unit: Iterable[Point]) -> tuple[Point, ...]:
        """Return fractions of the model's picture as image pixels, the inverse of `to_unit`.

        Points on the filling come out outside the image.
        """
        (w, h), (mw, mh), (cw, ch) = self.image_wh, self.model_wh, self.content_wh
        ox, oy = self.offset_xy
        return tuple(((x * mw - ox) * w / cw, (y * mh - oy) * h / ch) for x, y in points_unit)

    def apply(self, image_rgb: RgbImage, fill_rgb: tuple[int, int, int]) -> RgbImage:
        """Return the model's picture: uint8, model height x model width x 3, RGB, 0 to 255.

        `image_rgb` is uint8 H x W x 3, RGB, of the size of this fit; `fill_rgb` colours the rest.

        Raises:
            ImageError: another type, shape or size.
        """
        check_image(image_rgb)
        if image_rgb.shape[1::-1] != self.image_wh:
            raise ImageError(
                f"the image is not {self.image_wh[0]} x {self.image_wh[1]} pixels",
                value=f"{image_rgb.shape[1]} x {image_rgb.shape[0]}",
                remedy="make a fit for this image's size",
            )
        content = _resize(image_rgb, self.content_wh)
        if self.content_wh == self.model_wh:
            return content
        (mw, mh), (cw, ch), (ox, oy) = self.model_wh, self.content_wh, self.offset_xy
        picture = np.empty((mh, mw, 3), np.uint8)
        picture[:] = fill_rgb
        picture[oy : oy + ch, ox : ox + cw] = content
        return picture


def fit(mode: PictureGeometry, image_wh: tuple[int, int], model_wh: tuple[int, int]) -> Fit:
    """Lay an image of `image_wh` onto a model's picture of `model_wh` (both width, height).

    Raises:
        ImageError: a size below one pixel.
    """
    for name, (w, h) in (("image", image_wh), ("model's picture", model_wh)):
        if w < 1 or h < 1:
            raise ImageError(
                f"the {name} has no pixels", value=f"{w} x {h}", remedy="give at least 1 x 1"
            )
    if mode is PictureGeometry.STRETCH:
        return Fit(image_wh, model_wh, content_wh=model_wh, offset_xy=(0, 0))
    scale = min(model_wh[0] / image_wh[0], model_wh[1] / image_wh[1])
    # Whole pixels, so that coordinates and the resized pixels agree exactly.
    cw = min(model_wh[0], max(1, round(image_wh[0] * scale)))
    ch = min(model_wh[1], max(1, round(image_wh[1] * scale)))
    offset = (0, 0)
    if mode is PictureGeometry.PAD_CENTRE:
        offset = ((model_wh[0] - cw) // 2, (model_wh[1] - ch) // 2)
    return Fit(image_wh, model_wh, content_wh=(cw, ch), offset_xy=offset)


def tiled_wh(
    image_wh: tuple[int, int], tile_wh: tuple[int, int], max_tiles: int
) -> tuple[int, int]:
    """Return the (width, height) of a picture of 1 to `max_tiles` tiles for an image.

    The grid of tiles has the aspect ratio nearest to the image's; of equally near grids the larger
    one is taken if the image has more than half its pixels. Source: InternVL's dynamic resolution,
    arXiv 2404.16821.
    """
    ratio, area = image_wh[0] / max(1, image_wh[1]), image_wh[0] * image_wh[1]
    grids = [(columns, rows) for columns in range(1, max_tiles + 1)
             for rows in range(1, max_tiles // columns + 1)]  # fmt: skip
    best, nearest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(ratio - columns / rows)
        enough = area > 0.5 * tile_wh[0] * tile_wh[1] * columns * rows
        if distance < nearest or (distance == nearest and enough):
            best, nearest = (columns, rows), distance
    return best[0] * tile_wh[0], best[1] * tile_wh[1]


def own_wh(
    image_wh: tuple[int, int], multiple_of: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Return the (width, height) of a picture near the image's own size.

    Each side is the image's, rounded to `multiple_of`. Where the area is then above `max_pixels` or
    below `min_pixels`, both sides are scaled evenly and rounded down, or up. An image of more than
    200 times its other side, which the models refuse, is squeezed. Source: `smart_resize` of
    Qwen2-VL's image processor in transformers.
    """
    m, longest = multiple_of, max(image_wh)
    w, h = (max(side, longest / _LONGEST_SIDES) for side in image_wh)
    rounded = [round(side / m) * m for side in (w, h)]
    if rounded[0] * rounded[1] > max_pixels:
        scale = math.sqrt(w * h / max_pixels)
        rounded = [max(m, math.floor(side / scale / m) * m) for side in (w, h)]
    elif rounded[0] * rounded[1] < min_pixels:
        scale = math.sqrt(min_pixels / (w * h))
        rounded = [math.ceil(side * scale / m) * m for side in (w, h)]
    # Rounding must not take a side beyond that again.
    most = _LONGEST_SIDES * min(rounded)
    return min(rounded[0], most), min(rounded[1], most)


def check_image(image_rgb: object) -> None:
    """Raise ImageError unless the image is a numpy array of uint8, H x W x 3, with pixels."""
    if not isinstance(image_rgb, np.ndarray) or image_rgb.dtype != np.uint8:
        what = getattr(image_rgb, "dtype", type(image_rgb).__name__)
        raise ImageError("the image is not uint8", value=what, remedy="give uint8 H x W x 3 RGB")
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or not image_rgb.size:
        raise ImageError(
            "the image has a wrong shape",
            value=image_rgb.shape,
            remedy="give uint8 H x W x 3 RGB of at least one pixel",
        )


def _resize(image_rgb: RgbImage, wh: tuple[int, int]) -> RgbImage:
    """Resize: shrink axes by the mean over the area, then enlarge the others linearly."""
    height, width = image_rgb.shape[:2]
    shrunk_wh = (min(wh[0], width), min(wh[1], height))
    picture = image_rgb
    if shrunk_wh != (width, height):
        picture = cv2.resize(picture, shrunk_wh, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if shrunk_wh != wh:
        picture = cv2.resize(picture, wh, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return np.ascontiguousarray(picture)
