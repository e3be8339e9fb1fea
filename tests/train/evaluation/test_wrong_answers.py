"""The sheet of wrong answers in a result folder, and what a model's card shows of results."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_train.evaluation import model_card
from chatspot_train.evaluation.suite import AskedTurn, Item
from chatspot_train.evaluation.wrong_answers import COLUMNS, MOST, SHEET, TILE_WH, write_sheet

GREY = np.full((90, 160, 3), 128, np.uint8)


def items(count: int) -> list[Item]:
    turn = AskedTurn("What is this?", (Region.box(20, 20, 100, 80),))
    return [
        Item(str(k), lambda: GREY, (turn,), {"row": f"row{k % 2}", "answer": "a mug"})
        for k in range(count)
    ]


@pytest.mark.parametrize(("wrong", "tiles"), [(1, 1), (4, 4), (50, MOST)])
def test_wrong_answers_are_shown_on_their_pictures(wrong: int, tiles: int, tmp_path: Path) -> None:
    asked = items(60)
    answers = [
        replace(one.answered(Answer("a bowl of soup"), 0.1), question="What is this?",
                regions_px=(one.turns[0].regions[0].points_px,))
        for one in asked
    ]  # fmt: skip
    right = [k >= wrong for k in range(60)]
    assert write_sheet(asked, answers, right, tmp_path) == tiles
    sheet = cv2.imread(str(tmp_path / SHEET))
    rows = -(-tiles // COLUMNS)
    assert sheet.shape == (rows * TILE_WH[1], COLUMNS * TILE_WH[0], 3)
    # The region's outline is drawn, and three lines of words under the picture.
    left = sheet[40:200, 50:70].astype(int)
    assert np.ptp(left, axis=2).max() > 100
    assert np.ptp(sheet[20:40, 200:300].astype(int), axis=2).max() < 30
    words = sheet[TILE_WH[1] - 56 : TILE_WH[1], : TILE_WH[0]]
    assert (words.min(axis=(1, 2)) < 100).sum() > 20


def test_without_a_wrong_answer_there_is_no_sheet(tmp_path: Path) -> None:
    (tmp_path / SHEET).write_bytes(b"of an earlier run")
    asked = items(2)
    answers = [one.answered(Answer("a mug"), 0.1) for one in asked]
    assert write_sheet(asked, answers, [True, True], tmp_path) == 0
    assert not (tmp_path / SHEET).exists()


def test_a_card_shows_each_suites_rows_and_what_went_wrong(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree("models/chatspot-tiny", model, ignore=shutil.ignore_patterns("*.safetensors"))
    row = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    results = []
    for suite, name in (("kitchen", "read"), ("photos", "photo_door_name")):
        (tmp_path / suite).mkdir()
        results.append(tmp_path / suite / "results.json")
        results[-1].write_text(json.dumps({"suite": suite, "rows": {name: row}}))
    (tmp_path / "photos" / SHEET).write_bytes(b"a picture")
    command = ["--model", str(model), "--results", *map(str, results)]
    assert model_card.main(command) == 0
    card = (model / "README.md").read_text()
    assert "`read`" in card
    assert "`photo_door_name`" in card
    assert "wrong-" not in card  # somebody's photographs stay where they are
    assert model_card.main([*command, "--wrong"]) == 0
    assert "](wrong-photos.jpg)" in (model / "README.md").read_text()
    assert (model / "wrong-photos.jpg").read_bytes() == b"a picture"
