"""A person's notes about pictures become questions with the answers as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from own_files import Build, drops

from chatspot_train.data.records import RecordTurn

NOTE: dict[str, Any] = {
    "file_name": "a.jpg", "caption": "A red hall with a lamp.", "room": "hall", "text": ["EXIT"],
    "things": [["lamp", "left, on the desk"], ["door", "right"], ["door", "middle"]],
    "counts": {"door": 2, "person": 0}, "questions": [["Is it lit?", "Yes, by a lamp."]],
}  # fmt: skip
KITCHEN = {"file_name": "b.jpg", "room": "kitchen", "things": [["stove", "left"]]}


def lines(*notes: dict[str, Any]) -> str:
    return "".join(json.dumps(note) + "\n" for note in notes)


def turns(build: Build, *notes: dict[str, Any]) -> list[RecordTurn]:
    return [turn for record in build("notes", lines(*notes)) for turn in record.turns]


def test_what_was_noted_is_asked_for(build: Build) -> None:
    found = turns(build, NOTE)
    said = {turn.answer: turn for turn in found}
    assert said["Yes, by a lamp."].question == "Is it lit?"
    assert said["A red hall with a lamp."].task == "describe"
    assert said["EXIT"].task == "read"
    assert "doors" in said["2"].question
    assert "lamp" in said["left, on the desk"].question
    assert {"hall", "lamp, door"} <= set(said)
    assert not any(turn.regions for turn in found if not turn.answer.endswith("."))


def test_what_such_rooms_lack_is_not_there(build: Build) -> None:
    notes = [NOTE] + [KITCHEN] * 4 + [{**NOTE, "caption": "A stove stands in the hall."}]
    by_caption = build("notes", lines(*notes))
    answers = [{turn.answer for turn in record.turns} for record in by_caption]
    assert "no, there is no stove here" in answers[0]
    assert "no, there is no stove here" not in answers[5]  # its caption names one
    assert all("no, there is no stove here" not in some for some in answers[1:5])


def test_lines_that_are_no_notes_are_reported(build: Build, tmp_path: Path) -> None:
    found = turns(build, {"caption": "no picture"}, {**NOTE, "file_name": "gone.jpg"}, NOTE)
    assert "EXIT" in {turn.answer for turn in found}
    assert drops(tmp_path) == {
        "line 1": "file_name: Field required", "line 2": "the picture is missing",
    }  # fmt: skip
