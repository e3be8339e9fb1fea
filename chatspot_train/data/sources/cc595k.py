"""CC595K: LLaVA's selection of Conceptual Captions, one caption for each image."""

from __future__ import annotations

import re
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


# Each of the file's own instructions asks for a caption in one of these words.
_ASKS_FOR_CAPTION = re.compile(
    r"descri|caption|explanation|summar|interpretation|account|narrative", re.IGNORECASE
)


class _Utterance(Schema):
    speaker: str = Field(alias="from")
    value: str


class _Chat(Schema):
    id: str
    image: str
    conversations: tuple[_Utterance, ...]

    def caption(self) -> str:
        """Return the answer. Raises SkipError where there is none, several, or one to a question of
        its own, which this source would lose."""
        answers = [one.value for one in self.conversations if one.speaker == "gpt"]
        asked = [one.value for one in self.conversations if one.speaker != "gpt"]
        if not answers:
            raise SkipError("nobody answers in the conversation", self.id)
        if len(answers) > 1 or len(asked) > 1:
            raise SkipError("the dialogue has several turns: use the source llava", self.id)
        if not all(map(_ASKS_FOR_CAPTION.search, asked)):
            raise SkipError("the question asks for no caption: use the source llava", asked[0])
        return clean(answers[0])


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
