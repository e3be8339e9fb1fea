"""Files for the finetuning of Qwen2.5-VL and Qwen3-VL (QwenLM/Qwen3-VL, qwen-vl-finetune).

Places in texts are JSON: `{"bbox_2d": [x1, y1, x2, y2], "label": "mug"}` or `{"point_2d": [x, y]}`,
one or a list, in a code block or not. Their numbers are pixels of the picture (Qwen2.5-VL) or
thousandths of its sides (Qwen3-VL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

from chatspot_ros.core.regions import REGION_MARK, Region, RegionKind
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.dialogues import list_or_lines, read_dialogue
from chatspot_train.data.sources.json_reader import Schema, box_xyxy
from chatspot_train.data.sources.registry import register

PIXELS, THOUSANDTHS = "pixels", "thousandths"
_CODE_BLOCK = re.compile(r"^\s*```\w*\s*(.*?)\s*```\s*$", re.DOTALL)
_OBJECT = re.compile(r'\{[^{}]*"(?:bbox|point)_2d"[^{}]*\}')
_MENTIONS = re.compile(r"\b(?:bbox|point)_2d\b")


class _Place(Schema):
    bbox: tuple[float, float, float, float] | None = Field(None, alias="bbox_2d")
    point: tuple[float, float] | None = Field(None, alias="point_2d")
    label: str = ""


def _entries(job: Job) -> Iterator[Entry]:
    """Yield the entries; those of a list that were packed together one by one."""
    for where, raw in list_or_lines(job):
        if isinstance(raw, list):
            yield from ((f"{where}[{k}]", one) for k, one in enumerate(raw))
        else:
            yield where, raw


def _place(raw: Any, size: tuple[int, int], form: str) -> tuple[str, Region]:
    """Return label and region (pixels) of an object. Raises SkipError where it says more, or where
    a number is outside the scale."""
    more = sorted({*raw} - {"bbox_2d", "point_2d", "label"}) if isinstance(raw, dict) else ["?"]
    place = _Place.model_validate(raw)
    numbers = place.bbox or place.point
    if more or numbers is None or (place.bbox and place.point):
        raise SkipError("an object is not a place and its label", raw)
    ends = size if form == PIXELS else (1000, 1000)
    if not all(0 <= number <= ends[k % 2] for k, number in enumerate(numbers)):
        limit = "the picture, in pixels" if form == PIXELS else "0 to 1000"
        raise SkipError(f"a place has a number outside {limit} (--regions)", raw)
    scaled = [number * size[k % 2] / ends[k % 2] for k, number in enumerate(numbers)]
    region = box_xyxy(scaled) if place.bbox else Region.point(*scaled)
    return " ".join(place.label.split()), region.clipped(*size)


def _with_regions(text: str, size: tuple[int, int], form: str) -> tuple[str, tuple[Region, ...]]:
    """Return the text with `<region>` for each object, behind its label, and the regions.

    Raises SkipError for an object that cannot be read.
    """
    found: list[Region] = []

    def take(match: re.Match[str]) -> str:
        label, region = _place(_parsed(match[0]), size, form)
        found.append(region)
        return f"{label} {REGION_MARK}".strip()

    said = _OBJECT.sub(take, text)
    if _MENTIONS.search(said):
        raise SkipError("a place is not written as a JSON object", text)
    return said, tuple(found)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SkipError("a place is not written as a JSON object", text) from error


def _answer(text: str, size: tuple[int, int], form: str) -> tuple[str, tuple[Region, ...], str]:
    """Return text, regions and task of an answer; one that is nothing but boxes tells places."""
    said, regions = _with_regions(text, size, form)
    block = _CODE_BLOCK.match(text)
    try:
        loaded = json.loads(block[1] if block else text)
    except ValueError:
        return said, regions, ""
    listed = loaded if isinstance(loaded, list) else [loaded]
    if not regions or len(listed) != len(regions):
        return said, regions, ""
    places = [_place(one, size, form) for one in listed]
    said = ", ".join(f"{label} {REGION_MARK}".strip() for label, _ in places)
    boxes = all(region.kind is RegionKind.BOX for _, region in places)
    return said, tuple(region for _, region in places), "locate" if boxes else ""


def _turns(pairs: Iterable[tuple[str, str]], size: tuple[int, int], form: str) -> list[RecordTurn]:
    turns = []
    for question, answer in pairs:
        asked, regions = _with_regions(question, size, form)
        said, places, task = _answer(answer, size, form)
        turns.append(RecordTurn(asked, said, regions, task, places))
    return turns


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    """Keep or drop a whole dialogue: later turns depend on earlier ones."""
    dialogue = read_dialogue(raw, where, job)
    size = job.pictures.size(dialogue.image)
    turns = _turns(dialogue.pairs, size, job.regions)
    yield SOURCE.record(dialogue.key, dialogue.image, size, turns)


SOURCE = Source(
    name="qwen",
    licence="not stated (--licence)",
    tags=("image level", "detailed"),
    annotations="a JSON list, or JSON lines, with image and conversations, or with messages",
    entries=_entries,
    convert=_convert,
    region_forms=(PIXELS, THOUSANDTHS),
    takes=("blank",),
)
register(SOURCE)
