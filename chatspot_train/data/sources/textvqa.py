"""TextVQA: questions about text in Open Images, each answered by ten people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, clean, list_entries
from chatspot_train.data.sources.registry import register
from chatspot_train.data.sources.text_questions import majority

# Annotators entered this for a question that is not about text; it is not an answer.
NOT_AN_ANSWER = "answering does not require reading text in the image"


class _Question(Schema):
    question_id: str
    question: str
    image_id: str
    answers: tuple[str, ...]
    set_name: str = ""


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    entry = _Question.model_validate(raw)
    answer = majority(entry.answers)
    if answer.casefold() == NOT_AN_ANSWER:
        raise SkipError("most people said that the question is not about text", entry.question)
    image = f"{entry.image_id}.jpg"
    # image_width and image_height in the file are those of the original, not of the published one.
    size = job.pictures.size(image)
    turn = RecordTurn(clean(entry.question), answer)
    yield SOURCE.record(entry.question_id, image, size, [turn], entry.set_name)


SOURCE = Source(
    name="textvqa",
    licence="TextVQA: CC BY 4.0; the pictures are Open Images', CC BY 2.0",
    tags=("image level", "short", "text"),
    annotations="TextVQA_0.5.1_train.json",
    entries=lambda job: list_entries(job, "data"),
    convert=_convert,
)
register(SOURCE)
