"""Printed cards pasted into pictures: print is learned from many, large and small, before scenes.

A kitchen shows one or two prints, a few patches each; a tower from nothing stays at chance on them.
A picture with a dozen cards of the same make, each glyph marked, teaches reading by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.kitchen import BOTTLE_WORDS, COLOURS, JAR_WORDS
from chatspot_sim.meshes import label_png
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.patch_labels import DenseLabels, mark_print

WORDS = (*BOTTLE_WORDS, *JAR_WORDS)
CARDS = (3, 9)  # of a picture
WIDTHS = (0.045, 0.2)  # of the picture's, drawn on a logarithmic scale
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """A pasted card: what it says, and its corners in fractions of the picture (4 x 2: top left,
    top right, bottom right, bottom left)."""

    text: str
    corners: NDArray[np.float64]


def _inks(rng: np.random.Generator) -> tuple[RGB, RGB, float]:
    """Ink, paper and height over width, as of a label, a display or a sign."""
    make = rng.random()
    if make < 0.5:
        return (0.03, 0.03, 0.03), (0.97, 0.97, 0.94), float(rng.uniform(0.6, 0.7))
    if make < 0.7:
        return (0.35, 1.0, 0.45), (0.02, 0.05, 0.03), 0.7
    paper = list(COLOURS.values())[int(rng.integers(len(COLOURS)))]
    ink: RGB = (0.03, 0.03, 0.03) if sum(paper) > 1.2 else (0.97, 0.97, 0.97)
    return ink, paper, 0.83


def draw_card(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8], float]:
    """What a card says, its picture (uint8 RGB) and its height over its width."""
    ink, paper, ratio = _inks(rng)
    text = (
        str(rng.choice(WORDS)) if rng.random() < 0.5 else f"{int(rng.integers(0, 100)):02d}"
    )  # fmt: skip
    png = label_png(text, ink, paper, int(rng.integers(3)), (128, int(128 * ratio)))
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise RuntimeError(f"OpenCV could not read the card of {text!r} that it wrote")
    light = rng.uniform(0.45, 1.05)
    return text, np.clip(picture[..., ::-1] * light, 0, 255).astype(np.uint8), ratio


def paste_cards(
    rgb: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Card]]:
    """A copy of the square picture with cards pasted onto it, turned and tilted a little.

    None covers another by more than a corner.
    """
    side = rgb.shape[0]
    rgb = np.ascontiguousarray(rgb).copy()
    taken = np.zeros((side, side), np.uint8)
    cards: list[Card] = []
    for _ in range(int(rng.integers(*CARDS))):
        text, picture, ratio = draw_card(rng)
        width = float(np.exp(rng.uniform(*np.log(WIDTHS))))
        height = width * ratio * float(rng.uniform(0.8, 1.2))
        middle = rng.uniform([width / 2, height / 2], [1 - width / 2, 1 - height / 2])
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
        angle = rng.normal(0, 0.06)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = middle + half @ turn.T + rng.normal(0, 0.04, (4, 2)) * width
        mask = np.zeros((side, side), np.uint8)
        cv2.fillConvexPoly(mask, np.round(corners * side).astype(np.int32), 1)
        if not mask.any() or (taken & mask).sum() > 0.02 * mask.sum():
            continue
        taken |= mask
        _warp(rgb, picture, corners * side, mask)
        cards.append(Card(text, corners))
    return rgb, cards


def _warp(
    rgb: NDArray[np.uint8],
    picture: NDArray[np.uint8],
    corners: NDArray[np.float64],
    mask: NDArray[np.uint8],
) -> None:
    high, wide = picture.shape[:2]
    # Shrink first: a perspective warp samples points and would tear thin strokes.
    across = np.linalg.norm(corners[1] - corners[0])
    if across < wide:
        wide, high = max(4, round(across)), max(4, round(high * across / wide))
        picture = np.asarray(cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA))
    x, y, w, h = cv2.boundingRect(mask)
    source = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - [x, y]).astype(np.float32))
    warped = cv2.warpPerspective(
        picture, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    here = mask[y : y + h, x : x + w] > 0
    rgb[y : y + h, x : x + w][here] = warped[here]


def mark_cards(found: DenseLabels, cards: list[Card], side: int) -> None:
    """Replace the labels of the patches the cards cover by what the cards say.

    What was behind a card is asked of nobody: kinds zero, everything else unknown.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    centres = (np.stack([columns, rows], 1) + 0.5) / side
    half = 0.5 / side
    for card in cards:
        outline = card.corners.astype(np.float32)
        low, high = outline.min(0), outline.max(0)
        touched = np.all((centres > low - half) & (centres < high + half), 1)
        found.kinds[touched] = 0.0
        found.fields[touched] = IGNORE
        found.box[touched] = np.nan
        found.parts[touched] = np.nan
        found.cells[touched] = IGNORE
        found.glyphs[touched] = 0.0
        mark_print(found.fields, found.glyphs, card.text, card.corners, centres, side)
