"""Parts of a rendered picture as pictures of their own, with their truth.

A kitchen takes a third of a second to render and a part of its picture next to nothing, and a
language model knows a picture by heart after a few questions about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatspot_sim.truth import Box, Part, Points, Thing, Truth, mask_box, mask_polygon, shows
from chatspot_train.data.image_augment import Window, crop, draw_window
from chatspot_train.tiny.patch_labels import PRINTED

LEAST_WINDOW = 0.78  # of each side
LEAST_PIXELS = 30  # of a thing: what shows less is not in the truth
LEAST_PART = 0.25  # of a part's box
_SEED = 611


def draw_view(index: int, version: int) -> Window:
    """Which part of picture `index` its version shows; version 0 is the whole picture."""
    if version == 0:
        return 0.0, 0.0, 1.0, 1.0
    return draw_window(np.random.default_rng([_SEED, index, version]), LEAST_WINDOW)


def view(
    rgb: NDArray[np.uint8], labels: NDArray[np.uint8], truth: Truth, window: Window
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Truth]:
    """A part of a square rendered picture (uint8 S x S x 3, RGB), its labels and truth.

    The truth is that of a picture of the same width and height onto which the part is stretched.
    What only parts outside showed of a thing's state, and print that is cut, is not in it any more.
    """
    before = np.bincount(labels.ravel(), minlength=256)
    rgb, labels, window = crop(rgb, labels, window)
    after = np.bincount(labels.ravel(), minlength=256)
    x1, y1, x2, y2 = window
    zoom = 1 / ((x2 - x1) * (y2 - y1))
    place = _Placing(truth, window)
    numbers = np.zeros(256, np.uint8)
    things: list[Thing] = []
    for number, thing in enumerate(truth.things, start=1):
        share = after[number] / max(1, before[number])
        pixels = round(thing.pixels * share * zoom)
        if not after[number] or pixels < LEAST_PIXELS:
            continue
        things.append(_seen(thing, labels == number, pixels, place))
        numbers[number] = len(things)
    return rgb, numbers[labels], replace(truth, things=tuple(things))


class _Placing:
    """From the whole picture's pixels to those of the part, stretched to the same size."""

    def __init__(self, truth: Truth, window: Window) -> None:
        self.size = np.array([truth.width, truth.height], float)
        self.low = self.size * window[:2]
        self.scale = 1 / (np.array(window[2:]) - window[:2])

    def points(self, points: Any) -> NDArray[np.float64]:
        """N x 2, before and after; they may lie outside."""
        return np.asarray((np.array(points, float) - self.low) * self.scale)

    def box(self, box: Box) -> tuple[Box, float]:
        """A box clipped to the part, and which share of it that is."""
        corners = self.points([box[:2], box[2:]])
        inside = np.clip(corners, 0, self.size)
        share = np.prod(inside[1] - inside[0]) / max(1e-9, np.prod(corners[1] - corners[0]))
        (a, b), (c, d) = inside.tolist()
        return (a, b, c, d), float(share)

    def outline(self, mask: NDArray[np.bool_]) -> Points:
        """The outline of a mask of the part."""
        scale = self.size / mask.shape[::-1]
        return tuple((x * scale[0], y * scale[1]) for x, y in mask_polygon(mask))

    def bounds(self, mask: NDArray[np.bool_]) -> Box:
        """The box of a mask of the part."""
        x1, y1, x2, y2 = mask_box(mask)
        x, y = (float(v) for v in self.size / mask.shape[::-1])
        return x1 * x, y1 * y, x2 * x, y2 * y


def _seen(thing: Thing, mask: NDArray[np.bool_], pixels: int, place: _Placing) -> Thing:
    box, whole = place.box(thing.box_xyxy_px)
    cut = whole < 1 - 1e-6
    polygon = place.outline(mask) if cut else _points(place.points(thing.polygon_px))
    parts, cut_parts = [], set()
    for part in thing.parts:
        part_box, part_share = place.box(part.box_xyxy_px)
        if part_share < 1 - 1e-6:
            cut_parts.add(part.name)
        if part_share >= LEAST_PART:
            parts.append(Part(part.name, part_box, round(part.pixels * part_share)))
    names = {part.name for part in parts}
    return replace(
        thing,
        box_xyxy_px=place.bounds(mask) if cut else box,
        polygon_px=polygon,
        pixels=pixels,
        state={k: v for k, v in thing.state.items() if shows(names, k, v)},
        text="" if cut_parts & set(PRINTED) else thing.text,
        parts=tuple(parts),
    )


def _points(points: NDArray[np.float64]) -> Points:
    return tuple((float(x), float(y)) for x, y in points)
