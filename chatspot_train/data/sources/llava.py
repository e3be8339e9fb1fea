"""LLaVA's conversations (haotian-liu/LLaVA, docs/Finetune_Custom_Data.md), as a JSON list or lines.

Boxes in its texts, `[0.1, 0.2, 0.3, 0.4]` for left, top, right, bottom, stay as they are, or are
read as fractions: of the picture, or of the picture padded to a square, which is what LLaVA-1.5's
own data has (https://github.com/haotian-liu/LLaVA/issues/606).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.dialogues import list_or_lines, read_dialogue
from chatspot_train.data.sources.json_reader import box_xyxy
from chatspot_train.data.sources.registry import register

KEEP, FRACTIONS, PADDED = "keep", "fractions", "padded"
_NUMBER = r"\s*-?\d*\.?\d+\s*"
_BOX = re.compile(rf"\[({_NUMBER}(?:,{_NUMBER}){{3}})\]")


def _with_regions(text: str, size: tuple[int, int], form: str) -> tuple[str, tuple[Region, ...]]:
    """Return the text with `<region>` for each box, and the boxes in pixels.

    A list of four whole numbers is no box. Raises SkipError for a number outside 0 to 1.
    """
    found: list[Region] = []

    def take(match: re.Match[str]) -> str:
        if "." not in match[1]:
            return match[0]
        numbers = [float(word) for word in match[1].split(",")]
        if not all(0 <= number <= 1 for number in numbers):
            raise SkipError("a box has a number that is no fraction from 0 to 1", match[0])
        found.append(_box(numbers, size, form).clipped(*size))
        return REGION_MARK

    return _BOX.sub(take, text), tuple(found)


def _box(numbers: list[float], size: tuple[int, int], form: str) -> Region:
    width, height = size
    side_x, side_y = (max(size), max(size)) if form == PADDED else size
    left, top = (side_x - width) / 2, (side_y - height) / 2
    x1, y1, x2, y2 = numbers
    return box_xyxy((x1 * side_x - left, y1 * side_y - top, x2 * side_x - left, y2 * side_y - top))


def _turn(question: str, answer: str, size: tuple[int, int], form: str) -> RecordTurn:
    if form == KEEP:
        return RecordTurn(question, answer)
    asked, regions = _with_regions(question, size, form)
    said, places = _with_regions(answer, size, form)
    task = "locate" if said == REGION_MARK else ""
    return RecordTurn(asked, said, regions, task, places)


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    """Keep or drop a whole dialogue: later turns depend on earlier ones."""
    dialogue = read_dialogue(raw, where, job)
    size = job.pictures.size(dialogue.image)
    turns = [_turn(*pair, size, job.regions) for pair in dialogue.pairs]
    yield SOURCE.record(dialogue.key, dialogue.image, size, turns)


SOURCE = Source(
    name="llava",
    licence="not stated (--licence)",
    tags=("image level", "detailed"),
    annotations="a JSON list, or JSON lines, with image and conversations",
    entries=list_or_lines,
    convert=_convert,
    region_forms=(KEEP, FRACTIONS, PADDED),
    takes=("blank",),
)
register(SOURCE)
