"""DocVQA: questions about scanned documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from chatspot_train.data.records import Record
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.json_reader import Schema, list_entries
from chatspot_train.data.sources.registry import register
from chatspot_train.data.sources.text_questions import first_answer


class _Question(Schema):
    question_id: str = Field(alias="questionId")
    question: str
    image: str
    answers: tuple[str, ...]
    data_split: str = ""


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    entry = _Question.model_validate(raw)
    turn = first_answer(entry.question, entry.answers)
    size = job.pictures.size(entry.image)
    yield SOURCE.record(entry.question_id, entry.image, size, [turn], entry.data_split)


SOURCE = Source(
    name="docvqa",
    licence="DocVQA: for research, under the terms that are accepted on downloading it",
    tags=("image level", "short", "text"),
    annotations="train_v1.0.json",
    entries=lambda job: list_entries(job, "data"),
    convert=_convert,
)
register(SOURCE)
