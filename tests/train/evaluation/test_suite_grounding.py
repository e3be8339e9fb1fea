"""Grounded phrases: what matches, one to one, and the counts over all questions."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from chatspot_ros.core.boxes import iou
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.kitchen.grounding import GroundingKitchenSuite
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.grounding import (
    GroundingSuite,
    Pair,
    matched,
    same_phrase,
)

BOX = (0.0, 0.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("a red mug", "The mug.", True), ("There is a red mug", "red mug", True),
        ("two dogs", "dog", True), ("a glass", "the glasses", False), ("mug", "mugshot", False),
        ("CAFÉ", "café", True), ("ｍｕｇ", "mug", True), ("茶", "茶", True), ("", "", False),
        ("the", "a", False), ("red mug", "blue mug", False),
    ],
)  # fmt: skip
def test_which_phrases_match(a: str, b: str, same: bool) -> None:
    assert same_phrase(a, b) is same
    assert same_phrase(b, a) is same


def test_boxes_match_above_one_half_only() -> None:
    # Half of the box: IoU is exactly 0.5, which is no match.
    assert matched([("mug", (0, 0, 10, 5))], [("mug", BOX)]) == 0
    assert matched([("mug", (0, 0, 10, 5.1))], [("mug", BOX)]) == 1
    assert matched([("cat", BOX)], [("mug", BOX)]) == 0
    assert matched([], [("mug", BOX)]) == matched([("mug", BOX)], []) == matched([], []) == 0


def test_pairs_are_matched_one_to_one_as_many_as_can_be() -> None:
    assert matched([("mug", BOX)] * 3, [("mug", BOX)]) == 1
    # Greedy, "mug" would take "red mug" and leave "red mug on a table" with nothing.
    said: list[Pair] = [("mug", BOX), ("red mug on table", BOX)]
    assert matched(said, [("red mug", BOX), ("blue mug", BOX)]) == 2


def test_matching_agrees_with_trying_all_orders() -> None:
    rng = np.random.default_rng(0)
    names = ("mug", "red mug", "cup")

    def pairs(count: int) -> list[Pair]:
        found: list[Pair] = []
        for _ in range(count):
            x, y = (float(v) for v in rng.uniform(0, 4, 2))
            found.append((names[int(rng.integers(3))], (x, y, x + 10, y + 10)))
        return found

    for _ in range(30):
        said, true = pairs(3), pairs(4)
        best = max(
            sum(same_phrase(p, q) and iou(a, b) > 0.5
                for (p, a), (q, b) in zip(said, order, strict=True))
            for order in itertools.permutations(true, len(said))
        )  # fmt: skip
        assert matched(said, true) == best


def test_rows_count_pairs_over_all_questions() -> None:
    truth = {"pairs": [["mug", list(BOX)], ["cup", [20, 0, 30, 10]]]}
    predictions = [
        Prediction("1", "x", (BOX, BOX, BOX), ("a mug", "mug", "dog"), truth=truth),
        Prediction("2", "", truth=truth),
        Prediction("3", "x", (BOX, (20, 0, 30, 10)), ("mug", "cup"), truth=truth),
    ]
    suite = GroundingSuite()
    report = suite.score(predictions)
    values = {name: row["value"] for name, row in report.rows.items()}
    # "dog" is no thing of the picture; a second mug is one too many, but not made up.
    rows = {"precision": 3 / 5, "recall": 3 / 6, "f1": 6 / 11, "hallucinated": 1 / 3}
    assert values == pytest.approx(rows)
    assert "| 3 | 5 | 6 |" in report.table
    assert suite.score(predictions) == report
    assert GroundingSuite(same=lambda a, b: True).score(predictions).rows["recall"]["n"] == 3
    silent = suite.score(predictions[1:2]).rows
    assert silent["precision"]["n"] == silent["f1"]["value"] == 0


def make_data(folder: Path) -> GroundingSuite:
    cv2.imwrite(str(folder / "1.jpg"), np.zeros((4, 4, 3), np.uint8))
    things = [{"id": 5, "image_id": 33, "bbox": [0, 0, 2, 3]},
              {"id": 6, "image_id": 33, "bbox": [1, 1, 2, 2]}]  # fmt: skip
    images = [{"id": 33, "file_name": "1.jpg", "width": 4, "height": 4}]
    coco = {"images": images, "annotations": things, "categories": []}
    (folder / "instances.json").write_text(json.dumps(coco))
    asked = {"from": "human", "value": "<image>\nWhat is there? (with grounding)"}
    answer = "There is <g_s> a  dog <g_e> <seg>, <g_s> two mugs <g_e> <seg>, <g_s>air<g_e> <seg>."
    talk = [asked, {"from": "gpt", "value": answer}]
    entries = [
        {"id": "000000000033", "conversations": talk, "gd_ls": [[5], [5, 6], None]},
        {"id": "33", "conversations": [asked, {"from": "gpt", "value": "No."}]},
    ]
    (folder / "talk.json").write_text(json.dumps(entries))
    return GroundingSuite(("talk.json",), ("instances.json",), (".",))


def test_conversations_are_read(tmp_path: Path) -> None:
    items = list(make_data(tmp_path).items(tmp_path, 0, 0))
    assert [item.turns[0].question for item in items] == ["What is there? Say where each thing is."]
    assert items[0].truth["pairs"] == [
        ["a dog", [0, 0, 2, 3]], ["two mugs", [0, 0, 2, 3]], ["two mugs", [1, 1, 3, 3]]
    ]  # fmt: skip


def test_own_pictures_are_described_with_all_their_things(tmp_path: Path) -> None:
    make_data(tmp_path)
    coco = json.loads((tmp_path / "instances.json").read_text())
    for thing, category, crowd in zip(coco["annotations"], (1, 2), (0, 1), strict=True):
        thing.update(category_id=category, iscrowd=crowd)
    coco["categories"] = [{"id": 1, "name": "fridge_door"}, {"id": 2, "name": "mug"}]
    file = tmp_path / "own.json"
    file.write_text(json.dumps(coco))
    suite = GroundingSuite.from_options({"annotations": file, "images": tmp_path})
    (item,) = suite.items(Path("nowhere"), 0, 0)
    assert item.truth["pairs"] == [["fridge door", [0, 0, 2, 3]]]
    assert item.turns[0].question.endswith("Say where each thing is.")
    assert item.turns[0].task == "describe"
    coco["annotations"][0]["category_id"] = 7
    file.write_text(json.dumps(coco))
    with pytest.raises(MalformedDataError, match="KeyError 7"):
        next(suite.items(Path("nowhere"), 0, 0))


def test_kitchens_are_described_with_their_clear_things(tmp_path: Path) -> None:
    suite = GroundingKitchenSuite()
    (item,) = suite.items(tmp_path, 1, 0)
    pairs = item.truth["pairs"]
    assert len(pairs) > 1
    assert all({*phrase.split()} & {*THING_KINDS} for phrase, _ in pairs)
    said = [(phrase, tuple(box)) for phrase, box in pairs]
    phrases, boxes = (tuple(one) for one in zip(*said, strict=True))
    right = Prediction("1", "x", boxes, phrases, truth=item.truth)
    rows = suite.score([right]).rows
    assert {name: row["value"] for name, row in rows.items()} == {
        "grounding_precision": 1, "grounding_recall": 1, "grounding_f1": 1,
        "grounding_hallucinated": 0,
    }  # fmt: skip


def test_what_is_missing_or_malformed_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"grounded_visual_chat_data\.json"):
        next(GroundingSuite().items(tmp_path, 0, 0))
    suite = make_data(tmp_path)
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"1\.jpg"):
        next(suite.items(tmp_path, 0, 0))
    file = tmp_path / "talk.json"
    file.write_text(file.read_text().replace("[5, 6]", "[5, 7]"))
    with pytest.raises(MalformedDataError, match="entry 0: KeyError 7"):
        next(suite.items(tmp_path, 0, 0))
