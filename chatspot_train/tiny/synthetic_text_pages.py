"""Pages of letters and digits, from easy to hard: a tower learns to read from random weights.

From the few texts in kitchens and on pasted cards, with glyphs of any size at any place, a tower
from random weights does not learn to read. With one glyph in the centre of each patch it takes
some dozen steps; then, little by little, glyphs move off the centre and change their size.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_train.tiny.patch_labels import GLYPHS, TOUCH
from chatspot_train.tiny.synthetic_text_cards import draw_inks

BLOCKS = 3  # a page has at most BLOCKS x BLOCKS blocks of different type
EASY_WIDTH = 0.75  # width of a glyph in patches, on the easiest pages
WIDTHS = (0.3, 1.4)  # range of it on the hardest pages
TALL = (1.0, 2.4)  # height over width of a glyph on the hardest pages; 1.15 on the easiest
HEIGHTS = (0.5, 1.9)  # range of a glyph's height in patches
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_GRAIN = 4.0  # of 255


@cache
def _glyph_masks(font: int) -> tuple[NDArray[np.uint8], ...]:
    """Return the mask of every glyph, cut to its bounds; 255 is ink."""
    masks = []
    for glyph in GLYPHS:
        (width, height), _ = cv2.getTextSize(glyph, _FONTS[font], 2.0, 6)
        mask = np.zeros((height + 12, width + 12), np.uint8)
        cv2.putText(mask, glyph, (6, height + 6), _FONTS[font], 2.0, 255, 6, cv2.LINE_AA)
        rows, columns = np.nonzero(mask > 20)
        masks.append(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return tuple(masks)


def draw_page(
    rng: np.random.Generator, size: int, side: int, hardness: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw a page of `size` x `size` pixels (uint8 RGB) for a tower of `side` x `side` patches.

    Returns also the glyphs that touch each patch, row by row: side * side x len(GLYPHS) in {0, 1}.
    `hardness` in [0, 1]: at 0 one glyph fills each patch; at 1 there are glyphs of every size at
    any place, among easier blocks.
    """
    page = np.zeros((size, size, 3), np.float32)
    touched = np.zeros((side, side, len(GLYPHS)), np.float32)
    blocks = int(rng.integers(1, BLOCKS + 1))
    edges = np.linspace(0, side, blocks + 1).round().astype(int)  # in patches
    spans = list(pairwise(edges.tolist()))
    for (top, bottom), (left, right) in product(spans, spans):
        window = page[_pixels(top, bottom, size / side), _pixels(left, right, size / side)]
        marks = touched[top:bottom, left:right]
        _print_block(window, marks, size / side, rng, hardness * float(rng.random()))
    page += _GRAIN * rng.standard_normal(page.shape, np.float32)
    return np.clip(page, 0, 255).astype(np.uint8), touched.reshape(side * side, -1)


def _pixels(first: int, last: int, patch: float) -> slice:
    """Return the pixels of the patches `first` to `last`, each `patch` pixels wide."""
    return slice(round(first * patch), round(last * patch))


def _print_block(
    window: NDArray[np.float32],
    marks: NDArray[np.float32],
    patch: float,
    rng: np.random.Generator,
    hardness: float,
) -> None:
    """Fill a block (h x w x 3 pixels of the page) with rows of glyphs; label its patches."""
    ink, paper = (255 * np.array(c, np.float32) for c in draw_inks(rng)[1:])
    light = np.float32(rng.uniform(0.45, 1.05))
    masks = _glyph_masks(int(rng.integers(len(_FONTS))))
    narrow, broad = (hardness * np.log(limit / EASY_WIDTH) for limit in WIDTHS)
    wide = patch * EASY_WIDTH * float(np.exp(rng.uniform(narrow, broad)))
    flat, slim = (1.15 + hardness * (limit - 1.15) for limit in TALL)
    low, high = HEIGHTS[0] * patch, HEIGHTS[1] * patch
    tall = float(np.clip(wide * rng.uniform(flat, slim), low, high))
    own = np.array([wide * rng.uniform(1.1, 1.4), tall * rng.uniform(1.15, 2.0)])
    pitch = (1 - hardness) * patch + hardness * own
    start = rng.uniform(-0.5, 0.5, 2) * min(1.0, 2 * hardness) * pitch
    height, width = window.shape[:2]
    coverage = np.zeros((height, width, 1), np.float32)
    for middle_y in np.arange(start[1] + pitch[1] / 2, height, pitch[1]):
        for middle_x in np.arange(start[0] + pitch[0] / 2, width, pitch[0]):
            glyph = int(rng.integers(len(masks)))
            narrow = min(1.0, max(0.3, masks[glyph].shape[1] / masks[glyph].shape[0] / 0.75))
            w, h = max(2, round(wide * narrow)), max(4, round(tall))
            x, y = round(middle_x - w / 2), round(middle_y - h / 2)
            if x < 0 or y < 0 or x + w > width or y + h > height:
                continue
            small = cv2.resize(masks[glyph], (w, h), interpolation=cv2.INTER_AREA)
            coverage[y : y + h, x : x + w, 0] = np.asarray(small, np.float32) / 255
            _mark(marks, glyph, x / patch, y / patch, (x + w) / patch, (y + h) / patch)
    window[:] = light * (paper + (ink - paper) * coverage)


def _mark(
    marks: NDArray[np.float32], glyph: int, x1: float, y1: float, x2: float, y2: float
) -> None:
    """Label the patches that a glyph touches; its bounds are in patches."""
    rows, columns = _touched(y1, y2, marks.shape[0]), _touched(x1, x2, marks.shape[1])
    marks[rows, columns, glyph] = 1.0


def _touched(low: float, high: float, count: int) -> slice:
    """Return the patches, of `count`, that share TOUCH of a patch or of the span with the span."""
    least = TOUCH * min(1.0, high - low)
    first, last = math.floor(low), math.ceil(high) - 1
    if first < last and first + 1 - low <= least:
        first += 1
    if first < last and high - last <= least:
        last -= 1
    return slice(max(0, first), min(count, last + 1))
