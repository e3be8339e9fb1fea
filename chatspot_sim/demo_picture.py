"""The demo's picture: regions on the camera's image, and a legend of questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import PALETTE, Note, annotate
from chatspot_sim.demo_report import Result

PANEL_WIDTH = 860
_MARGIN = 16
_FONT_SIZE = 19
_LINE = 26
_PAPER, _INK, _RIGHT, _WRONG = (250, 250, 248), (25, 25, 30), (0, 120, 50), (190, 20, 30)
_SHORT = 26  # characters of an answer beside its region


def draw(image_rgb: RgbImage, results: Sequence[Result]) -> RgbImage:
    """Draw numbered regions; a question about several regions gets a panel beside.

    The legend below lists every question with its answer, and the truth beside a wrong answer.
    """
    panels = [_panel(image_rgb, [_note(n, r) for n, r in enumerate(results, 1) if not r.marks])]
    for number, result in enumerate(results, start=1):
        if result.marks:
            notes = [Note((region,), f"{number} {text}") for region, text, _ in result.marks]
            panels.append(_panel(image_rgb, notes))
    picture = np.concatenate(_spaced(panels), axis=1)
    return np.concatenate([picture, _legend(results, picture.shape[1])], axis=0)


def save(picture: RgbImage, file: Path) -> None:
    """Write the picture (RGB) as the format of the file's name. Raises OSError or ValueError."""
    Image.fromarray(picture).save(file)


def _note(number: int, result: Result) -> Note:
    text = result.answer if len(result.answer) <= _SHORT else result.answer[: _SHORT - 3] + "..."
    if not result.asked and not result.grounded:
        return Note((), "")  # about the whole image: in the legend only
    regions = result.asked or result.grounded
    grounded = result.grounded if result.asked else ()
    # Without label: it would be a second text on the same box.
    bare = tuple(Region(region.points_px) for region in grounded)
    said = "here" if not result.asked and result.grounded else text
    return Note(regions, f"{number} {said}", bare)


def _panel(image_rgb: RgbImage, notes: list[Note]) -> RgbImage:
    """Scale the picture and its regions to the panel's width."""
    height, width = image_rgb.shape[:2]
    scale = PANEL_WIDTH / width
    size = (PANEL_WIDTH, max(1, round(height * scale)))
    large = cv2.resize(
        image_rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    grown = [
        Note(
            tuple(_grown(region, scale) for region in note.regions),
            note.text,
            tuple(_grown(region, scale) for region in note.grounded),
        )
        for note in notes
    ]
    return annotate(np.asarray(large, np.uint8), grown)


def _grown(region: Region, scale: float) -> Region:
    return Region(tuple((x * scale, y * scale) for x, y in region.points_px))


def _spaced(panels: list[RgbImage]) -> list[RgbImage]:
    gap = np.full((panels[0].shape[0], _MARGIN // 2, 3), _PAPER, np.uint8)
    spaced = [panels[0]]
    for panel in panels[1:]:
        spaced += [gap, panel]
    return spaced


def _legend(results: Sequence[Result], width: int) -> RgbImage:
    """Draw number, question, answer, and the truth after a wrong one; two columns if they fit."""
    columns = 2 if width > 1.5 * PANEL_WIDTH else 1
    rows = -(-len(results) // columns)
    font = ImageFont.load_default(_FONT_SIZE)
    entry = 2 * _LINE + 8
    paper = Image.new("RGB", (width, rows * entry + 2 * _MARGIN), _PAPER)
    pen = ImageDraw.Draw(paper)
    column_width = width // columns
    for k, result in enumerate(results):
        x = _MARGIN + (k // rows) * column_width
        y = _MARGIN + (k % rows) * entry
        badge = PALETTE[_colour_number(results, k) % len(PALETTE)]
        pen.rounded_rectangle((x, y + 2, x + 34, y + _LINE), 5, fill=badge)
        pen.text((x + 17, y + 2 + (_LINE - 2) / 2), str(k + 1), (0, 0, 0), font, anchor="mm")
        room = column_width - 2 * _MARGIN - 46
        where = f"{result.question}  ({result.where})"
        pen.text((x + 46, y), _cut(where, font, room), _INK, font)
        wrong = result.right is False
        said = f"{result.answer}   (truth: {result.truth})" if wrong else result.answer
        colour = _WRONG if wrong else _RIGHT if result.right else _INK
        pen.text((x + 46, y + _LINE), _cut(said, font, room), colour, font)
    return np.asarray(paper, np.uint8)


def _colour_number(results: Sequence[Result], index: int) -> int:
    """Return the number of a note's colour: its index among the results without marks."""
    return sum(1 for result in results[:index] if not result.marks)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """Return the text, cut to at most `room` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."
