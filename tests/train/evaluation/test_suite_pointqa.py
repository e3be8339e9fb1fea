"""PointQA: both data sets in the authors' files, by box and by point, scored by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources import SourceError
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.pointqa import PointQa

LOOK = {"id": 9, "obj_type": "giraffes", "obj_question": "How many giraffes?",
        "super_question": "How many of these animals?", "general_question": "How many of these?",
        "ans": "3", "point": {"x": 7, "y": 6, "ans": "3"},
        "bbox": {"x": 2, "y": 3, "w": 10, "h": 8, "names": ["giraffe"]}}  # fmt: skip
LOCAL = {"id": 9, "question": "What color is the shirt?", "all_ans": ["white", "blue"],
         "all_objs": [{"x": 2, "y": 3, "w": 10, "h": 8}, {"x": 1, "y": 1, "w": 0, "h": 2}],
         "points": [{"x": 7, "y": 6, "ans": "white"}, {"x": 2, "y": 2, "ans": "blue"}]}  # fmt: skip


def pointqa(folder: Path) -> Path:
    def write(name: str, value: Any) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))

    write("Datasets/LookTwiceQA/looktwiceqa_dataset.json", {
        "9": [LOOK, {k: v for k, v in LOOK.items() if k != "ans"}],
        "10": [{**LOOK, "point": {"x": 70, "y": 6}}], "11": [LOOK],
    })  # fmt: skip
    write("Datasets/LookTwiceQA/looktwiceqa_test_imgs.json", [9, 10])
    write("Datasets/LocalQA/localqa_dataset.json", {"9": [LOCAL], "11": [LOCAL]})
    write("Datasets/LocalQA/localqa_testfinal_imgs.json", ["9"])
    for name in ("VG_100K/9.jpg", "VG_100K_2/10.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20)).save(folder / name)
    return folder


def test_every_level_is_asked_by_box_and_by_point(tmp_path: Path) -> None:
    items = list(PointQa().items(pointqa(tmp_path), 0, 0))
    asked = {item.key: item.turns[0] for item in items}
    levels = ("obj_question", "super_question", "general_question")
    assert set(asked) == {
        *(f"looktwice-9-0-{level}-{shape}" for level in levels for shape in ("box", "point")),
        *(f"looktwice-10-0-{level}-box" for level in levels),  # its point is off the picture
        "local-9-0-0-box", "local-9-0-0-point", "local-9-0-1-point",  # its other box has no area
    }  # fmt: skip
    turn = asked["looktwice-9-0-general_question-point"]
    assert (turn.question, turn.regions) == ("How many of these? <region>", (Region.point(7, 6),))
    assert asked["local-9-0-0-box"].regions == (Region.box(2, 3, 12, 11),)
    assert [item.image for item in items] == sorted(item.image for item in items)  # type: ignore[type-var]
    some = PointQa(("looktwice",), ("box",), ("obj_question",))
    assert [i.key for i in some.items(tmp_path, 0, 0)] == [
        "looktwice-9-0-obj_question-box",
        "looktwice-10-0-obj_question-box",
    ]
    assert len(list(PointQa().items(tmp_path, 4, 1))) <= 4


def test_the_shares_by_hand(tmp_path: Path) -> None:
    suite = PointQa()
    items = list(suite.items(pointqa(tmp_path), 0, 0))
    said = {
        "looktwice-9-0-obj_question-box": "Three giraffes",
        "looktwice-9-0-obj_question-point": "13",
        "looktwice-10-0-obj_question-box": "",
        "looktwice-9-0-super_question-box": "3.",
        "local-9-0-0-box": "It is White!",
        "local-9-0-0-point": "off-white",
    }
    kept = [Prediction(i.key, said.get(i.key, "4"), truth=i.truth) for i in items]
    report = suite.score(kept)
    assert report.rows["local_point_plain"]["value"] == 0.5
    assert report.rows["looktwice_point_plain"]["value"] == pytest.approx(1 / 3)  # 13 has a 3
    values = {k: v for k, v in report.rows.items() if not k.endswith("_plain")}
    assert {k: (row["value"], row["n"]) for k, row in values.items()} == {
        "local_box": (1.0, 1), "local_point": (0.5, 2),
        "looktwice_box": (pytest.approx(2 / 6), 6), "looktwice_point": (0.0, 3),
        "looktwice_obj_box": (0.5, 2), "looktwice_obj_point": (0.0, 1),
        "looktwice_super_box": (0.5, 2), "looktwice_super_point": (0.0, 1),
        "looktwice_general_box": (0.0, 2), "looktwice_general_point": (0.0, 1),
    }  # fmt: skip
    assert "68.2 | 62.0" in report.table
    assert suite.score(kept).rows == report.rows
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"VG_100K.*visualgenome\.org"):
        PointQa().items(tmp_path, 0, 0)
    pointqa(tmp_path)
    (tmp_path / "VG_100K_2" / "10.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"10\.jpg"):
        PointQa().items(tmp_path, 0, 0)
    with pytest.raises(MissingDataError, match=r"looktwiceqa_val_imgs\.json"):
        PointQa(looktwice_split="val").items(tmp_path, 0, 0)
    (tmp_path / "Datasets/LookTwiceQA/looktwiceqa_dataset.json").write_text("[]")
    with pytest.raises(SourceError, match="one JSON object"):
        PointQa().items(tmp_path, 0, 0)
    with pytest.raises(ValueError, match="'circle' is not some of box, point"):
        PointQa(shapes=("circle",))
