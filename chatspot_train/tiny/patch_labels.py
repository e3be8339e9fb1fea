"""What each patch of a rendered kitchen shows, for teaching a vision tower from nothing.

The paper starts from CLIP; chatspot-tiny has no such start, so its vision tower first learns to
say of every patch which thing it shows and what is true of that thing.
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
PRINTED = ("label", "display", "number")
GLYPHS = tuple("0123456789" + "".join(sorted(set("".join(WORDS)))))
CELLS = 2  # each patch says what stands in CELLS x CELLS cells of it
TOUCH = 0.35  # of a glyph or of the patch, the smaller of them, must be shared across and down
PRINT_SHARE = 0.9  # of a card's width that its print takes up
ATTRIBUTES: dict[str, tuple[str, str]] = {}
for _states in STATES.values():
    ATTRIBUTES.update(_states)

# Name of each per-thing label and how many values it has.
FIELDS: dict[str, int] = {
    "colour": len(COLOURS),
    **dict.fromkeys(ATTRIBUTES, 2),
    "word": len(WORDS),
    "tens": 10,
    "ones": 10,
}


@dataclass(frozen=True)
class DenseLabels:
    """Targets of the P = side * side patches of one picture, row by row.

    `kinds` float P x (1 + kinds): share of the patch's pixels, room first. `fields` int64
    P x len(FIELDS), IGNORE where the patch's thing has no such label. `box` float P x 4: x1, y1,
    x2, y2 of the thing as fractions of the picture, relative to the patch's centre; NaN in the
    room. `parts` float P x len(PARTS) in {0, 1}. `weight` float P: how much each patch counts,
    more where its thing covers few patches. `cells` int64 P x CELLS^2: the kind of thing (room 0)
    in each cell of the patch, row by row. `glyphs` float P x len(GLYPHS) in {0, 1}: which letters
    and digits touch the patch; a row of NaN is not asked for. `middle` float P in {0, 1}: whether
    the patch is the one nearest the middle of its thing, so that each thing has one.
    """

    kinds: NDArray[np.float32]
    fields: NDArray[np.int64]
    box: NDArray[np.float32]
    parts: NDArray[np.float32]
    weight: NDArray[np.float32]
    cells: NDArray[np.int64]
    glyphs: NDArray[np.float32]
    middle: NDArray[np.float32]


def unknown_labels(side: int) -> DenseLabels:
    """Labels of `side` x `side` patches of which nothing is asked."""
    count = side * side
    return DenseLabels(
        np.zeros((count, len(THING_KINDS) + 1), np.float32),
        np.full((count, len(FIELDS)), IGNORE, np.int64),
        np.full((count, 4), np.nan, np.float32),
        np.full((count, len(PARTS)), np.nan, np.float32),
        np.zeros(count, np.float32),
        np.full((count, CELLS * CELLS), IGNORE, np.int64),
        np.full((count, len(GLYPHS)), np.nan, np.float32),
        np.zeros(count, np.float32),
    )


def thing_fields(thing: Thing) -> list[int]:
    """The label of every field of FIELDS for one thing."""
    values = dict.fromkeys(FIELDS, IGNORE)
    if thing.colour:
        values["colour"] = list(COLOURS).index(thing.colour)
    for name, value in thing.state.items():
        values[name] = ATTRIBUTES[name].index(value)
    values["plug"] = IGNORE  # seen on a part alone, as print is: _mark_parts
    return list(values.values())


def print_values(text: str) -> dict[str, int]:
    """The labels of what is printed: `tens` and `ones`, or `word`."""
    if text.isdigit():
        return {"tens": int(text[0]), "ones": int(text[1])}
    return {"word": WORDS.index(text)} if text in WORDS else {}


def dense_labels(
    truth: Truth,
    labels: NDArray[np.uint8],
    side: int,
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> DenseLabels:
    """Labels of a `side` x `side` grid of patches.

    `labels` (H x W, divisible by `side`) is already cut to `window`, the part of the whole
    picture that is shown (x1, y1, x2, y2 as fractions of it).
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
    rows, columns = np.divmod(np.arange(side * side), side)
    centre = (np.stack([columns, rows, columns, rows], 1) + 0.5) / side
    glyphs = np.full((side * side, len(GLYPHS)), np.nan, np.float32)
    _mark_parts(fields, glyphs, truth, centre, shift, scale)
    return DenseLabels(
        kinds, fields, (boxes[owner] - centre).astype(np.float32),
        _part_labels(truth, owner, centre, shift, scale), _weights(owner),
        _cell_kinds(labels, kind_of, side), glyphs, _middles(owner, boxes, centre),
    )  # fmt: skip


def _middles(
    owner: NDArray[np.int64], boxes: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float32]:
    """1 for the patch of each thing that is nearest to the middle of its box, else 0."""
    middle = np.zeros(len(owner), np.float32)
    for number in np.unique(owner[owner > 0]):
        own = np.flatnonzero(owner == number)
        aim = (boxes[number, :2] + boxes[number, 2:]) / 2
        middle[own[((centre[own, :2] - aim) ** 2).sum(1).argmin()]] = 1.0
    return middle


def _cell_kinds(
    labels: NDArray[np.uint8], kind_of: NDArray[np.int64], side: int
) -> NDArray[np.int64]:
    """The kind of thing in the middle of each cell of each patch, P x CELLS^2."""
    step = labels.shape[0] / (CELLS * side)
    middles = ((np.arange(CELLS * side) + 0.5) * step).astype(int)
    grid = kind_of[labels[np.ix_(middles, middles)]]
    return np.asarray(
        grid.reshape(side, CELLS, side, CELLS).transpose(0, 2, 1, 3).reshape(side * side, -1),
        np.int64,
    )


def mark_print(
    fields: NDArray[np.int64],
    glyphs: NDArray[np.float32],
    text: str,
    corners: NDArray[np.float64],
    centres: NDArray[np.float64],
    side: int,
) -> None:
    """Label the patches near print: all of it as `tens` and `ones` or `word`, and its glyphs where
    they stand.

    `corners` of the card as fractions of the picture, top left first and clockwise; `centres`
    P x 2 of the patches.
    """
    half = 0.5 / side
    low, high = corners.min(0), corners.max(0)
    near = np.all((centres > low - half) & (centres < high + half), 1)
    for name, value in print_values(text).items():
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
        # Print stands in the middle seven tenths of a card's height.
        upper, lower = tops + 0.15 * (bottoms - tops), tops + 0.85 * (bottoms - tops)
        least, most = np.minimum(upper, lower).min(0), np.maximum(upper, lower).max(0)
        overlap = np.minimum(most, centres + half) - np.maximum(least, centres - half)
        share = np.clip(overlap, 0, None) / np.minimum(2 * half, most - least)
        glyphs[share.min(1) > TOUCH, GLYPHS.index(glyph)] = 1.0


def _weights(owner: NDArray[np.int64]) -> NDArray[np.float32]:
    """1 for a patch of a thing of 8 patches, 2 of a thing of 2, 0.35 in the room; 2.5 at most."""
    areas = np.bincount(owner).astype(np.float32)
    weight = np.clip(np.sqrt(8 / areas[owner]), 0.35, 2.5)
    return np.where(owner == 0, 0.35, weight).astype(np.float32)


def _near(
    part: Part,
    centre: NDArray[np.float64],
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which patches a part touches, even one narrower than a patch."""
    half = 0.5 * (centre[1, 0] - centre[0, 0])
    x1, y1, x2, y2 = (np.array(part.box_xyxy_px) - shift) / scale
    x, y = centre[:, 0], centre[:, 1]
    return np.asarray((x > x1 - half) & (x < x2 + half) & (y > y1 - half) & (y < y2 + half))


def _mark_parts(
    fields: NDArray[np.int64],
    glyphs: NDArray[np.float32],
    truth: Truth,
    centre: NDArray[np.float64],
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    """What can only be seen on a part is asked of that part's patches: whether it is plugged in, on
    the plug and the socket; print, on what bears it."""
    for thing in truth.things:
        for part in thing.parts:
            if part.name in ("plug", "socket") and "plug" in thing.state:
                value = ATTRIBUTES["plug"].index(thing.state["plug"])
                near = _near(part, centre, shift, scale)
                fields[near, list(FIELDS).index("plug")] = value
    side = round(len(centre) ** 0.5)
    for text, corners in prints(truth, shift, scale):
        mark_print(fields, glyphs, text, corners, centre[:, :2], side)


def prints(
    truth: Truth, shift: NDArray[np.float64], scale: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64]]]:
    """What is printed where: the text and its card's corners, clockwise from the top left, 4 x 2.

    A box in pixels less `shift`, over `scale` (x, y, x, y), is one in fractions of what is shown.
    """
    found = []
    for thing in truth.things:
        for part in thing.parts:
            if part.name in PRINTED and thing.text:
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
    labels = np.zeros((len(owner), len(PARTS)), np.float32)
    for number, thing in enumerate(truth.things, start=1):
        for part in thing.parts:
            if part.name not in PARTS:
                continue
            own = (owner == number) | (part.name in ("plug", "socket"))
            near = _near(part, centre, shift, scale)
            labels[near & own, PARTS.index(part.name)] = 1.0
    return labels
