"""Effects of a camera's sensor: colour cast, gamma, blur, noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.appearance import Look


def sense(clean_rgb: NDArray[np.uint8], look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply the sensor of `look` to a picture (uint8 H x W x 3, RGB)."""
    table = (np.arange(256) / 255.0) ** look.gamma
    channels = [np.clip(table * 255 * gain, 0, 255).astype(np.uint8) for gain in look.cast]
    picture = np.stack([channels[c][clean_rgb[..., c]] for c in range(3)], axis=-1)
    if look.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur).astype(np.uint8)
    if look.noise > 0:
        grain = rng.normal(0, look.noise, picture.shape[:2]).astype(np.float32)
        picture = np.clip(picture + grain[..., None], 0, 255).astype(np.uint8)
    return picture
