"""Crops of rendered images with their ground truth.

A kitchen takes a third of a second to render and a crop almost nothing, and a language model
memorises an image after a few questions about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatspot_sim.truth import Box, Part, Points, Thing, Truth, mask_box, mask_polygon, shows
from chatspot_train.data.image_augment import Window, crop, draw_window
from chatspot_train.tiny.patch_labels import TEXT_PARTS

MIN_WINDOW = 0.78  # of each side
MIN_PIXELS = 30  # of a thing: a smaller one is left out of the truth
MIN_PART = 0.25  # of a part's box
_SEED = 611


def crop_window(index: int, version: int) -> Window:
    """Return the part of image `index` that this version shows; version 0 is the whole image."""
    if version == 0:
        return 0.0, 0.0, 1.0, 1.0
    return draw_window(np.random.default_rng([_SEED, index, version]), MIN_WINDOW)


def crop_kitchen(
    rgb: NDArray[np.uint8], labels: NDArray[np.uint8], truth: Truth, window: Window
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Truth]:
    """Return the window of a square rendered image (uint8 S x S x 3, RGB), its labels and truth.

    The truth is that of the window stretched to the width and height of the whole image. A state
    that only parts outside the window show, and text that is cut, are left out of it.
    """
    before = np.bincount(labels.ravel(), minlength=256)
    rgb, labels, window = crop(rgb, labels, window)
    after = np.bincount(labels.ravel(), minlength=256)
    x1, y1, x2, y2 = window
    zoom = 1 / ((x2 - x1) * (y2 - y1))
    transform = _CropTransform(truth, window)
    numbers = np.zeros(256, np.uint8)
    things: list[Thing] = []
    for number, thing in enumerate(truth.things, start=1):
        share = after[number] / max(1, before[number])
        pixels = round(thing.pixels * share * zoom)
        if not after[number] or pixels < MIN_PIXELS:
            continue
        things.append(_crop_thing(thing, labels == number, pixels, transform))
        numbers[number] = len(things)
    return rgb, numbers[labels], replace(truth, things=tuple(things))


class _CropTransform:
    """Maps pixels of the whole image to those of the window, stretched to the same size."""

    def __init__(self, truth: Truth, window: Window) -> None:
        self.size = np.array([truth.width, truth.height], float)
        self.low = self.size * window[:2]
        self.scale = 1 / (np.array(window[2:]) - window[:2])

    def points(self, points: Any) -> NDArray[np.float64]:
        """Map N x 2 points; they may lie outside."""
        return np.asarray((np.array(points, float) - self.low) * self.scale)

    def box(self, box: Box) -> tuple[Box, float]:
        """Return the box clipped to the window, and the share of its area that is left."""
        corners = self.points([box[:2], box[2:]])
        inside = np.clip(corners, 0, self.size)
        share = np.prod(inside[1] - inside[0]) / max(1e-9, np.prod(corners[1] - corners[0]))
        (a, b), (c, d) = inside.tolist()
        return (a, b, c, d), float(share)

    def outline(self, mask: NDArray[np.bool_]) -> Points:
        """Return the outline of a mask of the window."""
        scale = self.size / mask.shape[::-1]
        return tuple((x * scale[0], y * scale[1]) for x, y in mask_polygon(mask))

    def bounds(self, mask: NDArray[np.bool_]) -> Box:
        """Return the box of a mask of the window."""
        x1, y1, x2, y2 = mask_box(mask)
        x, y = (float(v) for v in self.size / mask.shape[::-1])
        return x1 * x, y1 * y, x2 * x, y2 * y


def _crop_thing(
    thing: Thing, mask: NDArray[np.bool_], pixels: int, transform: _CropTransform
) -> Thing:
    """Return the thing as the window shows it in `pixels` pixels."""
    box, whole = transform.box(thing.box_xyxy_px)
    cut = whole < 1 - 1e-6
    polygon = transform.outline(mask) if cut else _points(transform.points(thing.polygon_px))
    parts, cut_parts = [], set()
    for part in thing.parts:
        part_box, part_share = transform.box(part.box_xyxy_px)
        if part_share < 1 - 1e-6:
            cut_parts.add(part.name)
        if part_share >= MIN_PART:
            parts.append(Part(part.name, part_box, round(part.pixels * part_share)))
    names = {part.name for part in parts}
    return replace(
        thing,
        box_xyxy_px=transform.bounds(mask) if cut else box,
        polygon_px=polygon,
        pixels=pixels,
        state={k: v for k, v in thing.state.items() if shows(names, k, v)},
        text="" if cut_parts & set(TEXT_PARTS) else thing.text,
        parts=tuple(parts),
    )


def _points(points: NDArray[np.float64]) -> Points:
    return tuple((float(x), float(y)) for x, y in points)
