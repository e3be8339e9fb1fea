"""CC595K: LLaVA's selection of Conceptual Captions, one caption for each image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Job, Source, draw
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, clean, list_entries
from chatspot_train.data.sources.registry import register

# The file's own instructions ("<image>\nGive a brief description") ask for long and short answers,
# while every answer is a short caption: these questions always ask for a short one.
QUESTIONS = (
    "What is this a picture of?",
    "Give a caption for the picture.",
    "Say in one sentence what the picture shows.",
    "What would you write under this picture?",
    "Sum the picture up.",
    "In a few words, what is in the picture?",
)


class _Utterance(Schema):
    speaker: str = Field(alias="from")
    value: str


class _Chat(Schema):
    id: str
    image: str
    conversations: tuple[_Utterance, ...]

    def caption(self) -> str:
        """Return the first answer of the model's side. Raises SkipError where there is none."""
        for utterance in self.conversations:
            if utterance.speaker == "gpt":
                return clean(utterance.value)
        raise SkipError("nobody answers in the conversation", self.id)


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    chat = _Chat.model_validate(raw)
    caption = chat.caption()
    size = job.pictures.size(chat.image)
    turn = RecordTurn(draw(QUESTIONS, "cc595k", chat.id), caption)
    yield SOURCE.record(chat.id, chat.image, size, [turn])


SOURCE = Source(
    name="cc595k",
    licence="Conceptual Captions: free to use with credit to Google; the pictures belong to their "
    "owners",
    tags=("image level", "short"),
    annotations="chat.json",
    entries=list_entries,
    convert=_convert,
)
register(SOURCE)
