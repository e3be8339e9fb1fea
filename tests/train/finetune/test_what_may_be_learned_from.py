"""Training takes the splits that it names, and stops where too many pictures are missing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from chatspot_train.data.records import Records

Painted = Callable[..., dict[str, str]]
Converted = Callable[..., Any]


def refcoco(folder: Path) -> Path:
    folder.mkdir()
    splits = ("train", "train", "val", "testA", "testB")
    images = [{"id": k, "file_name": f"COCO_train2014_{k:012d}.jpg", "width": 40, "height": 30}
              for k in range(len(splits))]  # fmt: skip
    things = [{"id": 10 + k, "image_id": k, "category_id": 1, "bbox": [2, 2, 20, 20], "iscrowd": 0,
               "area": 400.0} for k in range(len(splits))]  # fmt: skip
    refs = [{"ref_id": k, "ann_id": 10 + k, "image_id": k, "category_id": 1, "split": split,
             "file_name": f"COCO_train2014_{k:012d}_{k}.jpg",
             "sentences": [{"raw": "left mug", "sent": "left mug", "sent_id": k, "tokens": []}]}
            for k, split in enumerate(splits)]  # fmt: skip
    (folder / "instances.json").write_text(
        json.dumps(
            {"images": images, "annotations": things, "categories": [{"id": 1, "name": "mug"}]}
        )
    )
    (folder / "refs(unc).json").write_text(json.dumps(refs))
    return folder / "refs(unc).json"


def coco_text(folder: Path) -> Path:
    folder.mkdir()
    splits = ("train", "train", "val", "test")
    (folder / "cocotext.v2.json").write_text(json.dumps({
        "imgs": {str(k): {"id": k, "file_name": f"COCO_train2014_{k:012d}.jpg", "width": 40,
                          "height": 30, "set": split} for k, split in enumerate(splits)},
        "anns": {str(90 + k): {"id": 90 + k, "image_id": k, "bbox": [2, 2, 20, 20],
                               "utf8_string": "EXIT", "legibility": "legible",
                               "language": "english", "class": "machine printed"}
                 for k in range(len(splits))},
        "imgToAnns": {str(k): [90 + k] for k in range(len(splits))}}))  # fmt: skip
    return folder / "cocotext.v2.json"


def ocr_vqa(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({
        f"COCO_train2014_{k:012d}": {
            "split": split, "imageURL": "http://x/1.jpg", "title": "t", "questions": ["Who?"],
            "answers": ["Ann"]}
        for k, split in enumerate((1, 1, 2, 3))}))  # fmt: skip
    return folder / "dataset.json"


def look_twice(folder: Path) -> Path:
    folder.mkdir()
    entry = {
        "ans": "2",
        "bbox": {"x": 2, "y": 2, "w": 20, "h": 20},
        "point": {"x": 5, "y": 5},
        "obj_question": "How many of these mugs?",
        "super_question": "",
        "general_question": "",
    }
    names = [f"COCO_train2014_{k:012d}" for k in range(4)]
    (folder / "looktwiceqa_dataset.json").write_text(json.dumps({n: [entry] for n in names}))
    for split, part in (("train", names[:2]), ("val", names[2:3]), ("test", names[3:])):
        (folder / f"looktwiceqa_{split}_imgs.json").write_text(json.dumps(part))
    return folder / "looktwiceqa_dataset.json"


SOURCES = {"refcoco": refcoco, "coco_text": coco_text, "ocr_vqa": ocr_vqa,
           "looktwice_qa": look_twice}  # fmt: skip


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """`python -m chatspot_train.data.build` as docs/data.md says; a source for a run."""
    from chatspot_train.data.build import main

    def go(source: str, *more: str) -> dict[str, str]:
        file = SOURCES[source](tmp_path / "annotations")
        for k in range(5):
            images = tmp_path / "images"
            images.mkdir(exist_ok=True)
            Image.new("RGB", (40, 30), "red").save(images / f"COCO_train2014_{k:012d}.jpg")
        out = tmp_path / "records"
        assert main(["--source", source, "--annotations", str(file), "--images", str(images),
                     "--out", str(out), *more]) == 0  # fmt: skip
        return {"records": str(out), "images": str(images)}

    return go


@pytest.fixture
def learn(
    parts: dict[str, Any], tmp_path: Path, train_as: Callable[[Path], None]
) -> Callable[..., dict[str, Any]]:
    """Train one epoch on sources; what the exported model says of its training."""

    def go(*data: dict[str, Any], **more: Any) -> dict[str, Any]:
        optim = {"learning_rate": 1e-3, "batch": 1, "per_device": 1, "workers": 0, "warmup": 0.0,
                 "bf16": False, "progress": False, "log_every": 1, "save_every": 100,
                 "gradient_checkpointing": False}  # fmt: skip
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump({
            "recipe": "instruct", "out": str(tmp_path / "out"), "model": parts, "data": list(data),
            "learn": ["projection"], "optim": optim, **more}))  # fmt: skip
        train_as(file)
        found: dict[str, Any] = json.loads(
            (tmp_path / "out" / "model" / "training.json").read_text()
        )
        return found

    return go


@pytest.mark.parametrize("source", SOURCES)
def test_every_record_is_tagged_with_its_split(source: str, build: Callable[..., Any]) -> None:
    records = list(Records(Path(build(source)["records"])))
    splits = [[tag for tag in r.tags if tag.startswith("split: ")] for r in records]
    assert all(len(tags) == 1 for tags in splits)
    assert {tags[0] for tags in splits} > {"split: train", "split: val"}


@pytest.mark.parametrize("source", SOURCES)
def test_test_splits_do_not_enter_training(
    source: str, build: Callable[..., Any], learn: Callable[..., dict[str, Any]]
) -> None:
    """Built as docs/data.md says, without --split."""
    training = learn(build(source))
    assert training["log"]["steps"] == 2
    (noted,) = training["sources"]
    assert noted["records"] == 2
    assert noted["left_out"] in ({"val": 1, "test": 1}, {"val": 1, "testA": 1, "testB": 1})


def test_a_run_names_the_splits_that_it_takes(
    build: Callable[..., Any], learn: Callable[..., dict[str, Any]]
) -> None:
    training = learn({**build("refcoco"), "splits": ["train", "val"]})
    assert training["log"]["steps"] == 3
    assert training["sources"][0]["left_out"] == {"testA": 1, "testB": 1}


def test_validation_takes_what_it_names(
    build: Callable[..., Any], learn: Callable[..., dict[str, Any]], painted: Painted
) -> None:
    learn(painted(2), validation=[{**build("refcoco"), "splits": ["val"]}])


def test_records_without_a_split_are_all_taken(
    painted: Painted, learn: Callable[..., dict[str, Any]]
) -> None:
    assert learn(painted(3))["log"]["steps"] == 3


def test_a_source_with_nothing_but_test_splits_is_refused(
    build: Callable[..., Any], learn: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(SystemExit, match=r"(?s)test.*split|split.*test"):
        learn(build("coco_text", "--split", "test"))


def remove(made: dict[str, str], count: int) -> dict[str, str]:
    for picture in sorted(Path(made["images"]).iterdir())[:count]:
        picture.unlink()
    return made


def break_(made: dict[str, str], count: int) -> dict[str, str]:
    for picture in sorted(Path(made["images"]).iterdir())[:count]:
        picture.write_bytes(b"<html>404</html>")
    return made


@pytest.mark.parametrize("spoil", [remove, break_])
def test_a_source_whose_pictures_are_all_missing_stops_the_run(
    spoil: Callable[..., dict[str, str]],
    painted: Painted,
    learn: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Beside a whole source, its records are replaced one by one and the run ends well today."""
    with pytest.raises(SystemExit, match=r"(?s)empty.*missing|missing.*empty") as stopped:
        learn(painted(24), spoil(painted(4, source="empty"), 4))
    assert "4 of 4" in str(stopped.value)
    assert not (tmp_path / "out" / "model").exists()


def test_more_than_the_share_that_may_be_missing_stops_the_run(
    painted: Painted, learn: Callable[..., Any]
) -> None:
    with pytest.raises(SystemExit, match="max_missing"):
        learn(remove(painted(20), 2))


def test_the_share_that_may_be_missing_is_a_setting(
    painted: Painted, learn: Callable[..., dict[str, Any]]
) -> None:
    training = learn(remove(painted(20), 2), max_missing=0.2)
    assert training["sources"][0]["missing"] == 2


def test_a_card_counts_only_what_was_learned_from(
    painted: Painted, learn: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    learn(remove(painted(10), 1), max_missing=0.5)
    assert "1 missing" in (tmp_path / "out" / "model" / "README.md").read_text()
