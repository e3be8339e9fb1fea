"""OCR-VQA: several questions about each book cover."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, clean, mapping_entries
from chatspot_train.data.sources.registry import register

SPLITS = {1: "train", 2: "val", 3: "test"}


class _Book(Schema):
    split: int
    image_url: str = Field(alias="imageURL")
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def _entries(job: Job) -> list[Entry]:
    """Return the books of the wanted split, and those without one, which are then reported."""
    wanted = {number for number, name in SPLITS.items() if name == job.split}
    found = mapping_entries(job)
    if not wanted:
        return found
    return [
        (where, (key, book)) for where, (key, book) in found
        if not isinstance(book, dict) or book.get("split") in wanted or "split" not in book
    ]  # fmt: skip


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    key, loaded = raw
    book = _Book.model_validate(loaded)
    if book.split not in SPLITS:
        raise SkipError("the split is none of 1, 2, 3", book.split)
    if len(book.questions) != len(book.answers):
        raise SkipError(
            "not as many answers as questions", f"{len(book.answers)} for {len(book.questions)}"
        )
    # The images are saved under the book's key, with the suffix of their URL.
    image = f"{key}{PurePosixPath(book.image_url).suffix}"
    size = job.pictures.size(image)
    turns = []
    for k, (question, answer) in enumerate(zip(book.questions, book.answers, strict=True)):
        with job.guard(f"{where}.questions[{k}]"):
            turns.append(RecordTurn(clean(question), clean(answer)))
    yield from SOURCE.records(key, image, size, turns, SPLITS[book.split])


SOURCE = Source(
    name="ocr_vqa",
    licence="OCR-VQA: for research; the covers belong to their publishers",
    tags=("image level", "short", "text"),
    annotations="dataset.json",
    entries=_entries,
    convert=_convert,
    splits=tuple(SPLITS.values()),
)
register(SOURCE)
