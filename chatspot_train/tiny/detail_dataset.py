"""Rendered kitchens with the labels of the detail stage: of patches, and at finer steps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.image_augment import Window, recolour
from chatspot_train.tiny.detector_training import detector_targets
from chatspot_train.tiny.patch_dataset import PatchDataset
from chatspot_train.tiny.patch_labels import (
    FIELDS,
    GLYPHS,
    label_patches,
    label_text,
    patch_centres,
    patches_near,
    printed_texts,
)
from chatspot_train.tiny.synthetic_text_cards import Card, label_cards, paste_cards

GLYPH_STEP, KIND_STEP = 4, 8  # pixels


class DetailDataset(PatchDataset):
    """Images with patch labels and finer labels; a share `cards` of them with pasted cards.

    `pixel_values` are uint8 H x W x 3, RGB. Further keys: `kind_map`, the kind of thing at every
    KIND_STEP-th pixel (int64, room 0, IGNORE under a card); `glyph_map`, 1 + the glyph at every
    GLYPH_STEP-th pixel (0 beside the glyphs of a text, IGNORE elsewhere); `heatmaps`, `edges` and
    `edge_weight`, the detector's targets at every KIND_STEP-th pixel; with `unaugmented`, the image
    before its colours were changed.
    """

    def __init__(
        self, *arguments: Any, cards: float = 0.0, unaugmented: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.cards, self.unaugmented = cards, unaugmented

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        rgb, labels, truth, window = self._picture(rng, index)
        kinds = self._kind_map(labels, truth)
        found = label_patches(truth, labels, self.side, window)
        cards: list[Card] = []
        if rng.random() < self.cards:
            rgb, cards = paste_cards(rgb, rng)
            label_cards(found, cards, self.side)
            for card in cards:
                outline = np.round(card.corners * len(kinds)).astype(np.int32)
                cv2.fillConvexPoly(kinds, outline, IGNORE)
        item = self._item(recolour(rgb, rng) if self.augment else rgb, found)
        if self.unaugmented:
            item["unaugmented"] = self._pixels(rgb)
        item["kind_map"] = torch.from_numpy(kinds.astype(np.int64))
        wanted = detector_targets(truth, self.size // KIND_STEP, window)
        item.update(zip(("heatmaps", "edges", "edge_weight"), wanted, strict=True))
        shown = cards or visible_texts(truth, window)
        item["glyph_map"] = torch.from_numpy(glyph_map(shown, self.size // GLYPH_STEP))
        return item

    def _pixels(self, rgb: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rgb))

    def _kind_map(self, labels: NDArray[np.uint8], truth: Truth) -> NDArray[np.int32]:
        kind_of = np.array([0] + [THING_KINDS.index(t.name) + 1 for t in truth.things], np.int32)
        half = KIND_STEP // 2
        return np.ascontiguousarray(kind_of[labels[half::KIND_STEP, half::KIND_STEP]])


def visible_texts(truth: Truth, window: Window) -> list[Card]:
    """Return the texts of a kitchen with their corners as fractions of the window."""
    x1, y1, x2, y2 = window
    size = np.array([truth.width, truth.height] * 2)
    shift, scale = size * [x1, y1, x1, y1], size * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
    return [Card(text, corners) for text, corners in printed_texts(truth, shift, scale)]


def glyph_map(cards: list[Card], side: int) -> NDArray[np.int64]:
    """Return side x side glyphs: 1 + the number, 0 for none, IGNORE away from text."""
    centres = patch_centres(side)
    seen = np.full(side * side, IGNORE, np.int64)
    for card in cards:
        near = np.flatnonzero(patches_near(card.corners, centres, side))
        fields = np.full((len(near), len(FIELDS)), IGNORE, np.int64)
        marks = np.full((len(near), len(GLYPHS)), np.nan, np.float32)
        label_text(fields, marks, card.text, card.corners, centres[near], side)
        marks = np.nan_to_num(marks)
        number = np.where(marks.sum(1) > 0, 1 + marks.argmax(1), 0)
        seen[near] = np.where(marks.sum(1) > 1, IGNORE, number)
    return seen.reshape(side, side)
