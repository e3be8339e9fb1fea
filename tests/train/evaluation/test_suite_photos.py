"""The suite photos on pictures drawn here: what is asked, and how each row is made."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.errors import ModelLoadError
from chatspot_train.data.sources import SourceError
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.registry import make
from chatspot_train.evaluation.runner import _hashes
from chatspot_train.evaluation.suite import (
    NO_READER,
    AskedTurn,
    Item,
    MissingDataError,
    Prediction,
    SuiteOptionError,
)
from chatspot_train.evaluation.suites.photos import PhotosSuite

SIZE = (64, 48)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "photos").mkdir()
    for k in (1, 2):
        Image.new("RGB", SIZE, (40 * k, 90, 30)).save(tmp_path / "photos" / f"{k}.jpg")
    things = [
        (1, 1, [4, 4, 30, 40], {"door": "open"}), (1, 2, [40, 10, 6, 20], {}),
        (2, 1, [2, 2, 20, 30], {"door": "closed"}), (2, 1, [30, 2, 20, 30], {"door": "closed"}),
    ]  # fmt: skip
    coco = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "width": 64, "height": 48} for k in (1, 2)],
        "annotations": [
            {"id": k, "image_id": image, "category_id": kind, "bbox": bbox, "attributes": told}
            for k, (image, kind, bbox, told) in enumerate(things, 1)
        ],
        "categories": [{"id": 1, "name": "fridge door"}, {"id": 2, "name": "handle"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    note = {"file_name": "1.jpg", "questions": [["Is it old?", "No."], ["Which colour?", "Red"]]}
    (tmp_path / "notes.jsonl").write_text(json.dumps(note) + "\n")
    for name in ("Royal-Gala", "Granny-Smith", "Oat-Milk", "Leek", "Wok"):
        (tmp_path / "shop" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), "green").save(tmp_path / "shop" / name / "0.jpg")
    (tmp_path / "classes.csv").write_text("class,coarse\nRoyal-Gala,Apple\nGranny-Smith,Apple\n")
    return {
        "annotations": tmp_path / "coco.json", "images": tmp_path / "photos",
        "notes": tmp_path / "notes.jsonl", "folders": tmp_path / "shop",
        "classes": tmp_path / "classes.csv", "exact": "Oat-Milk, leek", "unknown": "Wok",
    }  # fmt: skip


def truly(item: Item) -> Prediction:
    """The prediction of one who knows the truth and is sure of it."""
    told, boxes, text = item.truth, (), str(item.truth.get("answer", ""))
    if told["row"] == "photo_locate":
        boxes = (tuple(told["box"]),)
    elif told["row"] in ("there", "locate_absent"):
        text = "yes, there is" if told["there"] else "there is no such thing here"
    return Prediction(item.key, text, boxes, confidence=1.0, truth=told,
                      uncertain=told["row"] == "photo_unknown_uncertain")  # fmt: skip


def test_everything_is_asked_in_order_of_the_pictures(options: dict[str, Any]) -> None:
    items = list(make("photos", options).items(Path(), 0, 0))
    rows = Counter(item.truth["row"] for item in items)
    assert rows == {
        "photo_questions": 2, "photo_door_name": 4, "photo_fridge_state": 6, "photo_locate": 2,
        "there": 2, "locate_absent": 1, "photo_grocery": 4, "photo_carton_read": 2,
        "photo_carton_plain": 2, "photo_unknown_uncertain": 1,
    }  # fmt: skip
    assert len({item.key for item in items}) == len(items)
    pictures = [item.image for item in items]
    assert len(list(dict.fromkeys(pictures))) == sum(
        a != b for a, b in zip(pictures, [None, *pictures], strict=False)
    )
    for item in items:
        assert json.loads(json.dumps(item.truth)) == item.truth
        assert "{" not in item.turns[0].question
    assert [i.turns for i in make("photos", options).items(Path(), 0, 0)] == [
        i.turns for i in items
    ]
    assert len(list(make("photos", options).items(Path(), 5, 0))) == 5


def test_the_region_of_a_mosaic_is_the_picture_asked_about(options: dict[str, Any]) -> None:
    items = [i for i in make("photos", {**options, "mosaic": 2}).items(Path(), 0, 0)
             if i.truth["row"] == "photo_grocery"]  # fmt: skip
    assert len({item.image for item in items}) == 2
    for item in items:
        assert callable(item.image)
        pixels = item.image()
        (box,) = item.turns[0].regions
        x, y = np.mean(box.points_px, 0).astype(int)
        assert np.abs(pixels[y, x].astype(int) - (0, 128, 0)).max() < 4
        assert item.truth["names"] == ["apple", "leek", "oat milk"]


def test_the_truth_is_right_in_every_row(options: dict[str, Any]) -> None:
    suite = make("photos", options)
    report = suite.score([truly(item) for item in suite.items(Path(), 0, 0)])
    assert list(report.rows) == list(PhotosSuite.headline)
    assert {name: row["value"] for name, row in report.rows.items()} == {
        name: float(name != "photo_ece") for name in PhotosSuite.headline
    }
    assert "Most frequent wrong names" not in report.table


def test_wrong_and_missing_answers_are_wrong(options: dict[str, Any]) -> None:
    suite = make("photos", options)
    items = list(suite.items(Path(), 0, 0))
    for wrong in (
        [Prediction(item.key, "a wok", confidence=0.9, truth=item.truth) for item in items],
        [item.failed("out of memory") for item in items],
    ):
        assert suite.right(wrong) == [False] * len(items)
        rows = suite.score(wrong).rows
        assert all(row["value"] == 0 for name, row in rows.items() if name != "photo_ece")
    assert "photo_ece" not in rows
    wrong_names = suite.score(
        [Prediction(i.key, "a wok", confidence=0.9, truth=i.truth) for i in items]
    )
    assert wrong_names.rows["photo_ece"]["value"] == pytest.approx(0.9)
    assert "`photo_door_name`: fridge door, named 'a wok': 3 times" in wrong_names.table


def test_states_count_each_value_alike(options: dict[str, Any]) -> None:
    suite = make("photos", options)
    items = [i for i in suite.items(Path(), 0, 0) if i.truth["row"] == "photo_fridge_state"]
    closed = [Prediction(i.key, "door: closed", truth=i.truth) for i in items]
    row = suite.score(closed).rows["photo_fridge_state"]
    assert (row["value"], row["n"]) == (pytest.approx(0.5), 6)  # 4 of 6 are closed


@pytest.mark.parametrize(
    ("answer", "value", "text", "right"),
    [
        ("yes, door: open", "open", "Yes.", True),
        ("yes, door: open", "open", "door: open", True),
        ("no, door: open", "open", "no, it is open", True),
        ("no, door: open", "open", "yes, door: open", False),
        ("door: open", "open", "open", True),
        ("door: open", "open", "yes", False),
        ("door: open", "open", "door: open, not closed", False),
        ("door: closed", "closed", "enclosed", False),
    ],
)
def test_states_by_yes_or_by_the_value(answer: str, value: str, text: str, right: bool) -> None:
    told = {"row": "photo_fridge_state", "answer": answer, "value": value, "attribute": "door",
            "values": ["closed", "open"]}  # fmt: skip
    assert PhotosSuite().right([Prediction("1", text, truth=told)]) == [right]


def test_without_a_reader_its_row_is_left_out(options: dict[str, Any]) -> None:
    suite = make("photos", options)
    said = [
        item.failed(NO_READER) if item.turns[0].reader == "on" else truly(item)
        for item in suite.items(Path(), 0, 0)
    ]
    rows = suite.score(said).rows
    assert "photo_carton_read" not in rows
    assert rows["photo_carton_plain"]["value"] == 1


def test_an_engine_without_a_reader_says_so() -> None:
    class Engine:
        name = "engine"

        def prepare(self, image: Any) -> Any:
            return image

        def answer(self, scene: Any, question: Question, *_: Any) -> Any:
            assert question.reader == "on"
            raise ModelLoadError("no reader", value="rapidocr", remedy="install it")

    item = Item("1", Path(), (AskedTurn("What?", (Region(),), reader="on"),), {})
    (found,) = EngineAnswerer(Engine()).answer_all(np.zeros((4, 4, 3), np.uint8), [item])
    assert found.error == NO_READER


def test_answers_with_and_without_the_reader_are_kept_apart(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    turn = AskedTurn("What?")
    items = [
        Item(reader or "plain", tmp_path / "a.png", (replace(turn, reader=reader),), {})
        for reader in ("", "on", "off")
    ]
    assert len(set(_hashes(items).values())) == 3


def test_files_that_are_not_given_or_not_there(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no data of its own"):
        list(make("photos", {}).items(Path(), 0, 0))
    with pytest.raises(SuiteOptionError, match="give --images too"):
        make("photos", {"notes": options["notes"]})
    with pytest.raises(SuiteOptionError, match=r"no such number of pictures \(got 0\)"):
        make("photos", {**options, "mosaic": 0})
    with pytest.raises(SourceError, match=r"no folder or kind has this name \(got Leak\)"):
        list(make("photos", {**options, "exact": "Leak"}).items(Path(), 0, 0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="nothing to ask about"):
        list(make("photos", {"folders": tmp_path / "empty"}).items(Path(), 0, 0))
