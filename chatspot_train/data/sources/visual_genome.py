"""Visual Genome: phrases about regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Job, Source, draw
from chatspot_train.data.sources.image_folder import visual_genome_names
from chatspot_train.data.sources.json_reader import Schema, box_xywh, clean, list_entries
from chatspot_train.data.sources.registry import register

QUESTIONS = (
    "What is to be seen in <region>?",
    "Say in a few words what is in <region>.",
    "What is going on in <region>?",
    "Give a phrase for <region>.",
    "What would you say about <region> in one phrase?",
    "Sum up <region> in a few words.",
)


class _Region(Schema):
    region_id: int
    x: float
    y: float
    width: float
    height: float
    phrase: str


class _Picture(Schema):
    id: int
    regions: tuple[Any, ...]


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    picture = _Picture.model_validate(raw)
    image = job.pictures.find(visual_genome_names(picture.id))
    size = job.pictures.size(image)
    turns = []
    for k, one in enumerate(picture.regions):
        with job.guard(f"{where}.regions[{k}]"):
            said = _Region.model_validate(one)
            region = box_xywh((said.x, said.y, said.width, said.height)).clipped(*size)
            question = draw(QUESTIONS, "visual_genome", said.region_id)
            turns.append(RecordTurn(question, clean(said.phrase), (region,)))
    yield from SOURCE.records(str(picture.id), image, size, turns)


SOURCE = Source(
    name="visual_genome",
    licence="Visual Genome: CC BY 4.0",
    tags=("region level", "short"),
    annotations="region_descriptions.json",
    entries=list_entries,
    convert=_convert,
)
register(SOURCE)
