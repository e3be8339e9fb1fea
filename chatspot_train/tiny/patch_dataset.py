"""Rendered kitchens and pages of text with the labels of every patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.truth import Truth
from chatspot_train.data.image_augment import Window, crop, draw_window, recolour
from chatspot_train.tiny.config import VisionShape
from chatspot_train.tiny.images import resize, text_windows, to_pixels, window_around
from chatspot_train.tiny.patch_labels import PatchLabels, label_patches, unknown_labels
from chatspot_train.tiny.synthetic_text_pages import draw_page

# A page has more text than a hundred kitchens; each of its patches counts this much.
PAGE_WEIGHT = 0.15
PAGES_HARDEST = 0.85  # share of the stage after which pages are at their hardest


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Rendered kitchens with their patch labels; with `augment` cropped and recoloured at random.

    Item k is drawn from the random stream (seed, k), so a resumed run sees the same data; without
    `augment` it is image k modulo their number. `pages` is the share of pages of text among the
    items; they become harder until PAGES_HARDEST of the items.
    """

    def __init__(
        self, folder: Path, shape: VisionShape, items: int, seed: int, augment: bool,
        pages: float = 0.0,
    ) -> None:  # fmt: skip
        self.kitchens = RenderedKitchens(folder)
        self.size, self.side = shape.image_size, shape.image_size // shape.patch_size
        self.items, self.seed, self.augment, self.pages = items, seed, augment, pages

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        if rng.random() < self.pages:
            return self._page(rng, min(1.0, index / (PAGES_HARDEST * self.items)))
        rgb, labels, truth, window = self._picture(rng, index)
        if self.augment:
            rgb = recolour(rgb, rng)
        return self._item(rgb, label_patches(truth, labels, self.side, window))

    def _picture(
        self, rng: np.random.Generator, index: int
    ) -> tuple[Any, NDArray[np.uint8], Truth, Window]:
        """Return an image of the wanted size in its own colours, its labels and truth, and the part
        of the rendered image that it shows."""
        k = int(rng.integers(len(self.kitchens))) if self.augment else index % len(self.kitchens)
        rgb, labels, truth = self.kitchens.rgb(k), self.kitchens.labels(k), self.kitchens.truth(k)
        window = (0.0, 0.0, 1.0, 1.0)
        if self.augment:
            chance = rng.random()
            if chance < 0.3:
                rgb, labels, window = crop(rgb, labels, draw_window(rng))
            elif chance < 0.5 and (print_ := text_windows(truth)):
                box = print_[int(rng.integers(len(print_)))]
                rgb, labels, window = crop(rgb, labels, window_around(box, rng))
        rgb = resize(rgb, self.size)
        size = (self.size, self.size)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        return rgb, labels, truth, window

    def _page(self, rng: np.random.Generator, hardness: float) -> dict[str, Tensor]:
        rgb, glyphs = draw_page(rng, self.size, self.side, hardness)
        found = unknown_labels(self.side)
        found.glyphs[:] = glyphs
        found.weight[:] = PAGE_WEIGHT
        return self._item(rgb, found)

    def _pixels(self, rgb: Any) -> Tensor:
        return to_pixels(rgb)

    def _item(self, rgb: Any, found: PatchLabels) -> dict[str, Tensor]:
        return {
            "pixel_values": self._pixels(rgb),
            "kinds": torch.from_numpy(found.kinds), "fields": torch.from_numpy(found.fields),
            "box": torch.from_numpy(found.box), "parts": torch.from_numpy(found.parts),
            "weight": torch.from_numpy(found.weight), "cells": torch.from_numpy(found.cells),
            "glyphs": torch.from_numpy(found.glyphs), "middle": torch.from_numpy(found.middle),
        }  # fmt: skip
