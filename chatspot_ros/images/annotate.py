"""Draw regions and their answers on a picture, readable from 320 to 3840 pixels of width."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region, RegionKind

Colour = tuple[int, int, int]

# Distinct in hue and in lightness, so that they stay apart for colour-blind eyes too (RGB).
PALETTE: tuple[Colour, ...] = (
    (255, 176, 0),
    (100, 143, 255),
    (220, 38, 127),
    (0, 190, 130),
    (254, 97, 0),
    (150, 110, 255),
)
_GROUNDED: Colour = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Before version 5, OpenCV's fonts have ASCII only; other common characters are replaced.
_ASCII = str.maketrans(
    {"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "°": " deg", "…": "...",
     "ß": "ss", "æ": "ae", "ø": "o", "×": "x"}
)  # fmt: skip
_MAX_LINES = 3
# The divisor of the brightness behind a text, and the least luminance of a text (WCAG 2.2, 0 to 1):
# together a contrast of at least 4.5, also on a white picture.
_SHADE = 8
_LEAST_LUMINANCE = 0.3


@dataclass(frozen=True)
class Note:
    """One answer to draw: regions in one colour, the text beside the first, grounded regions."""

    regions: tuple[Region, ...]
    text: str
    grounded: tuple[Region, ...] = ()


@dataclass(frozen=True)
class _Pen:
    line: int
    scale: float
    text_line: int
    text_height: int

    @classmethod
    def for_image(cls, height: int, width: int) -> _Pen:
        """Return sizes for a picture: text of about 1/40 of its extent, at least 11 pixels."""
        extent = min(width * 0.75, height)
        scale = max(0.45, extent / 1000)
        return cls(
            line=max(1, round(extent / 300)),
            scale=scale,
            text_line=max(1, round(scale * 1.4)),
            text_height=round(22 * scale) + 1,
        )


def annotate(image_rgb: RgbImage, notes: Sequence[Note]) -> RgbImage:
    """Return a copy of the picture (uint8 H x W x 3, RGB) with the notes drawn on it.

    A point becomes a cross in a circle, a box and a polygon their outline, the whole image its
    border; grounded regions are thin and white. Texts lie on dark boxes inside the picture and do
    not overlap while there is room.
    """
    picture = np.ascontiguousarray(image_rgb).copy()
    pen = _Pen.for_image(*picture.shape[:2])
    for number, note in enumerate(notes):
        for region in note.regions:
            _draw_region(picture, region, PALETTE[number % len(PALETTE)], pen)
        for region in note.grounded:
            _draw_region(picture, region, _GROUNDED, pen)
    taken: list[tuple[int, int, int, int]] = []
    for number, note in enumerate(notes):
        lines = _wrap(note.text, picture.shape[1], pen)
        if lines:
            anchor = note.regions[0] if note.regions else Region.image()
            taken.append(
                _draw_text(picture, lines, anchor, PALETTE[number % len(PALETTE)], pen, taken)
            )
        for region in note.grounded:
            if region.label:
                lines = _wrap(region.label, picture.shape[1], pen)
                taken.append(_draw_text(picture, lines, region, _GROUNDED, pen, taken))
    return picture


def _draw_region(picture: RgbImage, region: Region, colour: Colour, pen: _Pen) -> None:
    """Draw the region wide in black, then in colour, to be visible on any background."""
    height, width = picture.shape[:2]
    for ink, line in (((0, 0, 0), pen.line + max(2, pen.line // 2)), (colour, pen.line)):
        if region.kind is RegionKind.IMAGE:
            cv2.rectangle(picture, (0, 0), (width - 1, height - 1), ink, line)
        elif region.kind is RegionKind.POINT:
            x, y = _pixel(region.points_px[0], width, height)
            radius = pen.line * 5
            cv2.circle(picture, (x, y), radius, ink, line, cv2.LINE_AA)
            cv2.line(picture, (x - radius, y), (x + radius, y), ink, line)
            cv2.line(picture, (x, y - radius), (x, y + radius), ink, line)
        elif region.kind is RegionKind.BOX:
            x1, y1, x2, y2 = region.box_xyxy_px
            cv2.rectangle(
                picture, _pixel((x1, y1), width, height), _pixel((x2, y2), width, height), ink, line
            )
        else:
            outline = np.array([_pixel(p, width, height) for p in region.points_px], dtype=np.int32)
            cv2.polylines(picture, [outline], True, ink, line, cv2.LINE_AA)


def _pixel(point_px: tuple[float, float], width: int, height: int) -> tuple[int, int]:
    """Return the pixel that contains the point; right and bottom edges belong to the last pixel."""
    return min(max(int(point_px[0]), 0), width - 1), min(max(int(point_px[1]), 0), height - 1)


def _wrap(text: str, width: int, pen: _Pen) -> list[str]:
    letters = unicodedata.normalize("NFKD", text.translate(_ASCII))
    base = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = " ".join(base.encode("ascii", "replace").decode().split())
    characters = max(12, int(width * 0.6 / (19 * pen.scale)))
    return textwrap.wrap(plain, characters, max_lines=_MAX_LINES, placeholder=" ...")


def _draw_text(
    picture: RgbImage,
    lines: list[str],
    region: Region,
    colour: Colour,
    pen: _Pen,
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Draw lines on a dark box near the region; return the box (x1, y1, x2, y2 in pixels)."""
    height, width = picture.shape[:2]
    margin = max(2, pen.text_height // 4)
    step = pen.text_height + margin
    box_width = (
        max(cv2.getTextSize(line, _FONT, pen.scale, pen.text_line)[0][0] for line in lines)
        + 2 * margin
    )
    box_height = step * len(lines) + margin
    left, top = _place(
        region, (width, height), (box_width, box_height), taken, margin + pen.line * 5
    )
    box = (left, top, left + box_width, top + box_height)
    inside = picture[max(top, 0) : box[3], max(left, 0) : box[2]]
    inside[:] = inside // _SHADE
    ink = _readable(colour)
    for number, line in enumerate(lines):
        baseline = (left + margin, top + step * (number + 1) - margin // 2)
        cv2.putText(picture, line, baseline, _FONT, pen.scale, ink, pen.text_line, cv2.LINE_AA)
    return box


def _readable(colour: Colour) -> Colour:
    """Return the colour, lightened until it is readable on a dark box."""
    while luminance(colour) < _LEAST_LUMINANCE:
        red, green, blue = (value + (255 - value + 7) // 8 for value in colour)
        colour = (red, green, blue)
    return colour


def luminance(colour: Colour) -> float:
    """Return the relative luminance of an RGB colour, 0 to 1, as WCAG 2.2 defines it for sRGB."""
    linear = [
        value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
        for value in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _place(
    region: Region,
    image_wh: tuple[int, int],
    box_wh: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
    gap: int,
) -> tuple[int, int]:
    """Return a free place: above, below, right, left of or inside the region; else further down."""
    width, height = image_wh
    box_width, box_height = box_wh
    if region.kind is RegionKind.IMAGE:
        x1, y1, x2, y2 = 0.0, 0.0, float(width), float(height)
    else:
        x1, y1, x2, y2 = region.box_xyxy_px
    wishes = [
        (x1, y1 - box_height - gap),
        (x1, y2 + gap),
        (x2 + gap, y1),
        (x1 - box_width - gap, y1),
    ]
    wishes += [(x1 + gap, y1 + gap + n * (box_height + 1)) for n in range(12)]

    def inside(x: float, y: float) -> tuple[int, int]:
        return int(min(max(x, 0), max(width - box_width, 0))), int(
            min(max(y, 0), max(height - box_height, 0))
        )

    def is_free(x: int, y: int) -> bool:
        return not any(
            x < right and left < x + box_width and y < bottom and top < y + box_height
            for left, top, right, bottom in taken
        )

    fitting = [
        (round(x), round(y))
        for x, y in wishes
        if inside(x, y) == (int(x), int(y)) and x >= 0 and y >= 0
    ]
    for place in [*fitting, *(inside(x, y) for x, y in wishes)]:
        if is_free(*place):
            return place
    return inside(*wishes[0])
