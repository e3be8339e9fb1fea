"""`chatspot ask` about photos, with the bundled model in the process; and its words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chatspot_ros.srv import RegionQuery

from chatspot_ros.core.place import Place
from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import OK, UNREACHABLE, Answer, Reply
from chatspot_ros.operators.words import STATUS_WORDS, answer_words, reply_json, status_words
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


def test_a_position_is_told_and_why_there_is_none() -> None:
    known = Place(
        (0.314, -0.05, 1.62), (0.2, 0.3, 0.1), 0.9, "", "optical", 1, (1.62, -0.31, 1), "base"
    )
    asked = replace(Region.box(1, 2, 30, 40), place=known)
    lost = replace(Region.point(7, 9), place=Place(note="no depth\nhere"))
    answer = Answer("a mug", regions=(asked,), grounded=(lost,))
    assert answer_words(answer)[1] == (
        "  position: at 0.31, -0.05, 1.62 m in optical, 0.20 x 0.30 m large; "
        "1.62, -0.31, 1.00 m in base; not known: no depth\\nhere"
    )
    told = reply_json(Reply(OK, answers=(answer,)))["answers"][0]
    assert told["regions"][0]["place"]["xyz_m"] == (0.314, -0.05, 1.62)
    assert told["grounded"][0]["place"]["note"] == "no depth\nhere"
    plain = Answer("x", regions=(Region.image(),))
    (told,) = reply_json(Reply(OK, answers=(plain,)))["answers"]
    assert "place" not in told["regions"][0]


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
