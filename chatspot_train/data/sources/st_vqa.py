"""ST-VQA: questions about text in a scene, on images of several data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatspot_train.data.records import Record
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.json_reader import Schema, list_entries
from chatspot_train.data.sources.registry import register
from chatspot_train.data.sources.text_questions import first_answer


class _Question(Schema):
    question_id: str
    question: str
    answers: tuple[str, ...]
    file_path: str
    set_name: str = ""


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    entry = _Question.model_validate(raw)
    turn = first_answer(entry.question, entry.answers)
    size = job.pictures.size(entry.file_path)
    yield SOURCE.record(entry.question_id, entry.file_path, size, [turn], entry.set_name)


SOURCE = Source(
    name="st_vqa",
    licence="ST-VQA: CC BY 4.0 for the questions; the pictures under their data sets' own terms",
    tags=("image level", "short", "text"),
    annotations="train_task_3.json",
    entries=lambda job: list_entries(job, "data"),
    convert=_convert,
)
register(SOURCE)
