"""Dialogues about one picture, as files for instruction tuning hold them.

An entry has `image` (or `images`) and `conversations`: messages with `from` (human, gpt) and
`value`; or `messages` with `role` (user, assistant, system) and `content`, a text or a list of
parts of the `type` text or image. `<image>` in a question, or a part, stands for the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from chatspot_train.data.sources.base import Entry, Job, SourceError
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, json_lines, list_entries

PICTURE_MARK = "<image>"
_ASKS, _ANSWERS, _SYSTEM = ("human", "user"), ("gpt", "assistant"), "system"
_OTHER_MEDIA = ("video", "videos", "audio", "audios")


class _Address(Schema):
    url: str


class _Part(Schema):
    type: str
    text: str = ""
    image: str = ""
    image_url: str | _Address = ""

    @property
    def name(self) -> str:
        """The name of its picture; empty: the entry names it."""
        address = self.image_url
        return self.image or (address if isinstance(address, str) else address.url)


class _Message(Schema):
    speaker: str = Field(validation_alias=AliasChoices("from", "role"))
    content: str | tuple[_Part, ...] = Field(validation_alias=AliasChoices("value", "content"))


class _Dialogue(Schema):
    id: str | None = None
    image: str | tuple[str, ...] | None = None
    images: str | tuple[str, ...] | None = None
    system: str | None = None
    messages: tuple[_Message, ...] = Field(
        validation_alias=AliasChoices("conversations", "messages"), min_length=1
    )


@dataclass(frozen=True)
class Dialogue:
    """`key` is its id or, without one, its place in the file; `image` the name of its picture;
    `pairs` are questions, without `<image>`, with their answers."""

    key: str
    image: str
    pairs: list[tuple[str, str]]


def list_or_lines(job: Job) -> Iterable[Entry]:
    """Return the entries of a JSON list, or of a file of JSON lines. Raises SourceError."""
    path = job.annotations
    if path.suffix == ".jsonl" or _first_character(path) == b"{":
        return json_lines(job)
    return list_entries(job)


def _first_character(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    except OSError as error:
        raise SourceError(
            f"the annotations cannot be read ({error.strerror})", value=path,
            remedy="give a JSON file with --annotations",
        ) from error  # fmt: skip


def read_dialogue(raw: Any, where: str, job: Job) -> Dialogue:
    """Read an entry. What stands before the first question, and a last question without an answer,
    is reported and left out.

    Raises SkipError where it has no picture, several, or other media, or its turns are not pairs.
    """
    for name in _OTHER_MEDIA:
        if isinstance(raw, dict) and raw.get(name):
            raise SkipError(f"the dialogue has {name}, not a picture", raw[name])
    entry = _Dialogue.model_validate(raw)
    texts = [(one.speaker.lower(), _text(one)) for one in entry.messages]
    image = _one_picture(entry, [text for _, text in texts], job)
    if entry.system:
        _leave_out("a system message is left out", entry.system, f"{where}, system", job)
    key = entry.id or where.removeprefix("line ").strip("[]")
    return Dialogue(key, job.pictures.relative(image), list(_pairs(texts, where, job)))


def _text(message: _Message) -> str:
    """Return a message's text, with `<image>` for each part that is a picture."""
    if isinstance(message.content, str):
        return message.content
    words = []
    for part in message.content:
        if part.type not in ("text", "image", "image_url"):
            raise SkipError("a message has a part that is neither text nor a picture", part.type)
        words.append(part.text if part.type == "text" else PICTURE_MARK)
    return "".join(words)


def _one_picture(entry: _Dialogue, texts: Sequence[str], job: Job) -> str:
    parts = [
        part.name for one in entry.messages if not isinstance(one.content, str)
        for part in one.content
    ]  # fmt: skip
    listed = (*_listed(entry.image), *_listed(entry.images), *parts)
    names = list(dict.fromkeys(name for name in listed if name))
    marks = sum(text.count(PICTURE_MARK) for text in texts)
    if len(names) > 1 or marks > 1:
        raise SkipError("the dialogue has several pictures", ", ".join(names) or f"{marks} marks")
    if not names and marks:
        raise SkipError(f"the dialogue names no picture for its {PICTURE_MARK}", entry.id)
    if not names and not job.blank:
        raise SkipError("the dialogue has no picture, and no --blank is given", entry.id)
    return names[0] if names else job.blank


def _listed(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names or ()


def _leave_out(reason: str, text: str, place: str, job: Job) -> None:
    job.report.drop(job.annotations, place, SkipError(reason, text))


def _pairs(texts: Sequence[tuple[str, str]], where: str, job: Job) -> Iterator[tuple[str, str]]:
    question: str | None = None
    begun = False
    for k, (speaker, text) in enumerate(texts):
        place = f"{where}, message {k}"
        if speaker in _ASKS and question is None:
            question, begun = without_mark(text), True
        elif speaker in _ANSWERS and question is not None:
            if PICTURE_MARK in text:
                raise SkipError(f"an answer holds {PICTURE_MARK}", text)
            yield question, text.strip()
            question = None
        elif speaker == _SYSTEM and not begun:
            _leave_out("a system message is left out", text, place, job)
        elif speaker in _ANSWERS and not begun:
            _leave_out("an answer stands before the first question", text, place, job)
        else:
            raise SkipError("the turns are not pairs of a question and an answer", speaker)
    if question is not None:
        _leave_out("the last question has no answer", question, where, job)


def without_mark(question: str) -> str:
    """Return a question without `<image>`, wherever it stands, and the spaces around it."""
    pieces = (piece.strip() for piece in question.split(PICTURE_MARK))
    return " ".join(piece for piece in pieces if piece)
