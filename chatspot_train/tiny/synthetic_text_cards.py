"""Printed cards of many sizes pasted into images, to learn reading.

A kitchen shows one or two texts of a few patches each; a tower trained on these alone stays at
chance. Images with up to a dozen cards, each glyph labelled, teach reading by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.kitchen import COLOURS
from chatspot_sim.meshes import label_png
from chatspot_train.common.labels import IGNORE
from chatspot_train.tiny.patch_labels import (
    WORDS,
    PatchLabels,
    label_text,
    patch_centres,
    patches_near,
)

CARDS = (3, 9)  # range of their number in an image
WIDTHS = (0.045, 0.2)  # of the image's width, drawn on a logarithmic scale
RATIOS = {"display": 0.7, "sign": 0.83}  # height over width
Carrier = Literal["label", "display", "sign"]
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """A card with its text and its corners (4 x 2, fractions of the image, clockwise from the top
    left)."""

    text: str
    corners: NDArray[np.float64]


def draw_inks(rng: np.random.Generator) -> tuple[Carrier, Rgb, Rgb]:
    """Draw a carrier of text, as the kitchen has them, and its ink and paper, RGB in [0, 1]."""
    choice = rng.random()
    if choice < 0.5:
        return "label", (0.03, 0.03, 0.03), (0.97, 0.97, 0.94)
    if choice < 0.7:
        return "display", (0.35, 1.0, 0.45), (0.02, 0.05, 0.03)
    paper = list(COLOURS.values())[int(rng.integers(len(COLOURS)))]
    ink: Rgb = (0.03, 0.03, 0.03) if sum(paper) > 1.2 else (0.97, 0.97, 0.97)
    return "sign", ink, paper


def draw_card(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8], float]:
    """Draw a card: its text, its image (uint8 RGB) and its height over its width."""
    carrier, ink, paper = draw_inks(rng)
    ratio = float(rng.uniform(0.6, 0.7)) if carrier == "label" else RATIOS[carrier]
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
    """Return a copy of the square image with pasted cards, slightly rotated and tilted.

    No card covers another by more than a corner.
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
    """Warp the card's picture onto its corners (in pixels) in `rgb`, where `mask` is 1."""
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


def label_cards(found: PatchLabels, cards: list[Card], side: int) -> None:
    """Replace the labels of the patches that the cards cover by those of the cards' texts.

    The things behind a card are not trained: kinds are zero, all other labels unknown.
    """
    centres = patch_centres(side)
    for card in cards:
        touched = patches_near(card.corners.astype(np.float32), centres, side)
        found.kinds[touched] = 0.0
        found.fields[touched] = IGNORE
        found.box[touched] = np.nan
        found.parts[touched] = np.nan
        found.cells[touched] = IGNORE
        found.glyphs[touched] = 0.0
        label_text(found.fields, found.glyphs, card.text, card.corners, centres, side)
