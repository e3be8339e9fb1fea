"""Refusal: what denies, what is asked for in vain, and the measures as scikit-learn has them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from chatspot_train.data.sources.base import SourceError
from chatspot_train.evaluation.metrics.text import denies
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.coco_pictures import CocoFiles
from chatspot_train.evaluation.suites.refusal import RefusalSuite


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("No.", True), ("no", True), ("There is no dog here.", True), ("It isn’t there.", True),
        ("I cannot see a dog.", True), ("The region contains no dog", True),
        ("A dog is not visible.", True), ("There's no such thing", True), ("None", True),
        ("Yes.", False), ("Yes, but it is not open.", False), ("", False), ("A piano", False),
        ("a mug with no handle", False), ("There is a dog. There is no cat.", False),
        ("犬がいます", False), ("Knot", False),
    ],
)  # fmt: skip
def test_what_denies(text: str, denied: bool) -> None:
    assert denies(text) is denied


CATEGORIES = [{"id": k, "name": name} for k, name in
              enumerate(("dog", "apple", "mug", "oven", "茶"), 1)]  # fmt: skip


def make_data(folder: Path) -> Path:
    def thing(number: int, image: int, category: int, *bbox: float, crowd: int = 0) -> dict:
        return {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox),
                "iscrowd": crowd}  # fmt: skip

    things = [
        thing(1, 1, 1, 0, 0, 40, 40), thing(2, 1, 2, 60, 60, 30, 30),
        thing(3, 1, 3, 20, 20, 20, 20), thing(4, 1, 4, 30, 30, 60, 60, crowd=1),
        thing(5, 1, 2, 0, 90, 5, 5), thing(6, 2, 1, 0, 0, 30, 30), thing(7, 2, 5, 90, 90, 0, 5),
    ]  # fmt: skip
    images = [{"id": k, "file_name": f"{k}.jpg", "width": 100, "height": 100} for k in (1, 2)]
    for image in images:
        cv2.imwrite(str(folder / str(image["file_name"])), np.zeros((100, 100, 3), np.uint8))
    coco = {"images": images, "annotations": things, "categories": CATEGORIES}
    (folder / "instances.json").write_text(json.dumps(coco))
    return folder


SUITE = RefusalSuite(CocoFiles(Path("instances.json"), Path()))


def test_present_and_absent_things_are_asked_in_balance(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    elsewhere = 0
    for seed in range(10):
        items = list(SUITE.items(data, 0, seed))
        assert [item.key for item in items] == [item.key for item in SUITE.items(data, 0, seed)]
        kinds = [item.truth["kind"] for item in items]
        # Regions 1, 2, 3 and 6: no crowd, not too small, with an area.
        assert kinds[::2] == ["present"] * 4
        assert "present" not in kinds[1::2]
        for item in items:
            kind, thing = item.truth["kind"], item.truth["thing"]
            number = int(item.key.split("/")[0])
            # Touching counts as being there: the crowd (oven) touches 1, 2 and 3.
            allowed = {
                1: {"elsewhere": {"apple"}, "nowhere": {"茶"}},
                2: {"elsewhere": {"dog", "mug"}, "nowhere": {"茶"}},
                3: {"elsewhere": {"apple"}, "nowhere": {"茶"}},
                # The box of 茶 has no area: it is somewhere, so it is not asked for.
                6: {"nowhere": {"apple", "mug", "oven"}},
            }[number]
            if kind == "present":
                assert thing == {1: "dog", 2: "apple", 3: "mug", 6: "dog"}[number]
            else:
                assert thing in allowed[kind]
            elsewhere += kind == "elsewhere"
            article = "an" if thing[0] in "ao" else "a"
            assert item.turns[0].question == f"Is there {article} {thing} in <region>?"
    # Region 2's turn; that of 6 comes too, but there is nothing elsewhere in its picture.
    assert elsewhere == 10


def test_a_limit_counts_questions(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    assert [len(list(SUITE.items(data, limit, 1))) for limit in (1, 2, 3, 100)] == [1, 2, 3, 8]


def test_the_measures_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    said, absent = rng.random(50) < 0.5, rng.random(50) < 0.5
    predictions = [
        Prediction(str(k), "No." if a else "Yes.",
                  truth={"kind": ("elsewhere", "nowhere")[k % 2] if b else "present"})
        for k, (a, b) in enumerate(zip(said, absent, strict=True))
    ]  # fmt: skip
    report = SUITE.score(predictions)
    rows = report.rows
    assert rows["refusals"]["value"] == pytest.approx(recall_score(absent, said))
    assert rows["precision"]["value"] == pytest.approx(precision_score(absent, said))
    assert rows["f1"]["value"] == pytest.approx(f1_score(absent, said))
    assert rows["accuracy"]["value"] == pytest.approx((said == absent).mean())
    assert rows["false_denials"]["value"] == pytest.approx(said[~absent].mean())
    assert rows["refusals/nowhere"]["n"] + rows["refusals/elsewhere"]["n"] == absent.sum()
    assert SUITE.score(predictions) == report


def test_an_empty_answer_is_never_right() -> None:
    predictions = [Prediction(k, "", truth={"kind": k}) for k in ("present", "nowhere")]
    assert SUITE.right(predictions) == [False, False]
    assert SUITE.score(predictions).rows["f1"]["value"] == 0.0


def test_what_is_missing_or_malformed_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"instances_val2017\.json"):
        next(RefusalSuite().items(tmp_path, 0, 0))
    (tmp_path / "instances.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(SourceError, match="categories"):
        next(SUITE.items(tmp_path, 0, 0))
