"""Image operations of the training stages: resizing, normalising, windows around text."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from chatspot_sim.truth import Truth
from chatspot_train.data.image_augment import Window
from chatspot_train.tiny.patch_labels import TEXT_PARTS

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)

_SCALE = 1 / (255.0 * torch.tensor(STD)[:, None, None])
_SHIFT = torch.tensor(MEAN)[:, None, None] / torch.tensor(STD)[:, None, None]


def resize(rgb: Any, size: int) -> Any:
    """Return the image stretched to `size` x `size` pixels."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return cv2.resize(np.ascontiguousarray(rgb), (size, size), interpolation=cv2.INTER_AREA)


def to_pixels(rgb: Any) -> Tensor:
    """Return uint8 H x W x 3 RGB as normalised float 3 x H x W, as the model's processor does."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float()
    return planes.mul_(_SCALE).sub_(_SHIFT).contiguous()


def normalise(rgb: Tensor) -> Tensor:
    """Return uint8 B x H x W x 3 RGB as `to_pixels` of each image, B x 3 x H x W."""
    return rgb.permute(0, 3, 1, 2).float().mul_(_SCALE).sub_(_SHIFT)


def text_windows(truth: Truth) -> list[Window]:
    """Return the boxes of printed or displayed text, as fractions of the image."""
    size = (truth.width, truth.height)
    return [
        (part.box_xyxy_px[0] / size[0], part.box_xyxy_px[1] / size[1],
         part.box_xyxy_px[2] / size[0], part.box_xyxy_px[3] / size[1])
        for thing in truth.things for part in thing.parts
        if part.name in TEXT_PARTS
    ]  # fmt: skip


def window_around(box: Window, rng: np.random.Generator) -> Window:
    """Draw a close crop that holds all of `box`: large text is learned before small text."""
    w, h = (max(float(rng.uniform(0.25, 0.6)), 1.2 * (box[k + 2] - box[k])) for k in (0, 1))
    w, h = min(w, 1.0), min(h, 1.0)
    x, y = (
        float(rng.uniform(max(0.0, high - size), min(low, 1 - size)))
        if max(0.0, high - size) < min(low, 1 - size) else max(0.0, min(low, 1 - size))
        for low, high, size in ((box[0], box[2], w), (box[1], box[3], h))
    )  # fmt: skip
    return x, y, x + w, y + h
