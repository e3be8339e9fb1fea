"""VizWiz-VQA-Grounding: the place given, the answer scored, against values worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.evaluation.metrics.text import vqa_accuracy, vqa_normal
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.vizwiz_grounding import VizWizGrounding

CORNERS = [{"x": 2, "y": 3}, {"x": 12, "y": 3}, {"x": 7, "y": 11}]
ENTRY: dict[str, Any] = {
    "question": "What's this?  ", "answers": ["soup"] * 6 + ["the soup."] * 2 + ["can"] * 2,
    "most_common_answer": "soup", "height": 20, "width": 30, "answer_grounding": CORNERS,
}  # fmt: skip


def vizwiz(folder: Path) -> Path:
    named = {"VizWiz_val_00000001.jpg": ENTRY,
             "VizWiz_val_00000002.jpg": {
                 **ENTRY, "most_common_answer": "",
                 "answers": [{"answer": "2 cans", "answer_confidence": "yes"}] * 10},
             "VizWiz_val_00000003.jpg": {**ENTRY, "answers": []},
             "VizWiz_val_00000004.jpg": {**ENTRY, "answer_grounding": CORNERS[:2]}}  # fmt: skip
    (folder / "val").mkdir()
    for name in named:
        Image.new("RGB", (30, 20)).save(folder / "val" / name)
    (folder / "val_grounding.json").write_text(json.dumps(named))
    return folder


def test_the_place_is_given_as_box_or_polygon(tmp_path: Path) -> None:
    items = list(VizWizGrounding().items(vizwiz(tmp_path), 0, 0))
    assert [item.key[-5:] for item in items] == ["1.jpg", "2.jpg", "3.jpg"]
    (turn,) = items[0].turns
    assert (turn.question, turn.regions) == ("What's this? <region>", (Region.box(2, 3, 12, 11),))
    assert items[1].truth["answer"] == "2 cans"
    outlined = list(VizWizGrounding(shape="polygon").items(tmp_path, 1, 0))
    assert len(outlined) == 1
    assert outlined[0].turns[0].regions == (Region.polygon([(2, 3), (12, 3), (7, 11)]),)
    with pytest.raises(ValueError, match="'circle'"):
        VizWizGrounding(shape="circle")


def test_the_rows_by_hand(tmp_path: Path) -> None:
    suite = VizWizGrounding()
    items = list(suite.items(vizwiz(tmp_path), 0, 0))
    said = ["The soup", "two cans of beans", ""]
    kept = [Prediction(i.key, s, truth=i.truth) for i, s in zip(items, said, strict=True)]
    report = suite.score(kept)
    assert report.rows["contains"]["value"] == pytest.approx(2 / 3)
    assert report.rows["vqa_accuracy"]["value"] == 0.5  # 1 and 0; the third has no answers
    assert report.rows["vqa_accuracy"]["n"] == 2
    assert "| paper | 63.0 |" in report.table
    assert suite.score(kept).rows == report.rows
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def test_vqa_accuracy_leaves_each_out() -> None:
    answers = ["red"] * 3 + ["blue"] * 7
    # Three leave-outs see 2 others who agree, seven see 3.
    assert vqa_accuracy("Red.", answers) == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)
    assert vqa_accuracy("blue", answers) == 1.0
    assert vqa_accuracy("green", answers) == 0.0
    assert vqa_accuracy("", ["", ""]) == 0.0
    assert vqa_accuracy("one", ["1"] + ["2"] * 9) == pytest.approx(9 * (1 / 3) / 10)
    with pytest.raises(ValueError, match="1 answers"):
        vqa_accuracy("a", ["a"])


@pytest.mark.parametrize(
    ("text", "plain"),
    [("The  Cat's toy!", "cats toy"), ("1,000.50 $", "1000.50"), ("x.y", "xy"), ("Ten", "10"),
     ("Café-crème", "café crème"), ("the", "")],
)  # fmt: skip
def test_vqa_normal(text: str, plain: str) -> None:
    assert vqa_normal(text) == plain


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"val_grounding\.json.*vizwiz\.org"):
        VizWizGrounding().items(tmp_path, 0, 0)
    vizwiz(tmp_path)
    (tmp_path / "val" / "VizWiz_val_00000001.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"00000001\.jpg"):
        VizWizGrounding().items(tmp_path, 0, 0)
    with pytest.raises(MissingDataError, match=r"train_grounding\.json"):
        VizWizGrounding(split="train").items(tmp_path, 0, 0)
