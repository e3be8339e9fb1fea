"""Augmentation of images together with the regions of their records: crop, rotate, flip, recolour.

All functions are pure. `rgb` is uint8 H x W x 3, RGB, of the record's width and height; regions
stay inside the image, in its pixels (see `chatspot_ros.core.regions`).

- A crop drops the turns that it could make wrong: about a region cut to under 60 % of its area (cut
  at all, where text is read), about the whole image, or following up on a dropped turn. A crop that
  keeps fewer than half of the turns is not made.
- A rotation shrinks the image so that nothing is cut off and fills the border with the mean colour.
  A box becomes the box around its rotated corners while that is tight, else their polygon. Answers
  are boxes, so an image is not rotated where the box of an answer would become loose.
- A flip exchanges left and right in questions and answers. An image is not flipped where text is
  read, or where `left` and `right` may mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Point, Region, RegionKind
from chatspot_ros.errors import RegionError
from chatspot_train.data.augment_text import (
    about_whole,
    can_mirror,
    chains,
    mirrored,
    reads_text,
)
from chatspot_train.data.grounded_answers import in_order
from chatspot_train.data.image_augment import draw_window, recolour
from chatspot_train.data.records import Record, RecordError, RecordTurn, check_size

WindowPx = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels
Varied = tuple[RgbImage, Record]

MIN_KEPT_AREA = 0.6
MIN_KEPT_TURNS = 0.5
MIN_TIGHTNESS = 0.85
MAX_DEGREES = 6.0
CROP_CHANCE, ROTATE_CHANCE, FLIP_CHANCE, RECOLOUR_CHANCE = 0.5, 0.3, 0.5, 0.8
_WINDOWS_TRIED = 3
# Share of its area that a region keeps, but for rounding, if it is not cut.
_UNCUT = 0.999


def vary_picture(rgb: RgbImage, record: Record, rng: np.random.Generator) -> Varied:
    """Augment at random; every kept turn stays true. Raises RecordError where sizes differ."""
    check_size(record, rgb.shape[1], rgb.shape[0])
    if rng.random() < FLIP_CHANCE and can_mirror(record):
        rgb, record = flip(rgb, record)
    if rng.random() < ROTATE_CHANCE:
        degrees = float(rng.uniform(-MAX_DEGREES, MAX_DEGREES))
        rgb, record = rotate(rgb, record, degrees) or (rgb, record)
    if rng.random() < CROP_CHANCE:
        rgb, record = _draw_crop(rgb, record, rng)
    if rng.random() < RECOLOUR_CHANCE:
        rgb = recolour(rgb, rng)
    return rgb, record


def flip(rgb: RgbImage, record: Record) -> Varied:
    """Mirror the image left to right. Raises RecordError unless `can_mirror(record)`."""
    check_size(record, rgb.shape[1], rgb.shape[0])
    if not can_mirror(record):
        raise RecordError(
            f"{record.source}/{record.id} cannot be mirrored: text is read in it, or its words "
            "do not say clearly what is left and right"
        )
    width = float(record.width)

    def across(region: Region) -> Region:
        moved = tuple((width - x, y) for x, y in region.points_px)
        if region.kind is RegionKind.BOX:
            moved = Region.box(*moved[0], *moved[1]).points_px
        return replace(region, points_px=moved)

    turns = tuple(
        in_order(
            replace(
                turn,
                question=mirrored(turn.question),
                answer=mirrored(turn.answer),
                regions=tuple(map(across, turn.regions)),
                answer_regions=tuple(map(across, turn.answer_regions)),
            )
        )
        for turn in record.turns
    )
    return np.ascontiguousarray(rgb[:, ::-1]), replace(record, turns=turns)


def crop(rgb: RgbImage, record: Record, window: WindowPx) -> Varied | None:
    """Crop to the window; None where fewer than half of the turns would stay true.

    Raises RecordError where the window is empty or not inside the image.
    """
    check_size(record, rgb.shape[1], rgb.shape[0])
    left, top, right, bottom = window
    if not (0 <= left < right <= record.width and 0 <= top < bottom <= record.height):
        raise RecordError(
            f"the window {window} is not inside the picture of {record.width} x {record.height}"
        )
    turns: list[RecordTurn] = []
    for chain in chains(record.turns):
        for turn in chain:
            kept = _cropped_turn(turn, window, record)
            if kept is None:
                break
            turns.append(kept)
    if not turns or len(turns) < MIN_KEPT_TURNS * len(record.turns):
        return None
    cut = np.ascontiguousarray(rgb[top:bottom, left:right])
    return cut, replace(record, turns=tuple(turns), width=right - left, height=bottom - top)


def _draw_crop(rgb: RgbImage, record: Record, rng: np.random.Generator) -> Varied:
    for _ in range(_WINDOWS_TRIED):
        x1, y1, x2, y2 = draw_window(rng)
        left, top = math.floor(x1 * record.width), math.floor(y1 * record.height)
        right = min(max(round(x2 * record.width), left + 1), record.width)
        bottom = min(max(round(y2 * record.height), top + 1), record.height)
        cut = crop(rgb, record, (left, top, right, bottom))
        if cut is not None:
            return cut
    return rgb, record


def _cropped_turn(turn: RecordTurn, window: WindowPx, record: Record) -> RecordTurn | None:
    whole = (0, 0, record.width, record.height)
    if window == whole:
        return turn
    if about_whole(turn):
        return None
    least = _UNCUT if reads_text(turn) else MIN_KEPT_AREA
    cut = partial(_cut, window=window, size=(record.width, record.height), least=least)
    return _with_regions(turn, cut, cut)


def _cut(region: Region, window: WindowPx, size: tuple[int, int], least: float) -> Region | None:
    """Return the region in pixels of the window; None below the share `least` of its area."""
    left, top, right, bottom = window
    try:
        before = region.clipped(*size)
        moved = tuple((x - left, y - top) for x, y in before.points_px)
        after = replace(before, points_px=moved).clipped(right - left, bottom - top)
    except RegionError:
        return None
    return after if _area(after) >= least * _area(before) else None


def rotate(rgb: RgbImage, record: Record, degrees: float) -> Varied | None:
    """Rotate the image about its centre by a small angle, clockwise as seen; its size stays.

    None where the box of an answer would become loose, or a region would lose its area.
    """
    check_size(record, rgb.shape[1], rgb.shape[0])
    width, height = record.width, record.height
    matrix = _turning(width, height, degrees)

    def moved(region: Region) -> Region:
        points = np.array(region.points_px) @ matrix[:, :2].T + matrix[:, 2]
        inside = np.clip(points, 0.0, (width, height))
        return replace(region, points_px=tuple((float(x), float(y)) for x, y in inside))

    turned = partial(_turned, moved=moved, size=(width, height))
    asked, answered = partial(turned, loose=True), partial(turned, loose=False)
    turns = [_with_regions(turn, asked, answered) for turn in record.turns]
    whole = tuple(turn for turn in turns if turn is not None)
    if len(whole) < len(turns):
        return None
    # OpenCV's origin is the centre of the first pixel.
    half = np.array([0.5, 0.5])
    shift = matrix[:, :2] @ half + matrix[:, 2] - half
    colour = tuple(float(value) for value in rgb.reshape(-1, 3).mean(0).round())
    picture = cv2.warpAffine(
        np.ascontiguousarray(rgb), np.column_stack([matrix[:, :2], shift]), (width, height),
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=colour,
    )  # fmt: skip
    return np.asarray(picture, np.uint8), replace(record, turns=whole)


def _turning(width: int, height: int, degrees: float) -> NDArray[np.float64]:
    """Return the 2 x 3 matrix for points (x, y) in pixels that keeps the image inside itself."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    spread = (width * abs(cosine) + height * abs(sine)) / width
    rise = (width * abs(sine) + height * abs(cosine)) / height
    turn = np.array([[cosine, -sine], [sine, cosine]]) / max(spread, rise)
    middle = np.array([width / 2, height / 2])
    return np.column_stack([turn, middle - turn @ middle])


def _turned(
    region: Region, moved: Callable[[Region], Region], size: tuple[int, int], loose: bool
) -> Region | None:
    """Return the moved region; a loose box becomes a polygon, or None unless `loose`."""
    if region.kind is RegionKind.IMAGE:
        return region
    try:
        region = region.clipped(*size)
        if region.kind is not RegionKind.BOX:
            return moved(region).clipped(*size)
        outline = moved(replace(region, points_px=_corners(region)))
        around = replace(outline, points_px=Region.box(*outline.box_xyxy_px).points_px)
        tight = _area(outline) >= MIN_TIGHTNESS * _area(around)
        if not tight and not loose:
            return None
        return (around if tight else outline).clipped(*size)
    except RegionError:
        return None


def _corners(box: Region) -> tuple[Point, ...]:
    left, top, right, bottom = box.box_xyxy_px
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _area(region: Region) -> float:
    """Return the area in square pixels; 1 for a point."""
    if region.kind is RegionKind.POINT:
        return 1.0
    points = _corners(region) if region.kind is RegionKind.BOX else region.points_px
    return float(Polygon(points).area)


def _with_regions(
    turn: RecordTurn,
    asked: Callable[[Region], Region | None],
    answered: Callable[[Region], Region | None],
) -> RecordTurn | None:
    """Return the turn with changed regions; None where a region is lost."""
    regions = _all(map(asked, turn.regions))
    answers = _all(map(answered, turn.answer_regions))
    if regions is None or answers is None:
        return None
    return replace(turn, regions=regions, answer_regions=answers)


def _all(regions: Iterable[Region | None]) -> tuple[Region, ...] | None:
    found = list(regions)
    kept = tuple(region for region in found if region is not None)
    return kept if len(kept) == len(found) else None
