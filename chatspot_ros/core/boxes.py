"""Boxes as four numbers: corners or corner and size, and how much two of them overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import BoxXyxy

BoxXywh = tuple[float, float, float, float]


def xyxy_to_xywh(box: BoxXyxy) -> BoxXywh:
    """Return (left, top, right, bottom) as (left, top, width, height)."""
    x1, y1, x2, y2 = box
    return x1, y1, x2 - x1, y2 - y1


def xywh_to_xyxy(box: Sequence[float]) -> BoxXyxy:
    """Return (left, top, width, height) as (left, top, right, bottom)."""
    x, y, width, height = box
    return x, y, x + width, y + height


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Return the intersection over union of two boxes, 0 to 1; 0 for boxes without area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if not (width > 0 and height > 0):
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def ious(a: Sequence[BoxXyxy], b: Sequence[BoxXyxy]) -> NDArray[np.float64]:
    """Return the intersection over union of each of N boxes with each of M, as N x M."""
    first = np.asarray(a, np.float64).reshape(-1, 1, 4)
    second = np.asarray(b, np.float64).reshape(1, -1, 4)
    shared_wh = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = np.where((shared_wh > 0).all(-1), shared_wh.prod(-1), 0.0)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (first, second)]
    union = areas[0] + areas[1] - shared
    overlaps: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=overlaps, where=shared > 0)
    return overlaps
