"""COCO-Text: what is asked, and its text scores against values worked out by hand."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources import SourceError
from chatspot_train.evaluation.metrics.text import (
    contains,
    equal,
    normalised_edit_distance,
)  # fmt: skip
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.coco_text import QUESTION, CocoText


def word(k: int, text: str, **more: Any) -> dict[str, Any]:
    return {"id": k, "image_id": 7, "bbox": [1.5, 2, 10, 8], "utf8_string": text, "mask": [],
            "legibility": "legible", "language": "english", "class": "machine printed",
            **more}  # fmt: skip


WORDS = [
    word(11, "STOP"),
    word(12, "Zoë's 茶", **{"class": "handwritten"}),
    word(13, "", legibility="illegible", language="na"),
    word(14, "ארץ", language="not english"),
    word(15, "", language="not english"),
    word(16, "flat", bbox=[1, 2, 0, 4]),
]


def coco_text(folder: Path) -> Path:
    (folder / "train2014").mkdir()
    Image.new("RGB", (30, 20)).save(folder / "train2014" / "COCO_train2014_000000000007.jpg")
    image = {"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "width": 30, "height": 20,
             "set": "val"}  # fmt: skip
    (folder / "cocotext.v2.json").write_text(json.dumps({
        "cats": {}, "info": {},
        "imgs": {"7": image, "8": {**image, "id": 8, "set": "train"}},
        "anns": {str(one["id"]): one for one in WORDS},
        "imgToAnns": {"7": [one["id"] for one in WORDS] + [404], "8": [11]},
    }))  # fmt: skip
    return folder


def test_what_is_asked(tmp_path: Path) -> None:
    items = list(CocoText().items(coco_text(tmp_path), 0, 0))
    assert [item.truth["text"] for item in items] == ["STOP", "Zoë's 茶"]
    (turn,) = items[0].turns
    assert (turn.question, turn.task) == (QUESTION, "read")
    assert turn.regions == (Region.box(1.5, 2, 11.5, 10),)
    everything = list(CocoText(all_languages=True).items(tmp_path, 0, 0))
    assert [item.key for item in everything] == ["11", "12", "14"]
    assert len(list(CocoText(all_languages=True).items(tmp_path, 2, 0))) == 2
    assert [i.key for i in CocoText(split="train").items(tmp_path, 0, 0)] == ["11"]


def test_the_rows_by_hand(tmp_path: Path) -> None:
    suite = CocoText(all_languages=True)
    items = list(suite.items(coco_text(tmp_path), 0, 0))
    said = ["Stopped", "“ZOË'S  茶”.", ""]
    kept = [Prediction(i.key, s, truth=i.truth) for i, s in zip(items, said, strict=True)]
    report = suite.score(kept)
    values = {name: row["value"] for name, row in report.rows.items()}
    assert values["contains"] == pytest.approx(2 / 3)
    assert values["contains_words"] == pytest.approx(1 / 3)
    assert values["exact"] == pytest.approx(1 / 3)
    assert values["edit_distance"] == pytest.approx((3 / 7 + 3 / 10 + 1) / 3)
    assert values["contains (not english)"] == 0.0
    assert values["exact (handwritten)"] == 1.0
    assert "| paper | 31.8 |" in report.table
    assert suite.score(kept).rows == report.rows
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"cocotext\.v2\.json.*bgshih"):
        CocoText().items(tmp_path, 0, 0)
    (tmp_path / "cocotext.v2.json").write_text("{}")
    with pytest.raises(MissingDataError, match="train2014 or "):
        CocoText().items(tmp_path, 0, 0)
    (tmp_path / "train2014").mkdir()
    with pytest.raises(SourceError, match="imgToAnns"):
        CocoText().items(tmp_path, 0, 0)


@pytest.mark.parametrize(
    ("answer", "truth", "anywhere", "as_words"),
    [
        ("It says STOP.", "stop", True, True),
        ("stopped", "stop", True, False),
        ("13 of them", "3", True, False),
        ("about 3.5", "3", True, False),
        ("3, I think", "3", True, True),
        ("緑茶", "茶", True, True),  # no spaces between words
        ("ＣＡＦＥ\u0301", "café", True, True),
        ("straße", "STRASSE", True, True),
        ("C++ code", "c++", True, True),
        ("$5.00", "$5", True, False),
        ("", "a", False, False),
        ("a", "", False, False),
        ("a", "  ", False, False),
    ],
)
def test_contains(answer: str, truth: str, anywhere: bool, as_words: bool) -> None:
    assert contains(answer, truth, whole_words=False) is anywhere
    assert contains(answer, truth) is as_words


def test_number_words_are_digits_where_asked() -> None:
    assert contains("There are two.", "2", numbers=True)
    assert contains("2", "Two", numbers=True)
    assert not contains("There are two.", "2")
    assert not contains("someone", "1", numbers=True)


def test_equal_apart_from_quotes_and_a_stop() -> None:
    assert equal(' "Exit". ', "EXIT")
    assert equal("12.50", "12.50")
    assert not equal("", "")
    assert equal(".", ".")
    assert not equal("exit now", "exit")


@pytest.mark.parametrize(
    ("a", "b"),
    [("kitten", "sitting"), ("", "abc"), ("flaw", "lawn"), ("ab", "ab"), ("é茶", "e茶茶")],
)
def test_edit_distance_as_its_definition_has_it(a: str, b: str) -> None:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i or j
        change = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, change)

    wanted = distance(len(a), len(b)) / max(len(a), len(b))
    assert normalised_edit_distance(a, b) == normalised_edit_distance(b, a) == wanted


def test_nothing_is_as_near_as_can_be_to_nothing() -> None:
    assert normalised_edit_distance("", "") == 0.0
