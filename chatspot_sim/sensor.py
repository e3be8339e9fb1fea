"""Effects of a camera's sensor: colour cast, gamma, blur, noise; holes and noise of depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.appearance import Look

# Depth cameras see no farther.
FARTHEST_M = 20.0
# The size of a patch without depth, and the relative step that is an edge.
_PATCH_PX, _STEP = 4.0, 0.05


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


def sense_depth(
    true_m: NDArray[np.float32], noise: float, holes: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return what a depth camera makes of true depths (H x W, in m); NaN: no depth.

    `noise` is the standard deviation as a share of the depth. `holes` is the share of pixels
    without a depth: single ones, patches, and all edges between near and far.
    """
    depths = true_m.copy()
    if noise > 0:
        depths *= 1 + rng.normal(0, noise, depths.shape).astype(np.float32)
    if holes > 0:
        blurred = cv2.GaussianBlur(rng.normal(0, 1, depths.shape), (0, 0), _PATCH_PX)
        patchy = blurred < np.quantile(blurred, holes / 2)
        single = rng.random(depths.shape) < holes / 2
        steps = cv2.morphologyEx(true_m, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        depths[patchy | single | (steps > _STEP * true_m)] = np.nan
    depths[true_m > FARTHEST_M] = np.nan
    return depths
