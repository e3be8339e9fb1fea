"""What a person noted about pictures: a caption, things, counts, print, the room, questions.

One JSON object a line: `{"file_name", "caption", "things": [["lamp", "left, on the desk"], ...],
"counts": {"lamp": 1}, "text": ["EXIT"], "room": "hall", "questions": [["Is it lit?", "Yes."],
...]}`; all but `file_name` may be left out. A thing that is counted as 0 is not there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.asides import aside, wants_aside
from chatspot_train.data.sources.base import TURNS_PER_RECORD, Entry, Job, Source, draw_number
from chatspot_train.data.sources.json_reader import Schema, json_lines
from chatspot_train.data.sources.photo_wordings import ask, plural, there_text
from chatspot_train.data.sources.registry import register

MOST_PRINT = 80  # characters that one answer may have to read
MOST_LISTED = 10
RARE = 0.02  # of the pictures of a room: a thing in fewer of them is unusual there
KNOWN = 3  # a thing is asked for in vain if so many pictures have it
UNTOLD_ROOMS = ("", "other", "outdoor")


class Note(Schema):
    """What was noted about one picture."""

    file_name: str
    caption: str = ""
    things: tuple[tuple[str, str], ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    text: tuple[str, ...] = ()
    room: str = ""
    questions: tuple[tuple[str, str], ...] = ()

    def names(self) -> list[str]:
        """Return the names of the things, each once."""
        return list(dict.fromkeys(name for name, _ in self.things))

    def words(self) -> set[str]:
        """Return all words of the note, small."""
        said = [self.caption, *self.text, *(one for pair in self.things for one in pair),
                *(name for name, count in self.counts.items() if count),
                *(one for pair in self.questions for one in pair)]  # fmt: skip
        return {word.strip(".,;:!?()'\"").lower() for one in said for word in one.split()}


@dataclass(frozen=True)
class _Known:
    """Which things the pictures of each room have, over the whole file."""

    pictures: Counter[str]
    by_room: dict[str, Counter[str]]
    rooms: Counter[str]

    def unusual(self, note: Note) -> list[str]:
        """Return names of things that the note does not name and that such rooms usually lack."""
        words = note.words()
        here = self.by_room[note.room]
        return sorted(
            name for name, count in self.pictures.items()
            if count >= KNOWN and here[name] <= RARE * self.rooms[note.room]
            and not any(word in words or plural(word) in words for word in name.lower().split())
        )  # fmt: skip


def _entries(job: Job) -> Iterator[Entry]:
    """Yield (note, what is known of all); a line that is no note goes on as it is."""
    lines = list(json_lines(job))
    known = _Known(Counter(), defaultdict(Counter), Counter())
    for _, raw in lines:
        try:
            note = Note.model_validate(raw)
        except ValueError:  # reported when it is converted
            continue
        known.pictures.update(note.names())
        known.by_room[note.room].update(note.names())
        known.rooms[note.room] += 1
    for where, raw in lines:
        yield where, (raw, known)


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    fields, known = raw
    note = Note.model_validate(fields)
    size = job.pictures.size(note.file_name)
    key = ("notes", note.file_name, *job.draw_key)
    rng = np.random.default_rng(draw_number(2**32, *key))
    turns = list(_turns(note, known, rng))
    if wants_aside(len(turns), *key):
        turns.append(aside(*key))
    turns = [turns[int(k)] for k in rng.permutation(len(turns))][:TURNS_PER_RECORD]
    yield SOURCE.record(note.file_name, note.file_name, size, turns)


def _turns(note: Note, known: _Known, rng: np.random.Generator) -> Iterator[RecordTurn]:
    for question, answer in note.questions:
        if question.strip() and answer.strip():
            yield RecordTurn(question.strip(), answer.strip())
    if note.caption.strip():
        yield RecordTurn(ask("scene", rng)[0], note.caption.strip(), (), "describe")
    names = note.names()
    if names:
        yield RecordTurn(ask("listing", rng)[0], ", ".join(names[:MOST_LISTED]))
    yield from _presence(names, known.unusual(note), rng)
    yield from _counts(note, rng)
    yield from _places(note, rng)
    print_ = ", ".join(note.text)
    if 0 < len(print_) <= MOST_PRINT:
        yield RecordTurn(ask("text", rng)[0], print_, (), "read")
    if note.room not in UNTOLD_ROOMS:
        yield RecordTurn(ask("room", rng)[0], note.room)


def _presence(
    names: Sequence[str], unusual: Sequence[str], rng: np.random.Generator
) -> Iterator[RecordTurn]:
    for some, there in ((names, True), (unusual, False)):
        if names and unusual:  # or all answers were the same
            name = some[int(rng.integers(len(some)))]
            question, _ = ask("is_there_scene", rng, thing=name)
            yield RecordTurn(question, there_text(name, there))


def _counts(note: Note, rng: np.random.Generator) -> Iterator[RecordTurn]:
    """Yield the count of a thing that is there, and in a third of the pictures of one that is
    not."""
    there = [name for name, count in note.counts.items() if count > 0]
    absent = [name for name, count in note.counts.items() if count == 0]
    for some, share in ((there, 1.0), (absent, 0.33)):
        if some and rng.random() < share:
            name = some[int(rng.integers(len(some)))]
            question, _ = ask("count", rng, things=plural(name))
            yield RecordTurn(question, str(note.counts[name]))


def _places(note: Note, rng: np.random.Generator) -> Iterator[RecordTurn]:
    """Yield the place, in words, of a thing whose name occurs once."""
    counts = Counter(name for name, _ in note.things)
    single = [(name, place) for name, place in note.things if counts[name] == 1 and place.strip()]
    if single:
        name, place = single[int(rng.integers(len(single)))]
        yield RecordTurn(ask("place", rng, thing=name)[0], place.strip())


SOURCE = Source(
    name="notes",
    licence="not stated (--licence)",
    tags=("image level", "short"),
    annotations="JSON lines: file_name, caption, things, counts, text, room, questions",
    entries=_entries,
    convert=_convert,
    takes=("seed",),
)
register(SOURCE)
