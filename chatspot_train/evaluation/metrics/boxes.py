"""Overlap and displacement of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from chatspot_ros.core.regions import BoxXyxy


def noisy_box(
    box: BoxXyxy, scale: float, width: int, height: int, rng: np.random.Generator
) -> BoxXyxy:
    """Move each edge uniformly by up to half of `scale` times the side; clip to the image."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    moves = rng.uniform(-0.5, 0.5, 4) * scale * np.array([w, h, w, h])
    a, b, c, d = np.clip(np.array(box) + moves, 0, [width, height, width, height])
    return float(a), float(b), float(c), float(d)


def ious(a: Sequence[BoxXyxy], b: Sequence[BoxXyxy]) -> NDArray[np.float64]:
    """Return the IoU of N boxes with M boxes (x1, y1, x2, y2), as N x M."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    return np.asarray(mask.iou(_xywh(a), _xywh(b), [0] * len(b)), np.float64)


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Return the IoU of two boxes (x1, y1, x2, y2)."""
    return float(ious([a], [b])[0, 0])


def _xywh(boxes: Sequence[BoxXyxy]) -> NDArray[np.float64]:
    corners = np.array(boxes, np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
