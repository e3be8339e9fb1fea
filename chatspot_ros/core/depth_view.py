"""Where the thing in a region is in space, by a depth picture of the same moment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.camera_model import CameraModel, Floats
from chatspot_ros.core.depth_cluster import Depths, Mask, has_depth, near_cluster
from chatspot_ros.core.place import Place, Vector
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import PositionError

# Of a region with a smaller share of depths no position is given; below the second it is doubtful.
MIN_SHARE, DOUBTFUL_SHARE = 0.1, 0.3
# The window around a point, as a share of the picture's shorter side, and at least so many pixels.
_WINDOW_SHARE, _WINDOW_PX = 0.01, 2
# Depths around a point are of its surface if they differ by less than this share.
_SAME_SURFACE = 0.03
# Pixels that are as near to a point as the nearest one, within rounding.
_SAME_RING = 0.5
# Of a larger region every second, third, ... pixel along x and y is looked at.
_MOST_PIXELS = 40_000
# Rays are computed of at most so many pixels of a thing.
_MOST_RAYS = 4000
# The visible part's size: between these percentiles, which errors of single pixels do not move.
_EXTENT_PERCENT = (1, 99)
_SHAPE = 0.02
# A polygon's corners are drawn to a sixteenth of a pixel.
_FRACTION_BITS = 4


@dataclass(frozen=True)
class DepthView:
    """A depth picture (float32 H x W, in m along z; NaN: none) and the image that it belongs to.

    `image_wh` is the image's (width, height) in pixels; the depth picture shows the same in its
    own size. `camera` is the model for the depth picture's pixels.
    """

    depths_m: Depths
    image_wh: tuple[int, int]
    camera: CameraModel

    def __post_init__(self) -> None:
        """Raise PositionError if the depth picture cannot be of this image."""
        height, width = self.depths_m.shape
        by_x, by_y = width / self.image_wh[0], height / self.image_wh[1]
        if abs(by_x / by_y - 1) > _SHAPE:
            raise PositionError(
                "the depth picture and the image have different shapes",
                value=f"{width} x {height} and {self.image_wh[0]} x {self.image_wh[1]}",
                remedy="align the depth to the image (its driver, or depth_image_proc)",
            )

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels of the depth picture for one of the image, along x and y."""
        height, width = self.depths_m.shape
        return width / self.image_wh[0], height / self.image_wh[1]


def locate(region: Region, view: DepthView) -> Place:
    """Return the place of the thing in a region (pixels of the image, clipped to it).

    Of a box or a polygon: the middle (the median along each axis) of the pixels of its near
    cluster. Of a point: the surface at that point, by the depths around it. Where it is not known,
    the note says why.
    """
    if region.kind is RegionKind.IMAGE:
        return Place(note="the whole image has no position: ask about a region of it")
    points = np.array(region.points_px, np.float64) * view.scale_xy
    is_point = region.kind is RegionKind.POINT
    part = _window(points[0], view) if is_point else _masked(points, region.kind, view)
    share = float((part.mask & has_depth(part.depths_m)).sum() / part.mask.sum())
    try:
        note = _check_share(share)
        found = _surface(points[0], part, view) if is_point else _thing(part, view)
    except PositionError as error:
        return Place(depth_share=share, note=str(error))
    # One pixel has no extent.
    low, high = np.percentile(found, _EXTENT_PERCENT, axis=0)
    return Place(_vector(np.median(found, 0)), _vector(high - low), share, note)


@dataclass(frozen=True)
class _Part:
    """The pixels of a region: those of `mask` in `depths_m`, a cut of the depth picture.

    The cut begins at (left, top) and has every `step`th pixel.
    """

    left: int
    top: int
    depths_m: Depths
    mask: Mask
    step: int = 1

    def pixels(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
        """Return the middles of pixels (N x 2, x and y) of the depth picture."""
        middles = np.column_stack([columns, rows]) * self.step + (self.left + 0.5, self.top + 0.5)
        return np.asarray(middles, np.float64)


def _thing(part: _Part, view: DepthView) -> Floats:
    """Return points (N x 3, in m) on the thing in a region."""
    rows, columns = np.nonzero(near_cluster(part.depths_m, part.mask))
    step = -(-len(rows) // _MOST_RAYS)
    rows, columns = rows[::step], columns[::step]
    pixels = part.pixels(rows, columns)
    depths = part.depths_m[rows, columns].astype(np.float64)
    return _with_rays(view.camera.points(pixels, depths), pixels)


def _surface(point: Floats, part: _Part, view: DepthView) -> Floats:
    """Return the point (1 x 3, in m) of the surface at a point of the depth picture."""
    rows, columns = np.nonzero(has_depth(part.depths_m))
    depths = part.depths_m[rows, columns].astype(np.float64)
    away = np.linalg.norm(part.pixels(rows, columns) - point, axis=1)
    # Where the pixel itself has no depth, of the nearest ones that in front.
    surface = depths[away <= away.min() + _SAME_RING].min()
    same = depths[np.abs(depths - surface) <= _SAME_SURFACE * surface]
    pixels = point[None]
    return _with_rays(view.camera.points(pixels, np.array([np.median(same)])), pixels)


def _with_rays(found: Floats, pixels: Floats) -> Floats:
    """Return the points whose pixels have a ray. Raises PositionError if none has."""
    usable = found[np.isfinite(found).all(1)]
    if not len(usable):
        x, y = pixels.mean(0)
        raise PositionError(
            "the camera's calibration has no ray for the region's pixels",
            value=f"({x:.0f}, {y:.0f}) of the depth picture",
            remedy="calibrate the camera up to the edges of its picture",
        )
    return usable


def _check_share(share: float) -> str:
    """Return a note on a small share of depths. Raises PositionError if it is too small."""
    if share < MIN_SHARE:
        raise PositionError(
            f"only {share:.0%} of the region's pixels have a depth, and {MIN_SHARE:.0%} are needed",
            value=None,
            remedy="look from another side: glass, shine and what is too near have none",
        )
    return f"only {share:.0%} of the region's pixels have a depth" if share < DOUBTFUL_SHARE else ""


def _window(point: Floats, view: DepthView) -> _Part:
    """Return the pixels around a point of the depth picture."""
    height, width = view.depths_m.shape
    reach = max(_WINDOW_PX, round(_WINDOW_SHARE * min(width, height)))
    column = min(max(math.floor(point[0]), 0), width - 1)
    row = min(max(math.floor(point[1]), 0), height - 1)
    top, left = max(row - reach, 0), max(column - reach, 0)
    depths = view.depths_m[top : row + reach + 1, left : column + reach + 1]
    return _Part(left, top, depths, np.ones(depths.shape, np.bool_))


def _masked(points: Floats, kind: RegionKind, view: DepthView) -> _Part:
    """Return the pixels of a box or a polygon in the depth picture."""
    height, width = view.depths_m.shape
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    left, right = _whole(x1, x2, width)
    top, bottom = _whole(y1, y2, height)
    mask = np.ones((bottom - top, right - left), np.uint8)
    if kind is RegionKind.POLYGON:
        # Corners count from pixel centres here.
        corners = np.round((points - (left + 0.5, top + 0.5)) * 2**_FRACTION_BITS)
        mask[:] = 0
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1, shift=_FRACTION_BITS)
    step = math.ceil(math.sqrt(mask.size / _MOST_PIXELS))
    chosen = mask[::step, ::step].astype(np.bool_)
    if not chosen.any():
        chosen[:] = True
    return _Part(left, top, view.depths_m[top:bottom:step, left:right:step], chosen, step)


def _whole(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the pixels whose centres lie between two edges; at least one."""
    first = min(max(math.ceil(low - 0.5), 0), size - 1)
    last = min(max(math.ceil(high - 0.5), first + 1), size)
    return first, last


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
