"""The depth of the thing in a region: the pixels of its largest near cluster, never the mean.

A box around a mug also has the counter, the wall behind and pixels without a depth. Of the depths
in it the nearest of the large clusters is the mug: a thing stands in front of what is behind it,
and what is in front of it covers little of its box. A pixel counts the more, the farther it lies
inside the region.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Depths = NDArray[np.float32]
Mask = NDArray[np.bool_]
# Depths are compared by their ratio, as the errors of depth cameras grow with the distance.
_BIN = 0.01
_BLUR_BINS = 1.5
# A cluster ends where the density falls to this share of its peak, or two clusters meet.
_EDGE, _VALLEY = 0.1, 0.6
# The nearest cluster is the thing's if it has this share of the largest one's weight.
_LARGE = 0.5


def near_cluster(depths_m: Depths, mask: Mask) -> Mask:
    """Return the pixels of the thing in a mask (H x W); none where no pixel has a depth.

    `depths_m` is float32 H x W, in m; NaN, infinite or not above 0: no depth.
    """
    usable = mask & has_depth(depths_m)
    if not usable.any():
        return usable
    weights = _inwardness(mask)
    low, high = _range_of_thing(np.log(depths_m[usable]), weights[usable])
    with np.errstate(invalid="ignore"):
        chosen = usable & (depths_m >= np.exp(low)) & (depths_m <= np.exp(high))
    return _largest_piece(chosen, weights)


def has_depth(depths_m: Depths) -> Mask:
    """Return the pixels (H x W) that have a usable depth."""
    return np.isfinite(depths_m) & (depths_m > 0)


def _inwardness(mask: Mask) -> NDArray[np.float32]:
    """Return each pixel's distance from the outside of the mask; 1 for the farthest inside."""
    framed = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.asarray(distance / max(float(distance.max()), 1e-6), np.float32)


def _range_of_thing(logs: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[float, float]:
    """Return the least and the greatest logarithm of a depth of the thing."""
    first = float(logs.min()) - 4 * _BIN
    count = int((float(logs.max()) - first) / _BIN) + 6
    numbers = ((logs - first) / _BIN).astype(np.int64)
    density = np.bincount(numbers, weights=weights, minlength=count)
    row = cv2.GaussianBlur(density.reshape(1, -1), (0, 0), _BLUR_BINS)
    blurred = np.asarray(row, np.float64).ravel()
    clusters = _clusters(blurred)
    masses = [float(blurred[start:end].sum()) for start, end in clusters]
    start, end = next(
        cluster
        for cluster, mass in zip(clusters, masses, strict=True)
        if mass >= _LARGE * max(masses)
    )
    return first + start * _BIN, first + end * _BIN


def _clusters(density: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the clusters of a density, from near to far, as (first bin, bin after the last)."""
    padded = np.concatenate([[0.0], density, [0.0]])
    peaks = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
    kept: list[int] = []
    for peak in map(int, peaks):
        # A peak without a valley before it belongs to the one before.
        while kept:
            between = density[kept[-1] : peak + 1].min()
            if between < _VALLEY * min(density[kept[-1]], density[peak]):
                break
            if density[kept[-1]] >= density[peak]:
                peak = kept[-1]
            kept.pop()
        kept.append(peak)
    found = []
    for index, peak in enumerate(kept):
        limit = _EDGE * density[peak]
        start = end = peak
        first = 0 if index == 0 else _lowest(density, kept[index - 1], peak)
        last = len(density) if index == len(kept) - 1 else _lowest(density, peak, kept[index + 1])
        while start > first and density[start - 1] >= limit:
            start -= 1
        while end < last and density[end] >= limit:
            end += 1
        found.append((start, end))
    return found


def _lowest(density: NDArray[np.float64], start: int, end: int) -> int:
    return start + int(np.argmin(density[start : end + 1]))


def _largest_piece(chosen: Mask, weights: NDArray[np.float32]) -> Mask:
    """Return the piece of the chosen pixels with the greatest weight; small holes do not part."""
    closed = cv2.morphologyEx(
        np.pad(chosen.astype(np.uint8), 2), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )[2:-2, 2:-2]
    count, labels = cv2.connectedComponents(closed, connectivity=8)
    if count <= 2:
        return chosen
    of_piece = np.bincount(labels[chosen], weights=weights[chosen], minlength=count)
    return np.asarray(chosen & (labels == int(np.argmax(of_piece))), np.bool_)
