"""Labels of every patch of a rendered kitchen, to train a vision tower from random weights.

The paper starts from CLIP. chatspot-tiny has no pretrained tower, so its tower first learns which
thing each patch shows, and the thing's attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatspot_sim.kitchen import BOTTLE_WORDS, COLOURS, JAR_WORDS, PART_NAMES, STATES, THING_KINDS
from chatspot_sim.truth import Part, Thing, Truth
from chatspot_train.common.labels import IGNORE

WORDS = (*BOTTLE_WORDS, *JAR_WORDS)
PARTS = PART_NAMES
TEXT_PARTS = ("label", "display", "number")
GLYPHS = tuple("0123456789" + "".join(sorted(set("".join(WORDS)))))
CELLS = 2  # a patch has CELLS x CELLS cells, each with a kind of thing
TOUCH = 0.35  # a glyph touches a patch that shares this much of the smaller, across and down
PRINT_SHARE = 0.9  # of a card's width is text
ATTRIBUTES: dict[str, tuple[str, str]] = {}
for _states in STATES.values():
    ATTRIBUTES.update(_states)

# Each label of a thing and its number of values.
FIELDS: dict[str, int] = {
    "colour": len(COLOURS),
    **dict.fromkeys(ATTRIBUTES, 2),
    "word": len(WORDS),
    "tens": 10,
    "ones": 10,
}


@dataclass(frozen=True)
class PatchLabels:
    """Labels of the P = side * side patches of one image, row by row.

    `kinds` float P x (1 + kinds): share of the patch's pixels, room first. `fields` int64
    P x len(FIELDS), IGNORE where the patch's thing has no such label. `box` float P x 4: x1, y1,
    x2, y2 of the thing as fractions of the image, relative to the patch's centre; NaN in the room.
    `parts` float P x len(PARTS) in {0, 1}. `weight` float P: weight in the loss, larger for a thing
    of few patches. `cells` int64 P x CELLS^2: the kind of thing (room 0) in each cell of the patch,
    row by row. `glyphs` float P x len(GLYPHS) in {0, 1}: the letters and digits that touch the
    patch; a row of NaN is unknown. `middle` float P in {0, 1}: 1 for the patch nearest the centre
    of its thing, one for each thing.
    """

    kinds: NDArray[np.float32]
    fields: NDArray[np.int64]
    box: NDArray[np.float32]
    parts: NDArray[np.float32]
    weight: NDArray[np.float32]
    cells: NDArray[np.int64]
    glyphs: NDArray[np.float32]
    middle: NDArray[np.float32]


def unknown_labels(side: int) -> PatchLabels:
    """Return labels of `side` x `side` patches in which all is unknown."""
    count = side * side
    return PatchLabels(
        np.zeros((count, len(THING_KINDS) + 1), np.float32),
        np.full((count, len(FIELDS)), IGNORE, np.int64),
        np.full((count, 4), np.nan, np.float32),
        np.full((count, len(PARTS)), np.nan, np.float32),
        np.zeros(count, np.float32),
        np.full((count, CELLS * CELLS), IGNORE, np.int64),
        np.full((count, len(GLYPHS)), np.nan, np.float32),
        np.zeros(count, np.float32),
    )


def patch_centres(side: int) -> NDArray[np.float64]:
    """Return the centres x, y of `side` x `side` patches as fractions, row by row; P x 2."""
    rows, columns = np.divmod(np.arange(side * side), side)
    return np.asarray((np.stack([columns, rows], 1) + 0.5) / side)


def patches_near(
    corners: NDArray[np.floating], centres: NDArray[np.float64], side: int
) -> NDArray[np.bool_]:
    """Return which of the patches at `centres` (P x 2) touch the box around the corners (N x 2)."""
    half = 0.5 / side
    low, high = corners.min(0), corners.max(0)
    return np.asarray(np.all((centres > low - half) & (centres < high + half), 1))


def thing_fields(thing: Thing) -> list[int]:
    """Return the label of every field of FIELDS for one thing."""
    values = dict.fromkeys(FIELDS, IGNORE)
    if thing.colour:
        values["colour"] = list(COLOURS).index(thing.colour)
    for name, value in thing.state.items():
        values[name] = ATTRIBUTES[name].index(value)
    values["plug"] = IGNORE  # visible on a part alone, as text is: see _label_parts
    return list(values.values())


def text_values(text: str) -> dict[str, int]:
    """Return the labels of a text: `tens` and `ones`, or `word`."""
    if text.isdigit():
        return {"tens": int(text[0]), "ones": int(text[1])}
    return {"word": WORDS.index(text)} if text in WORDS else {}


def label_patches(
    truth: Truth,
    labels: NDArray[np.uint8],
    side: int,
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> PatchLabels:
    """Return the labels of a `side` x `side` grid of patches.

    `labels` (H x W, divisible by `side`) is already cut to `window`, the visible part of the whole
    image (x1, y1, x2, y2 as fractions of it).
    """
    count = len(truth.things) + 1
    size = labels.shape[0] // side
    blocks = labels.reshape(side, size, side, size).transpose(0, 2, 1, 3).reshape(side * side, -1)
    patches = np.arange(side * side)[:, None]
    votes = np.bincount((patches * count + blocks).ravel(), minlength=side * side * count)
    shares = (votes.reshape(side * side, count) / (size * size)).astype(np.float32)
    owner = np.where(shares[:, 1:].max(1) > 0.2, shares[:, 1:].argmax(1) + 1, 0) if count > 1 else (
        np.zeros(side * side, np.int64)
    )  # fmt: skip

    kind_of = np.array([0] + [THING_KINDS.index(t.name) + 1 for t in truth.things])
    kinds = np.zeros((side * side, len(THING_KINDS) + 1), np.float32)
    for number in range(count):
        kinds[:, kind_of[number]] += shares[:, number]
    table = np.array([[IGNORE] * len(FIELDS)] + [thing_fields(t) for t in truth.things])
    fields = table[owner].astype(np.int64)

    wx1, wy1, wx2, wy2 = window
    scale = np.array([truth.width * (wx2 - wx1), truth.height * (wy2 - wy1)] * 2)
    shift = np.array([wx1 * truth.width, wy1 * truth.height] * 2)
    boxes = np.array([[np.nan] * 4] + [list(t.box_xyxy_px) for t in truth.things])
    boxes = np.clip((boxes - shift) / scale, 0, 1)
    centre = np.tile(patch_centres(side), 2)
    glyphs = np.full((side * side, len(GLYPHS)), np.nan, np.float32)
    _label_parts(fields, glyphs, truth, centre, shift, scale)
    return PatchLabels(
        kinds, fields, (boxes[owner] - centre).astype(np.float32),
        _part_labels(truth, owner, centre, shift, scale), _weights(owner),
        _cell_kinds(labels, kind_of, side), glyphs, _middles(owner, boxes, centre),
    )  # fmt: skip


def _middles(
    owner: NDArray[np.int64], boxes: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return 1 for the patch of each thing that is nearest the centre of its box, else 0."""
    middle = np.zeros(len(owner), np.float32)
    for number in np.unique(owner[owner > 0]):
        own = np.flatnonzero(owner == number)
        aim = (boxes[number, :2] + boxes[number, 2:]) / 2
        middle[own[((centre[own, :2] - aim) ** 2).sum(1).argmin()]] = 1.0
    return middle


def _cell_kinds(
    labels: NDArray[np.uint8], kind_of: NDArray[np.int64], side: int
) -> NDArray[np.int64]:
    """Return the kind of thing in the centre of each cell of each patch, P x CELLS^2."""
    step = labels.shape[0] / (CELLS * side)
    middles = ((np.arange(CELLS * side) + 0.5) * step).astype(int)
    grid = kind_of[labels[np.ix_(middles, middles)]]
    return np.asarray(
        grid.reshape(side, CELLS, side, CELLS).transpose(0, 2, 1, 3).reshape(side * side, -1),
        np.int64,
    )


def label_text(
    fields: NDArray[np.int64],
    glyphs: NDArray[np.float32],
    text: str,
    corners: NDArray[np.float64],
    centres: NDArray[np.float64],
    side: int,
) -> None:
    """Label the patches near a text: all with its `tens` and `ones` or `word`, and each with the
    glyphs that touch it.

    `corners` of the card are fractions of the image, clockwise from the top left; `centres` are
    P x 2.
    """
    half = 0.5 / side
    near = patches_near(corners, centres, side)
    for name, value in text_values(text).items():
        fields[near, list(FIELDS).index(name)] = value
    glyphs[near] = 0.0
    margin = (1 - PRINT_SHARE) / 2
    edges = margin + PRINT_SHARE * np.arange(len(text) + 1) / max(1, len(text))
    top_left, top_right, bottom_right, bottom_left = corners
    for k, glyph in enumerate(text):
        if glyph not in GLYPHS:
            continue
        ends = edges[[k, k + 1]][:, None]
        tops = top_left + ends * (top_right - top_left)
        bottoms = bottom_left + ends * (bottom_right - bottom_left)
        # Text takes up the middle seven tenths of a card's height.
        upper, lower = tops + 0.15 * (bottoms - tops), tops + 0.85 * (bottoms - tops)
        least, most = np.minimum(upper, lower).min(0), np.maximum(upper, lower).max(0)
        overlap = np.minimum(most, centres + half) - np.maximum(least, centres - half)
        share = np.clip(overlap, 0, None) / np.minimum(2 * half, most - least)
        glyphs[share.min(1) > TOUCH, GLYPHS.index(glyph)] = 1.0


def _weights(owner: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return 1 for patches of a thing of 8 patches, 2 for one of 2 (2.5 at most), room 0.35."""
    areas = np.bincount(owner).astype(np.float32)
    weight = np.clip(np.sqrt(8 / areas[owner]), 0.35, 2.5)
    return np.where(owner == 0, 0.35, weight).astype(np.float32)


def _near(
    part: Part,
    centre: NDArray[np.float64],
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return the patches that a part touches, also a part narrower than a patch."""
    half = 0.5 * (centre[1, 0] - centre[0, 0])
    x1, y1, x2, y2 = (np.array(part.box_xyxy_px) - shift) / scale
    x, y = centre[:, 0], centre[:, 1]
    return np.asarray((x > x1 - half) & (x < x2 + half) & (y > y1 - half) & (y < y2 + half))


def _label_parts(
    fields: NDArray[np.int64],
    glyphs: NDArray[np.float32],
    truth: Truth,
    centre: NDArray[np.float64],
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    """Label on a part's patches what only it shows: a plug's state on plug and socket, and text."""
    for thing in truth.things:
        for part in thing.parts:
            if part.name in ("plug", "socket") and "plug" in thing.state:
                value = ATTRIBUTES["plug"].index(thing.state["plug"])
                near = _near(part, centre, shift, scale)
                fields[near, list(FIELDS).index("plug")] = value
    side = round(len(centre) ** 0.5)
    for text, corners in printed_texts(truth, shift, scale):
        label_text(fields, glyphs, text, corners, centre[:, :2], side)


def printed_texts(
    truth: Truth, shift: NDArray[np.float64], scale: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64]]]:
    """Return each text with its corners (4 x 2, fractions of the window, clockwise from top left).

    Fractions are (pixels - `shift`) / `scale`, both as x, y, x, y.
    """
    found = []
    for thing in truth.things:
        for part in thing.parts:
            if part.name in TEXT_PARTS and thing.text:
                x1, y1, x2, y2 = (np.array(part.box_xyxy_px) - shift) / scale
                corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
                found.append((thing.text, corners))
    return found


def _part_labels(
    truth: Truth,
    owner: NDArray[np.int64],
    centre: NDArray[np.float64],
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the parts that each patch shows, P x len(PARTS)."""
    labels = np.zeros((len(owner), len(PARTS)), np.float32)
    for number, thing in enumerate(truth.things, start=1):
        for part in thing.parts:
            if part.name not in PARTS:
                continue
            own = (owner == number) | (part.name in ("plug", "socket"))
            near = _near(part, centre, shift, scale)
            labels[near & own, PARTS.index(part.name)] = 1.0
    return labels
