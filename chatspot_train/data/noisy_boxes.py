"""Boxes moved at random."""

from __future__ import annotations

import numpy as np

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
