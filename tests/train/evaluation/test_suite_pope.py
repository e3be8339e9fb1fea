"""POPE: its own answer rule, its three files, and the measures as scikit-learn has them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.pope import FILES, PopeSuite, says_yes


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes.", True), ("No.", False), ("no", False), ("No, there is none", False),
        ("There is not a dog. Yes.", False), ("Yes. There is no cat.", True), ("", True),
        ("Nope", True), ("ＮＯ 没有", True), ("It is a note, not, a dog", False),
    ],
)  # fmt: skip
def test_the_official_rule(text: str, yes: bool) -> None:
    assert says_yes(text) is yes


def make_data(folder: Path) -> Path:
    (folder / "coco").mkdir()
    (folder / "val2014").mkdir()
    for image in ("one.jpg", "two.jpg"):
        cv2.imwrite(str(folder / "val2014" / image), np.zeros((4, 4, 3), np.uint8))
    for name in FILES:
        lines = [
            {"question_id": k, "image": ("one.jpg", "two.jpg")[k // 2],
             "text": f"Is there a {thing} in the image?", "label": "yes" if k % 2 else "no"}
            for k, thing in enumerate(("dog", "mug", "茶", "zèbre\u2028"), 0)
        ]  # fmt: skip
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / "coco" / f"coco_pope_{name}.json").write_text(text, encoding="utf-8")
    return folder


def test_all_files_are_asked_picture_by_picture(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    items = list(PopeSuite().items(data, 0, 0))
    assert len({item.key for item in items}) == 12
    assert [Path(str(item.image)).name for item in items] == ["one.jpg"] * 6 + ["two.jpg"] * 6
    assert items[0].key == "random/0"
    assert items[0].truth["label"] == "no"
    some = list(PopeSuite().items(data, 5, 3))
    assert [i.key for i in some] == [i.key for i in PopeSuite().items(data, 5, 3)]
    assert len(some) == 5


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"coco_pope_random\.json.*RUCAIBox/POPE"):
        next(PopeSuite().items(tmp_path, 0, 0))
    (tmp_path / "coco_pope_random.json").write_text('{"question_id": 1}\n')
    with pytest.raises(MalformedDataError, match="no image, text, label"):
        next(PopeSuite(("random",)).items(tmp_path, 0, 0))
    (tmp_path / "coco_pope_random.json").write_text("{}\n{")
    with pytest.raises(MalformedDataError, match="line 2"):
        next(PopeSuite(("random",)).items(tmp_path, 0, 0))


def test_the_measures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    said, true = rng.random(60) < 0.6, rng.random(60) < 0.5
    predictions = [
        Prediction(f"random/{k}", "yes" if a else "no",
                  truth={"file": "random", "label": "yes" if b else "no"})
        for k, (a, b) in enumerate(zip(said, true, strict=True))
    ]  # fmt: skip
    suite = PopeSuite()
    report = suite.score(predictions)
    measures = {"accuracy": accuracy_score, "precision": precision_score, "recall": recall_score,
                "f1": f1_score}  # fmt: skip
    for name, measure in measures.items():
        assert report.rows[f"random_{name}"]["value"] == pytest.approx(measure(true, said))
        assert report.rows[name]["low"] < report.rows[name]["value"] < report.rows[name]["high"]
    assert report.rows["random_yes_ratio"]["value"] == pytest.approx(said.mean())
    assert "0.914" in report.table
    assert suite.score(predictions) == report
    assert suite.right(predictions) == [bool(a == b) for a, b in zip(said, true, strict=True)]


def test_a_model_that_never_says_yes_has_no_precision() -> None:
    rows = PopeSuite().score([
        Prediction("random/0", "No", truth={"file": "random", "label": "yes"})
    ]).rows  # fmt: skip
    assert rows["precision"] == {"value": 0.0, "n": 0, "low": 0.0, "high": 1.0}
    assert rows["f1"]["value"] == 0.0
    with pytest.raises(ValueError, match="no answers"):
        PopeSuite().score([])
