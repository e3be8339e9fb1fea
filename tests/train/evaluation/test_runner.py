"""Asking a suite's items: in order, a picture at a time, going on where a killed run stopped."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.engine import Engine
from chatspot_ros.errors import RegionError
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.runner import CachingAnswerer, read_predictions, run, to_line
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    MissingDataError,
    Prediction,
    markdown,
    need,
)


class Counting:
    """Answers with how many pictures and questions it has been shown."""

    name = "counting"

    def __init__(self) -> None:
        self.pictures = 0
        self.asked: list[str] = []

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        self.pictures += 1
        self.asked += [item.key for item in items]
        return [Prediction(i.key, f"{image_rgb.shape[1]} wide: 茶", truth=i.truth) for i in items]


def items(folder: Path, pictures: int = 3) -> Iterator[Item]:
    for k in range(pictures):
        file = folder / f"{k}.png"
        if not file.exists():
            cv2.imwrite(str(file), np.zeros((8, 10 + k, 3), np.uint8))
        for part in "ab":
            yield Item(f"{k}{part}", file, (AskedTurn("What?"),), {"name": "mug"})


def test_a_picture_is_read_once_and_answers_keep_their_order(tmp_path: Path) -> None:
    answerer = Counting()
    found = run(answerer, items(tmp_path), tmp_path / "p.jsonl")
    assert [p.key for p in found] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert found[2].text == "11 wide: 茶"
    assert answerer.pictures == 3
    assert {p.question for p in found} == {"What?"}
    assert read_predictions(tmp_path / "p.jsonl") == found


def test_a_killed_run_asks_only_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    whole = run(Counting(), items(tmp_path), file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3]) + lines[3][:25])
    answerer = Counting()
    assert run(answerer, items(tmp_path), file) == whole
    assert answerer.asked == ["1b", "2a", "2b"]
    again = Counting()
    run(again, items(tmp_path), file)
    assert again.asked == []


def test_a_picture_that_cannot_be_read_is_an_answer_with_a_reason(tmp_path: Path) -> None:
    asked = list(items(tmp_path))
    (tmp_path / "1.png").write_bytes(b"no picture")
    found = run(Counting(), asked, tmp_path / "p.jsonl")
    assert [bool(p.error) for p in found] == [False, False, True, True, False, False]
    assert "cannot be decoded" in found[2].error


def test_what_is_shown_of_an_answer_is_kept(tmp_path: Path) -> None:
    region = Region.box(1, 2, 3, 4)
    (asked, *_) = items(tmp_path)
    turns = (AskedTurn("Before?"), AskedTurn("What is <region>?", (region,)))
    made = Item("made", lambda: np.zeros((4, 4, 3), np.uint8), turns, {})
    found = run(Counting(), [asked, made], tmp_path / "p.jsonl")
    assert [(p.image, p.regions_px) for p in found] == [
        (str(asked.image), ()), ("", (((1.0, 2.0), (3.0, 4.0)),)),
    ]  # fmt: skip
    assert read_predictions(tmp_path / "p.jsonl") == found


def test_an_answer_to_another_question_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    asked = list(items(tmp_path, 1))
    run(Counting(), asked, file)
    there = replace(asked[0], turns=(AskedTurn("What?", (Region.box(1, 2, 3, 4),)),))
    otherwise = replace(asked[1], turns=(AskedTurn("Which?"),))
    counting = Counting()
    found = run(counting, [there, otherwise], file)
    assert counting.asked == ["0a", "0b"]
    assert [p.question for p in found] == ["What?", "Which?"]
    again = Counting()
    assert run(again, [there, otherwise], file) == found
    assert again.asked == []


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    counting = Counting()
    once = CachingAnswerer(counting)
    asked = list(items(tmp_path, 2))
    first = run(once, asked, tmp_path / "1.jsonl")
    assert counting.asked == ["0a", "1a"]  # both items of a picture ask alike
    more = [replace(item, key=f"{item.key}!", truth={"name": "cup"}) for item in asked]
    again = run(once, more, tmp_path / "2.jsonl")
    assert counting.asked == ["0a", "1a"]
    assert [p.text for p in again] == [p.text for p in first]
    assert [(p.key, p.truth["name"]) for p in again] == [
        (f"{k}{part}!", "cup") for k in range(2) for part in "ab"
    ]


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    one = Prediction("k", "x", ((1.0, 2.0, 3.0, 4.0),), ("mug",), {"door": "open"},
                    (("open", "fridge"),), 0.5, 0.1, truth={"a": [1]})  # fmt: skip
    (tmp_path / "p.jsonl").write_text(to_line(one))
    assert read_predictions(tmp_path / "p.jsonl") == [one]
    assert read_predictions(tmp_path / "none.jsonl") == []


def test_the_engine_answers_turn_by_turn_and_bad_regions_stop_nothing() -> None:
    engine = Engine.load("models/chatspot-tiny", device="cpu", threads=1)
    region = Region.box(5, 5, 40, 40)
    picture = np.full((48, 64, 3), 90, np.uint8)
    asked = [
        Item("two", Path("x"), (AskedTurn("What is this?", (region,)),
                                AskedTurn("And this?", (region,))), {}),
        Item("bad", Path("x"), (AskedTurn("What is this?", (Region.box(90, 90, 99, 99),)),), {}),
        Item("where", Path("x"), (AskedTurn("Where is the mug?"),), {}),
    ]  # fmt: skip
    found = EngineAnswerer(engine).answer_all(picture, asked)
    assert [p.key for p in found] == ["two", "bad", "where"]
    assert found[0].question == "And this?"
    assert found[0].text
    assert found[1].text == ""
    assert "outside the image" in found[1].error
    assert len(found[2].boxes_xyxy_px) == found[2].text.count("<box>")
    alone = [EngineAnswerer(engine).answer_all(picture, [item])[0] for item in asked]
    assert [(p.text, p.boxes_xyxy_px, p.error) for p in alone] == [
        (p.text, p.boxes_xyxy_px, p.error) for p in found
    ]
    with pytest.raises(RegionError):
        engine.answer(engine.prepare(picture), _question(Region.box(90, 90, 99, 99)))


def _question(region: Region) -> object:
    from chatspot_ros.engine.api import Question

    return Question("What?", (region,))


def test_missing_data_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    assert need(tmp_path, "x") == tmp_path
    with pytest.raises(MissingDataError, match=r"a\.json.*from the official page"):
        need(tmp_path / "a.json", "get a.json from the official page")


def test_a_table_of_numbers() -> None:
    assert markdown(["a", "b"], [["x", 0.5]]) == "| a | b |\n| --- | --- |\n| x | 0.500 |"
