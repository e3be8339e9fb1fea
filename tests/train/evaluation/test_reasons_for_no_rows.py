"""A suite that has nothing to score says which file it is and why, in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_train import evaluate

CATEGORIES = [{"id": 1, "name": "mug", "supercategory": "kitchen"},
              {"id": 2, "name": "person", "supercategory": "person"},
              {"id": 3, "name": "dog", "supercategory": "animal"}]  # fmt: skip
REGION = ("coco_region", "noise", "hallucination", "calibration")
COCO = (*REGION, "refusal")


def instances() -> dict[str, Any]:
    """COCO's instances_val2017.json of one picture."""
    images = [{"id": 139, "file_name": "000000000139.jpg", "width": 64, "height": 48,
               "license": 2, "coco_url": "", "date_captured": "2013-11-21 01:34:01"}]  # fmt: skip
    annotations = [
        {"id": 1768, "image_id": 139, "category_id": 1, "bbox": [4.0, 4.0, 30.0, 30.0],
         "area": 700.5, "iscrowd": 0, "segmentation": [[4, 4, 34, 4, 34, 34, 4, 34]]},
        {"id": 1773, "image_id": 139, "category_id": 2, "bbox": [30.0, 10.0, 30.0, 30.0],
         "area": 650.0, "iscrowd": 0, "segmentation": [[30, 10, 60, 10, 60, 40, 30, 40]]},
    ]  # fmt: skip
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations,
            "categories": CATEGORIES}  # fmt: skip


@pytest.fixture
def score(
    tmp_path: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, dict[str, float]]]:
    """Evaluate a suite on files `{name: bytes}`; the rows."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps({
        "name": "served", "dialect": {"name": "chatspot", "decimals": 2},
        "geometry": {"mode": "stretch", "width": 64, "height": 64}, "prompt_style": "words",
    }))  # fmt: skip
    chat_server.answer = lambda topic, count: chat_server.completion("a mug, yes")

    def go(suite: str, files: dict[str, bytes], *pictures: str) -> dict[str, dict[str, float]]:
        for name, data in files.items():
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_bytes(data)
        for name in pictures:
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "data" / name), np.full((48, 64, 3), 90, np.uint8))
        status = evaluate.main([
            "--fresh", "--suite", suite, "--data", str(tmp_path / "data"),
            "--out", str(tmp_path / "out"),
            "--model", chat_server.url, "--served-model", "one", "--spec", str(spec),
        ])  # fmt: skip
        if status:
            raise SystemExit(capsys.readouterr().err)
        found = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
        return dict(found)

    return go


def coco(change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    loaded = instances()
    change(loaded)
    return {"annotations/instances_val2017.json": json.dumps(loaded).encode()}


def without_area(loaded: dict[str, Any]) -> None:
    for one in loaded["annotations"]:
        del one["area"]


def text_ids(loaded: dict[str, Any]) -> None:
    for one in (*loaded["images"], *loaded["annotations"]):
        one["id"] = f"n{one['id']}"
    for one in loaded["annotations"]:
        one["image_id"] = f"n{one['image_id']}"


def numbers_as_text(loaded: dict[str, Any]) -> None:
    for one in loaded["annotations"]:
        one["image_id"] = str(one["image_id"])


def float_ids(loaded: dict[str, Any]) -> None:
    for one in loaded["annotations"]:
        one["image_id"] = float(one["image_id"])


@pytest.mark.parametrize("suite", COCO)
@pytest.mark.parametrize("change", [without_area, text_ids, numbers_as_text, float_ids])
def test_a_coco_file_as_people_write_it_is_asked_about(
    suite: str, change: Callable[[dict[str, Any]], None], score: Callable[..., Any]
) -> None:
    if suite == "calibration":
        pytest.skip("an endpoint tells no confidence")
    rows = score(suite, coco(change), "val2017/000000000139.jpg")
    assert max(row["n"] for row in rows.values()) >= 2


def nothing(loaded: dict[str, Any]) -> None:
    loaded["annotations"] = []


def crowds_only(loaded: dict[str, Any]) -> None:
    for one in loaded["annotations"]:
        one["iscrowd"] = 1


def other_pictures(loaded: dict[str, Any]) -> None:
    for one in loaded["annotations"]:
        one["image_id"] = 140


@pytest.mark.parametrize("suite", COCO)
@pytest.mark.parametrize(
    ("change", "said"),
    [(nothing, "annotation"), (crowds_only, "crowd"), (other_pictures, "no picture in the file")],
)
def test_a_coco_file_without_questions_says_why(
    suite: str, change: Callable[[dict[str, Any]], None], said: str, score: Callable[..., Any]
) -> None:
    with pytest.raises(SystemExit, match=rf"(?s)instances_val2017\.json.*{said}|"
                                         rf"{said}.*instances_val2017\.json"):  # fmt: skip
        score(suite, coco(change), "val2017/000000000139.jpg")


POPE = {"question_id": 1, "image": "COCO_val2014_000000000042.jpg",
        "text": "Is there a zèbre in the image?", "label": "yes"}  # fmt: skip
POPE_FILES = tuple(f"coco_pope_{k}.json" for k in ("random", "popular", "adversarial"))
MMBENCH = "index\tquestion\thint\tA\tB\timage\tanswer\tcategory\tl2-category\tsplit\n"
TEXTS: dict[str, dict[str, str]] = {
    "pope": dict.fromkeys(POPE_FILES, json.dumps(POPE, ensure_ascii=False) + "\n"),
    "mmbench": {"mmbench_dev_20230712.tsv":
                MMBENCH + "1\tzèbre?\t\tyes\tno\tXXXX\tA\tc\tl\tdev\n"},
    "mmvet": {"mm-vet.json": json.dumps({"v1_0": {
        "imagename": "v1_0.png", "question": "zèbre?", "answer": "yes", "capability": ["rec"],
        "imagesource": ""}}, ensure_ascii=False)},
    "coco_text": {"cocotext.v2.json": json.dumps({
        "imgs": {"1": {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "set": "val"}},
        "anns": {"9": {"id": 9, "image_id": 1, "bbox": [4, 4, 20, 20], "utf8_string": "zèbre",
                       "legibility": "legible", "language": "english",
                       "class": "machine printed"}},
        "imgToAnns": {"1": [9]}}, ensure_ascii=False)},
    "vizwiz_grounding": {"val_grounding.json": json.dumps({"a.jpg": {
        "question": "zèbre?", "answers": ["yes"] * 10, "most_common_answer": "yes", "width": 64,
        "height": 48, "answer_grounding": [{"x": 1, "y": 1}, {"x": 40, "y": 1},
                                           {"x": 40, "y": 40}]}}, ensure_ascii=False)},
    "refcoco": {"refcoco/refs(unc).json": json.dumps([{
        "ref_id": 1, "ann_id": 1768, "image_id": 139, "category_id": 1, "split": "val",
        "file_name": "x.jpg", "sentences": [{"raw": "le zèbre", "sent": "le zèbre", "sent_id": 0,
                                             "tokens": []}]}], ensure_ascii=False)},
}  # fmt: skip
PICTURES = ("val2014/COCO_val2014_000000000042.jpg", "train2014/a.jpg", "val/a.jpg",
            "val2017/x.jpg",
            "images/v1_0.png", "train2014/000000000139.jpg")  # fmt: skip


@pytest.mark.parametrize(
    ("coding", "suite"),
    [*(("latin-1", suite) for suite in TEXTS), ("utf-16", "pope"), ("utf-16", "mmbench")],
)
def test_a_file_in_another_coding_is_named(
    suite: str, coding: str, score: Callable[..., Any]
) -> None:
    files = {name: text.encode(coding) for name, text in TEXTS[suite].items()}
    name = next(iter(files)).rpartition("/")[2].replace("(", r"\(").replace(")", r"\)")
    files |= {"refcoco/instances.json": json.dumps(instances()).encode()}
    with pytest.raises(SystemExit, match=rf"(?s)(utf-?8|UTF-?8|JSON).*{name}"):
        score(suite, files, *PICTURES)


@pytest.mark.parametrize("suite", TEXTS)
@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"[]", b"null"])
def test_a_file_with_nothing_in_it_is_named(
    suite: str, content: bytes, score: Callable[..., Any]
) -> None:
    files = dict.fromkeys(TEXTS[suite], content)
    name = next(iter(files)).rpartition("/")[2].replace("(", r"\(").replace(")", r"\)")
    files |= {"refcoco/instances.json": json.dumps(instances()).encode()}
    with pytest.raises(SystemExit, match=name):
        score(suite, files, *PICTURES)


def test_a_byte_order_mark_is_no_part_of_the_data(score: Callable[..., Any]) -> None:
    files = {name: b"\xef\xbb\xbf" + text.encode() for name, text in TEXTS["pope"].items()}
    assert score("pope", files, *PICTURES)["accuracy"] == pytest.approx(
        {"value": 1.0, "n": 3, "low": 0.438, "high": 1.0}, abs=0.01
    )


def test_a_byte_order_mark_in_a_coco_file(score: Callable[..., Any]) -> None:
    files = {name: b"\xef\xbb\xbf" + data for name, data in coco(lambda loaded: None).items()}
    for suite in ("coco_region", "refusal"):
        assert max(row["n"] for row in score(
            suite, files, "val2017/000000000139.jpg").values()) >= 2  # fmt: skip
