"""`chatspot ask` about photos, with the bundled model in the process; and its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chatspot_ros.srv import RegionQuery

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import UNREACHABLE, Answer, Reply
from chatspot_ros.operators.words import STATUS_WORDS, answer_words, status_words
from chatspot_ros.tools import cli
from chatspot_ros.tools.ask import main

TINY = ("--model", "chatspot-tiny")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "my photo.jpg"
    cv2.imwrite(str(path), np.full((120, 160, 3), 128, np.uint8))
    return path


def test_photos_are_asked_one_after_the_other_and_a_bad_one_stops_none(
    photo: Path, tmp_path: Path, capsys: Any
) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("no picture")
    words = [str(bad), str(tmp_path / "gone.png"), str(photo)]
    status = main([*words, *TINY, "--json", "--box", "10,10,90,100", "What is this?",
                   "--point", "5,6"])  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == 1
    assert [one["photo"] for one in lines] == words
    assert [one["status"] for one in lines] == ["BAD_IMAGE", "BAD_IMAGE", "OK"]
    assert "notes.txt" in lines[0]["message"]
    good = lines[2]
    assert good["model"] == "chatspot-tiny"
    assert [answer["regions"][0]["kind"] for answer in good["answers"]] == ["box", "point"]
    assert good["answers"][0]["regions"][0]["points_px"] == [[10, 10], [90, 100]]
    assert all(answer["text"] for answer in good["answers"])


def test_plain_words_and_exit_codes(photo: Path, capsys: Any) -> None:
    assert main([str(photo), *TINY, "--box", "10,10,90,100", "What is this?"]) == 0
    assert capsys.readouterr().out.startswith("box 10,10,90,100: ")
    assert main([str(photo), *TINY, "--box", "500,500,600,600", "What is this?"]) == 1
    assert "a region cannot be used (BAD_REGION)" in capsys.readouterr().err
    assert main([str(photo), *TINY, "Hello!"]) == 1
    said = capsys.readouterr()
    assert "SMALL_TALK" in said.err
    assert "camera shows" in said.out
    assert main([str(photo), *TINY, "--task", "describe"]) == 0
    assert main([str(photo), "--model", "nothing-of-this-name", "What is this?"]) == 1
    assert "nothing-of-this-name" in capsys.readouterr().err


def test_choices_and_a_schema_from_a_file(photo: Path, tmp_path: Path, capsys: Any) -> None:
    about = [str(photo), *TINY, "--box", "10,10,90,100"]
    assert main([*about, "--choices", "yes,no,, never", "Is it open?"]) == 0
    text, told = capsys.readouterr().out.splitlines()[:2]
    assert text.removeprefix("box 10,10,90,100: ") in ("yes", "no, never")
    assert told.startswith("  choices: ")
    assert "no, never" in told
    assert main([*about, "--choices", "yes,no", "--json", "Is it open?"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert sum(answer["choice_probabilities"]) == pytest.approx(1)
    schema = tmp_path / "schema.json"
    schema.write_text(
        '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}'
    )
    assert main([*about, "--schema", str(schema), "--json", "How many are there?"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert json.loads(answer["json"])["n"] in (1, 2)
    schema.write_text('{"type": "string", "pattern": "a"}')
    assert main([*about, "--schema", str(schema), "How many are there?"]) == 1
    assert "#/pattern" in capsys.readouterr().err
    assert main([*about, "--choices", "yes,yes", "Is it open?"]) == 1
    assert "same words" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give the question"),
        (["PHOTO"], "behind the photo"),
        (["PHOTO", "What?", "--camera", "front"], "need a node"),
        (["PHOTO", "What?", "--session", "s"], "need a node"),
        (["What?", *TINY], "needs a photo"),
        (["What?", "--timeout", "-1"], "--timeout"),
        (["What?", "--timeout", "nan"], "--timeout"),
        (["What?", "--box", "1,2,3"], "x1,y1,x2,y2"),
        (["What?", "--box", "1,2"], "x1,y1,x2,y2"),
        (["What?", "--point", "here"], "x,y"),
        (["What?", "--polygon", "1,2,3,4"], "x3,y3"),
        (["What?", "--wrong"], "--wrong"),
        (["What?", "--choices", "a,b", "--task", "state"], "--choices"),
        (["What?", "--schema", "/nowhere/schema.json"], "cannot be read"),
        (["What?", "--schema", "s.json", "--task", "state"], "--schema"),
    ],
)
def test_what_cannot_be_asked_is_said_with_the_usage(
    photo: Path, capsys: Any, words: list[str], why: str
) -> None:
    given = [str(photo) if word == "PHOTO" else word for word in words]
    with pytest.raises(SystemExit) as ended:
        cli.main(["ask", *given])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_other_commands_take_no_further_words(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        cli.main(["completion", "bash", "further"])
    assert "unrecognized arguments: further" in capsys.readouterr().err


def test_every_status_has_words() -> None:
    constants = {
        name
        for name in dir(RegionQuery.Response)
        if name.isupper() and isinstance(getattr(RegionQuery.Response, name), int)
    }
    assert set(STATUS_WORDS) == constants | {UNREACHABLE}
    assert status_words(Reply("BUSY", "wait\n1 s")) == "too many questions wait (BUSY): wait\\n1 s"


def test_an_answer_is_told_with_all_that_is_known() -> None:
    answer = Answer(
        "open\x1b[31m",
        regions=(Region.box(1, 2, 30, 40),),
        state={"door": "open"},
        steps=("close fridge", "look"),
        grounded=(Region(((1, 2), (3, 4)), label="mug"),),
        confidence=0.25,
        uncertain=True,
        truncated=True,
        print_lines=("MILK", "1 l"),
        sources=("fridge.md:2",),
    )
    assert answer_words(answer) == [
        "box 1,2,30,40: open\\x1b[31m",
        "  state: door = open",
        "  steps: 1. close fridge; 2. look",
        "  places: box 1,2,3,4 (mug)",
        "  print: MILK / 1 l",
        "  notes: fridge.md:2",
        "  cut off: the answer was longer than allowed",
        "  uncertain (confidence 0.25): look again before you act on it",
    ]
