"""ArT: curved and slanted text, Latin and Chinese, with outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, mapping_entries
from chatspot_train.data.sources.region_reading import reading_turn
from chatspot_train.data.sources.registry import register

IGNORED = "###"


class _Text(Schema):
    transcription: str
    points: tuple[tuple[float, float], ...]
    illegibility: bool = False


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    """Convert an image: `gt_N` is a scene (task 1), `res_N` a word cut out of a scene (task 2)."""
    key, texts = raw
    if not isinstance(texts, list):
        raise SkipError("a picture's texts are not a list", texts)
    image = job.pictures.find((f"{key}.jpg", f"{key}.png"))
    size = job.pictures.size(image)
    turns = []
    for k, one in enumerate(texts):
        with job.guard(f"{where}[{k}]"):
            text = _Text.model_validate(one)
            if text.illegibility or text.transcription.strip() == IGNORED:
                raise SkipError("the text is not legible", text.transcription)
            if len(text.points) < 3:
                raise SkipError("an outline of fewer than 3 corners", text.points)
            outline = Region.polygon(text.points)
            turns.append(reading_turn(text.transcription, outline, size, "art", key, k))
    yield from SOURCE.records(key, image, size, turns)


SOURCE = Source(
    name="art",
    licence="ICDAR 2019 ArT: for research, under the terms of the competition",
    tags=("region level", "short", "text"),
    annotations="train_labels.json",
    entries=mapping_entries,
    convert=_convert,
)
register(SOURCE)
