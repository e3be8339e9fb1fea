"""Random crops and colour changes of training images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Window = tuple[float, float, float, float]  # x1, y1, x2, y2 as fractions of the image


def draw_window(rng: np.random.Generator, least: float = 0.6) -> Window:
    """Draw a window of `least` to 1 of each side of the image."""
    w, h = rng.uniform(least, 1.0, 2)
    x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
    return float(x), float(y), float(x + w), float(y + h)


def crop(rgb: Any, labels: Any, window: Window) -> tuple[Any, Any, Window]:
    """Cut a square image and its labels to `window`, rounded to whole pixels.

    Returns them and the rounded window.
    """
    side = rgb.shape[0]
    x1, y1 = (max(0, round(v * side)) for v in window[:2])
    x2, y2 = (min(side, round(v * side)) for v in window[2:])
    part = (x1 / side, y1 / side, x2 / side, y2 / side)
    return rgb[y1:y2, x1:x2], labels[y1:y2, x1:x2], part


def recolour(rgb: Any, rng: np.random.Generator) -> Any:
    """Randomly change brightness, gamma, contrast and white balance of uint8 RGB; add noise."""
    gain = rng.normal(1.0, 0.12) * rng.normal(1.0, 0.03, 3)
    curve = 255 * (np.arange(256) / 255) ** np.exp(rng.normal(0, 0.15))
    levels = curve[:, None] * gain + rng.normal(0, 8)
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    picture = cv2.LUT(np.ascontiguousarray(rgb), table)
    if rng.random() < 0.3:
        grain = np.empty(picture.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        spread = float(rng.uniform(1, 6))
        cv2.randn(grain, np.zeros(3), np.full(3, spread))
        picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return picture
