"""Pictures on their way into training: stretched, cut, recoloured, normalised."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from chatspot_sim.truth import Truth
from chatspot_train.data.image_augment import Window
from chatspot_train.tiny.patch_labels import PRINTED

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)

_SCALE = 1 / (255.0 * torch.tensor(STD)[:, None, None])
_SHIFT = torch.tensor(MEAN)[:, None, None] / torch.tensor(STD)[:, None, None]


def resized(rgb: Any, size: int) -> Any:
    """The picture stretched to `size` x `size`."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return cv2.resize(np.ascontiguousarray(rgb), (size, size), interpolation=cv2.INTER_AREA)


def to_pixels(rgb: Any) -> Tensor:
    """uint8 H x W x 3 RGB to normalised float 3 x H x W, as the model's processor does."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float()
    return planes.mul_(_SCALE).sub_(_SHIFT).contiguous()


def normalised(rgb: Tensor) -> Tensor:
    """uint8 B x H x W x 3 RGB to what `to_pixels` makes of each; a view in the same order."""
    return rgb.permute(0, 3, 1, 2).float().mul_(_SCALE).sub_(_SHIFT)


def printed(truth: Truth) -> list[Window]:
    """Where something is printed or displayed, as fractions of the picture."""
    size = (truth.width, truth.height)
    return [
        (part.box_xyxy_px[0] / size[0], part.box_xyxy_px[1] / size[1],
         part.box_xyxy_px[2] / size[0], part.box_xyxy_px[3] / size[1])
        for thing in truth.things for part in thing.parts
        if part.name in PRINTED
    ]  # fmt: skip


def window_around(box: Window, rng: np.random.Generator) -> Window:
    """A near view that holds `box` whole: print is learned large before it is read small."""
    w, h = (max(float(rng.uniform(0.25, 0.6)), 1.2 * (box[k + 2] - box[k])) for k in (0, 1))
    w, h = min(w, 1.0), min(h, 1.0)
    x, y = (
        float(rng.uniform(max(0.0, high - size), min(low, 1 - size)))
        if max(0.0, high - size) < min(low, 1 - size) else max(0.0, min(low, 1 - size))
        for low, high, size in ((box[0], box[2], w), (box[1], box[3], h))
    )  # fmt: skip
    return x, y, x + w, y + h
