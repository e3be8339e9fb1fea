"""RefCOCO: every sentence is asked, and hits are counted by both conventions."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import BoxXyxy
from chatspot_train.data.sources import SourceError
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.refcoco import RefCoco

NAME = "COCO_train2014_000000000007.jpg"


def refs(folder: Path, name: str = "refcoco", file: str = "refs(unc).json") -> Path:
    """RefCOCO's files: a train ref, val and testA ones, and one of a crowd."""

    def ref(k: int, ann: int, split: str, *said: str) -> dict[str, Any]:
        sentences = [{"raw": one, "sent": one.lower(), "sent_id": k, "tokens": []} for one in said]
        return {"ref_id": k, "ann_id": ann, "category_id": 1, "image_id": 7, "file_name": NAME,
                "split": split, "sent_ids": [], "sentences": sentences}  # fmt: skip

    things = [{"id": k, "image_id": 7, "category_id": 1, "bbox": bbox, "iscrowd": crowd}
              for k, bbox, crowd in ((1, [0, 0, 10, 10], 0), (2, [5, 5, 10, 10], 0),
                                     (3, [0, 0, 20, 20], 1), (4, [2, 2, 0, 5], 0))]  # fmt: skip
    (folder / name).mkdir()
    (folder / name / "instances.json").write_text(json.dumps({
        "images": [{"id": 7, "file_name": NAME, "width": 20, "height": 20}],
        "categories": [{"id": 1, "name": "person"}], "annotations": things,
    }))  # fmt: skip
    (folder / name / file).write_text(json.dumps([
        ref(0, 1, "train", "man"), ref(1, 1, "val", "Left man", "man with café cup"),
        ref(2, 2, "testA", "right {thing}"), ref(3, 3, "val", "crowd"), ref(4, 4, "val", "flat"),
        ref(5, 1, "val"), ref(6, 404, "val", "nobody"),
    ]))  # fmt: skip
    (folder / "train2014").mkdir(exist_ok=True)
    Image.new("RGB", (20, 20)).save(folder / "train2014" / NAME)
    return folder


def test_every_sentence_is_asked_but_train(tmp_path: Path) -> None:
    items = list(RefCoco().items(refs(tmp_path), 0, 0))
    asked = {item.key: item.turns for item in items}
    assert set(asked) == {"refcoco-1-0", "refcoco-1-1", "refcoco-2-0"}
    (turn,) = asked["refcoco-1-1"]
    assert (turn.question, turn.task, turn.regions) == (
        "Where is man with café cup?", "locate", ())  # fmt: skip
    assert items[0].image == tmp_path / "train2014" / NAME
    assert [i.key for i in RefCoco(splits=("train",)).items(tmp_path, 0, 0)] == ["refcoco-0-0"]
    assert len(list(RefCoco().items(tmp_path, 2, 0))) == 2
    named = RefCoco(question="Find {thing}.", splits=("testA",))
    assert next(named.items(tmp_path, 0, 0)).turns[0].question == "Find right {thing}."


def test_all_data_sets_that_are_there(tmp_path: Path) -> None:
    refs(tmp_path)
    refs(tmp_path, "refcocog", "refs(umd).json")
    found = {item.truth["dataset"] for item in RefCoco().items(tmp_path, 0, 0)}
    assert found == {"refcoco", "refcocog"}
    with pytest.raises(MissingDataError, match=r"refcoco\+/refs\(unc\)\.json"):
        RefCoco(datasets=("refcoco+",)).items(tmp_path, 0, 0)


def test_both_conventions_by_hand() -> None:
    suite = RefCoco()

    number = count()

    def answer(split: str, *boxes: BoxXyxy) -> Prediction:
        truth = {"dataset": "refcoco", "split": split, "box_xyxy_px": [0, 0, 10, 10]}
        return Prediction(str(next(number)), "there", boxes_xyxy_px=boxes, truth=truth)

    nan = float("nan")
    kept = [
        answer("val", (0, 0, 10, 5)),  # IoU 0.5
        answer("val", (0, 0, 10, 9)),
        answer("val"),  # no box
        answer("val", (10, 10, 20, 20), (0, 0, 10, 10)),  # the first counts
        answer("val", (nan, nan, nan, nan)),
        answer("testB", (0, 0, 10, 10)),
    ]
    report = suite.score(kept)
    assert {name: row["value"] for name, row in report.rows.items()} == {
        "refcoco_val_iou_over_0.5": pytest.approx(1 / 5),
        "refcoco_val_iou_at_least_0.5": pytest.approx(2 / 5),
        "refcoco_val_no_box": pytest.approx(1 / 5),
        "refcoco_testB_iou_over_0.5": 1.0, "refcoco_testB_iou_at_least_0.5": 1.0,
        "refcoco_testB_no_box": 0.0,
    }  # fmt: skip
    assert suite.right(kept) == [False, True, False, False, False, True]
    assert "| refcoco val | 88.1 | 20.0 | 40.0 | 20.0 | 5 |" in report.table
    assert suite.score(kept).table == report.table
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"refcoco/refs\(unc\)\.json"):
        RefCoco().items(tmp_path, 0, 0)
    refs(tmp_path)
    (tmp_path / "train2014" / NAME).unlink()
    with pytest.raises(MissingDataError, match=NAME):
        RefCoco().items(tmp_path, 0, 0)
    (tmp_path / "refcoco" / "refs(unc).json").rename(tmp_path / "refcoco" / "refs(unc).p")
    with pytest.raises(SourceError, match=r"a pickle.*docs/data\.md"):
        RefCoco().items(tmp_path, 0, 0)
    (tmp_path / "refcoco" / "instances.json").unlink()
    with pytest.raises(MissingDataError, match=r"instances\.json"):
        RefCoco().items(tmp_path, 0, 0)
