"""How much the pixels of a box have changed between two pictures of one camera.

The box is compared at the same pixels in both pictures, by the mean colours of a grid of cells, so
that a detector's box may jitter and noise averages out. Light is no change: the exposure is taken
from the whole picture, and a cell that is darker or brighter evenly in all colours, as in a shadow,
counts only at sharp edges. Measured in docs/watch.md (`python -m benchmarks.watch`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import BoxXyxy

Cells = NDArray[np.float32]

# A difference of this or more is a change: noise of 7 grey levels, another exposure and a soft
# shadow stay below it in all but a few of a hundred boxes; a door open by a twentieth is above it.
CHANGED = 1.0
# What counts 1: a cell's colour, its brightness beside its neighbours', its brightness alone; each
# the natural logarithm of a ratio. A shadow takes half of the light.
_COLOUR, _EDGE, _LIGHT = 0.15, 0.2, 0.9
# A grid has at most so many cells a side, each of at least so many pixels.
_CELLS, _CELL_PX = 16, 6
# From so many cells on the second largest difference counts: one may be noise.
_MANY = 16
# The whole picture in small. Its change of exposure is evened out up to this factor.
_WHOLE_WH, _MOST_EXPOSURE = (24, 18), 2.0
# Added to a colour (0 to 255), so that noise in the dark is small beside it.
_FLOOR = 16.0


@dataclass(frozen=True)
class Patch:
    """A box of one picture in small: mean colours of its cells and of the whole picture's.

    `cells` and `whole` are float32 rows x columns x 3, RGB, 0 to 255; `box_xyxy_px` in pixels of
    the picture, whose size is `picture_wh`.
    """

    box_xyxy_px: BoxXyxy
    picture_wh: tuple[int, int]
    cells: Cells
    whole: Cells


class PictureView:
    """One picture (uint8 H x W x 3, RGB), ready to be compared with patches of earlier ones."""

    def __init__(self, image_rgb: RgbImage) -> None:
        self._rgb = image_rgb
        self._wh = (image_rgb.shape[1], image_rgb.shape[0])
        self._whole = _shrink(image_rgb, *_WHOLE_WH)

    def patch(self, box_xyxy_px: BoxXyxy, margin: float = 0.0) -> Patch:
        """Return the patch of a box in pixels, wider by `margin` of its size on each side."""
        x1, y1, x2, y2 = box_xyxy_px
        dx, dy = margin * (x2 - x1), margin * (y2 - y1)
        box = (x1 - dx, y1 - dy, x2 + dx, y2 + dy)
        left, right = _span(box[0], box[2], self._wh[0])
        top, bottom = _span(box[1], box[3], self._wh[1])
        columns = min(max((right - left) // _CELL_PX, 1), _CELLS)
        rows = min(max((bottom - top) // _CELL_PX, 1), _CELLS)
        cells = _shrink(self._rgb[top:bottom, left:right], columns, rows)
        return Patch(box, self._wh, cells, self._whole)

    def difference(self, before: Patch) -> float:
        """Return how much an earlier patch has changed, 0 or more; from `CHANGED` on it counts.

        Infinite for a patch of a picture of another size.
        """
        if before.picture_wh != self._wh:
            return math.inf
        now = self.patch(before.box_xyxy_px)
        # Dark and bright pixels say nothing of the exposure; the median is of the picture's most.
        gains = (now.whole.sum(-1) + _FLOOR) / (before.whole.sum(-1) + _FLOOR)
        exposure = float(np.clip(np.median(gains), 1 / _MOST_EXPOSURE, _MOST_EXPOSURE))
        expected = np.minimum(before.cells * exposure, 255.0)
        lights = (now.cells.sum(-1) + _FLOOR) / (expected.sum(-1) + _FLOOR)
        shaded = np.minimum(expected * lights[..., None], 255.0)
        colours = np.abs(np.log((now.cells + _FLOOR) / (shaded + _FLOOR))).max(-1)
        logs = np.log(lights)
        edges = np.abs(logs - cv2.blur(logs, (3, 3), borderType=cv2.BORDER_REFLECT))
        scores = np.stack([colours / _COLOUR, edges / _EDGE, np.abs(logs) / _LIGHT]).max(0).ravel()
        return float(np.sort(scores)[-2 if scores.size >= _MANY else -1])


def _shrink(rgb: RgbImage, columns: int, rows: int) -> Cells:
    """Return the mean colours of a grid."""
    small = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
    return small.reshape(rows, columns, 3).astype(np.float32)


def _span(first: float, last: float, whole: int) -> tuple[int, int]:
    """Return the pixels that a stretch covers, at least one, inside of 0 to `whole`."""
    if not (math.isfinite(first) and math.isfinite(last)):
        return 0, whole
    low = min(max(math.floor(first), 0), whole - 1)
    return low, min(max(math.ceil(last), low + 1), whole)
