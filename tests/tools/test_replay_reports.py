"""What a replay tells: on the screen, as JSON, as a page; and the program itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import (
    ANSWERS,
    HEIGHT,
    IMAGE,
    WIDTH,
    answer,
    asked,
    box,
    header,
    ns,
    picture,
    replayed,
)
from rosbags.rosbag2 import StoragePlugin

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.ros.conversions import to_answers_message, to_image_message
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.settings import Settings
from chatspot_ros.tools.replay import main
from chatspot_ros.tools.replay_report import show, to_html, to_json


def test_the_reports_hold_everything_and_escape_what_a_model_says(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    wicked = "<script>alert(1)</script> [bold]"
    path = write(
        (IMAGE, picture(1)),
        (ANSWERS, asked(1, "one", answer("one", box(1, 2, 30, 40)))),
        (ANSWERS, asked(1, "two", answer(wicked, box(1, 2, 30, 40)))),
        (ANSWERS, asked(5, "three", answer("x", box(1, 2, 30, 40)))),
    )
    done = replayed(path, keep_pictures=True)
    page = to_html(done)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "1 answers the same, 1 different,\n1 not asked" in page
    data = json.loads(json.dumps(to_json(done)))
    assert data["counts"] == {"same": 1, "different": 1, "skipped": 1}
    assert data["questions"][1]["before"]["text"] == wicked
    assert data["questions"][1]["now"]["text"] == "two"
    assert data["questions"][0]["regions"] == [[[1.0, 2.0], [30.0, 40.0]]]
    assert data["questions"][0]["stamp_ns"] == ns(1)
    show(done, Console(width=150))
    shown = capsys.readouterr().out
    assert wicked in shown
    assert "1 same, 1 different, 1 not asked (old -> new)" in shown
    assert "one" not in shown.replace("1 not asked", "")[: shown.index("two")].split()


def test_the_bundled_model_says_again_what_it_said(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bag of its own answers has no differences; with one answer changed, it has that one."""
    engine = load_engine(Settings(device="cpu"))
    rgb = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = to_image_message(rgb, header(1))
    region = Region.box(5, 6, 50, 45)
    scene = engine.prepare(rgb)
    messages = []
    for question, task in (("What is this?", ""), ("What is the state of this?", "state")):
        (reply,) = engine.answer_many(scene, [Question(question, regions=(region,), task=task)])
        seen = Picture(lambda: image, stamp_ns=ns(1), frame_id="camera_optical", camera="camera")
        query = Query(question, regions=(region,), task=task)
        replied = QueryReply(query, picture=seen, answers=[reply.answer], model=engine.name)
        messages.append(to_answers_message(replied))
    entries = [(IMAGE, image), *((ANSWERS, message) for message in messages)]
    report = tmp_path / "report.json"
    asked_again = ["--model", "chatspot-tiny", "--device", "cpu", "--json", str(report)]
    assert main([str(write(*entries)), *asked_again]) == 0
    assert json.loads(report.read_text())["counts"] == {"same": 2, "different": 0, "skipped": 0}
    messages[0].answers[0].text = "a zeppelin"
    changed = str(write(*entries, storage=StoragePlugin.SQLITE3))
    page = tmp_path / "report.html"
    assert main([changed, *asked_again, "--html", str(page)]) == 1
    assert "a zeppelin" in capsys.readouterr().out
    assert "a zeppelin" in page.read_text()


def test_the_program_says_what_is_wrong(
    spawn: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "chatspot_ros.tools.replay")
    missing = spawn(*command, str(tmp_path / "nowhere"), "--model", "chatspot-tiny")
    unknown = spawn(
        *command, str(write((ANSWERS, asked(1, "what", answer("x"))))), "--model", "no-such-model"
    )
    assert missing.wait(60.0) == 2
    assert "the bag cannot be read" in missing.output
    assert unknown.wait(60.0) == 2
    assert "there is no such model" in unknown.output
    assert "Traceback" not in missing.output + unknown.output


def test_the_command_line_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bag"])
    assert "--model" in capsys.readouterr().err
