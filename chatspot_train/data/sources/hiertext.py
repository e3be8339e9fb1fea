"""HierText: lines of text in Open Images, with outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, list_entries
from chatspot_train.data.sources.region_reading import reading_turn
from chatspot_train.data.sources.registry import register


class _Paragraph(Schema):
    lines: tuple[dict[str, Any], ...]


class _Line(Schema):
    vertices: tuple[tuple[float, float], ...]
    text: str
    legible: bool


class _Picture(Schema):
    image_id: str
    image_width: int
    image_height: int
    paragraphs: tuple[Any, ...]


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    picture = _Picture.model_validate(raw)
    image = f"{picture.image_id}.jpg"
    size = job.pictures.size(image, (picture.image_width, picture.image_height))
    turns = []
    for p, loaded in enumerate(picture.paragraphs):
        with job.guard(f"{where}.paragraphs[{p}]"):
            for k, one in enumerate(_Paragraph.model_validate(loaded).lines):
                with job.guard(f"{where}.paragraphs[{p}].lines[{k}]"):
                    line = _Line.model_validate(one)
                    if not line.legible:
                        raise SkipError("the text is not legible", line.text)
                    if len(line.vertices) < 3:
                        raise SkipError("an outline of fewer than 3 corners", line.vertices)
                    outline = Region.polygon(line.vertices)
                    key = ("hiertext", picture.image_id, p, k)
                    turns.append(reading_turn(line.text, outline, size, *key))
    yield from SOURCE.records(picture.image_id, image, size, turns)


# The file is one JSON object, in spite of its suffix .jsonl.
SOURCE = Source(
    name="hiertext",
    licence="HierText: CC BY-SA 4.0; the pictures are Open Images', CC BY 2.0",
    tags=("region level", "short", "text"),
    annotations="gt/train.jsonl.gz",
    entries=lambda job: list_entries(job, "annotations"),
    convert=_convert,
)
register(SOURCE)
