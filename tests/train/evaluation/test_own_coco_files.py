"""Evaluation of people's own COCO files under any names, and LLaVA-Grounding's under its names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_train import evaluate
from chatspot_train.evaluation.registry import make
from chatspot_train.evaluation.suites.coco_region import CocoRegion

Ask = Callable[..., dict[str, dict[str, float]]]


@pytest.fixture
def ask(tmp_path: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]) -> Ask:
    """`chatspot evaluate` with an endpoint; returns the rows, a failure is a SystemExit."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps({
        "name": "served", "dialect": {"name": "chatspot", "decimals": 2},
        "geometry": {"mode": "stretch", "width": 64, "height": 48}, "prompt_style": "words",
    }))  # fmt: skip
    chat_server.answer = lambda topic, count: chat_server.completion(
        "Yes, a mug <box>0.06 0.08 0.53 0.71</box>"
    )

    def go(suite: str, *more: str) -> dict[str, dict[str, float]]:
        model = ["--model", chat_server.url, "--served-model", "one", "--spec", str(spec)]
        failed = evaluate.main(["--suite", suite, *model, "--out", str(tmp_path / "out"), *more])
        if failed:
            raise SystemExit(capsys.readouterr().err)
        found = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
        return dict(found)

    return go


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((48, 64, 3), 90, np.uint8))


def coco(name: str) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": name, "width": 64, "height": 48}],
        "annotations": [
            {"id": 5, "image_id": 9, "category_id": 1, "bbox": [4, 4, 30, 30], "iscrowd": 0,
             "area": 900},
            {"id": 6, "image_id": 9, "category_id": 2, "bbox": [40, 4, 20, 30], "iscrowd": 0,
             "area": 600}],
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "fridge door"}],
    }  # fmt: skip


@pytest.mark.parametrize("suite", ["coco_region", "noise", "hallucination", "refusal"])
def test_own_coco_files_under_any_names(suite: str, ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "kitchen 1.png")
    file = tmp_path / "labels" / "export(3).json"
    file.parent.mkdir()
    file.write_text(json.dumps(coco("kitchen 1.png")))
    rows = ask(suite, "--annotations", str(file), "--images", str(tmp_path / "photos"))
    assert max(row["n"] for row in rows.values()) >= 2


def test_own_coco_files_are_described(ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "own.json").write_text(json.dumps(coco("a.png")))
    files = ("--annotations", str(tmp_path / "own.json"), "--images", str(tmp_path / "photos"))
    rows = ask("grounding", *files)
    assert (rows["precision"]["value"], rows["recall"]["value"]) == (1.0, 0.5)


def test_what_is_missing_of_own_files_is_named(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(json.dumps(coco("gone.png")))
    (tmp_path / "photos").mkdir()
    with pytest.raises(SystemExit, match=r"gone\.png"):
        ask("coco_region", "--annotations", str(file), "--images", str(tmp_path / "photos"))


def test_all_own_pictures_are_asked_about_and_the_papers_numbers_left_out(
    ask: Ask, tmp_path: Path
) -> None:
    own = ("--annotations", str(tmp_path / "export.json"), "--images", str(tmp_path / "photos"))
    whole = coco("one.png")
    whole["images"].append({"id": 10, "file_name": "/home/me/two.png", "width": 64, "height": 48})
    whole["annotations"].append({**whole["annotations"][0], "id": 7, "image_id": 10})
    (tmp_path / "export.json").write_text(json.dumps(whole))
    for name in ("one.png", "two.png"):
        picture(tmp_path / "photos" / name)
    assert ask("coco_region", *own)["accuracy"]["n"] == 3
    suite = make("coco_region", {"annotations": tmp_path / "x", "images": tmp_path})
    assert isinstance(suite, CocoRegion)
    assert suite.pictures == 0
    for name in ("coco_region", "noise", "hallucination"):
        ask(name, *own)
        assert make(name, {"annotations": tmp_path, "images": tmp_path}).paper == {}
        report = (tmp_path / "out" / "report.md").read_text()
        assert "| paper" not in report
        for number in ("64.5", "64.7", "2.2"):  # the paper's
            assert f"| {number} |" not in report


def test_a_category_that_is_never_annotated_is_not_asked_for(tmp_path: Path) -> None:
    """Some tools write the group of all categories as one more of them."""
    for name in ("one.png", "two.png"):
        picture(tmp_path / name)
    whole = coco("one.png")
    whole["images"].append({"id": 10, "file_name": "two.png", "width": 64, "height": 48})
    whole["annotations"][1]["image_id"] = 10
    whole["categories"].append({"id": 0, "name": "kitchen things"})
    (tmp_path / "export.json").write_text(json.dumps(whole))
    own = {"annotations": tmp_path / "export.json", "images": tmp_path}
    things = {
        item.truth["thing"] for seed in range(10)
        for item in make("refusal", own).items(tmp_path, 0, seed)
    }  # fmt: skip
    assert things == {"mug", "fridge door"}


@pytest.mark.parametrize(
    ("suite", "more", "problem"),
    [
        ("coco_region", ["--images", "."], "give both --annotations and --images"),
        ("refusal", ["--annotations", "x.json"], "give both --annotations and --images"),
        ("pope", ["--annotations", "x.json", "--images", "."], "pope does not read --annotations"),
        ("noise", ["--of", "pointqa", "--annotations", "x.json", "--images", "."],
         "pointqa does not read --annotations"),
        ("refusal", ["--annotations", "x.json", "--images", "."], "x.json"),
    ],
)  # fmt: skip
def test_own_files_are_never_left_unread(
    suite: str, more: list[str], problem: str, ask: Ask
) -> None:
    with pytest.raises(SystemExit, match=problem):
        ask(suite, *more)


@pytest.mark.parametrize(
    ("conversations", "instances", "images"),
    [
        ("coco/annotations/grounded_visual_chat_data.json",
         "coco/annotations/instances_train2017_gvc.json", "coco/train2017"),
        ("llava/annotations/grounded_visual_chat_data.json",
         "coco/annotations/instances_train2017_gvc.json", "coco/train2014"),
        ("llava/annotations/merged_v3_fixed.json",
         "coco/annotations/instances_train2017_instruct_grounding_fix_v3.json", "coco/train2014"),
    ],
    ids=["its README", "its reader", "earlier names"],
)  # fmt: skip
def test_llava_groundings_files_as_they_are_named(
    conversations: str, instances: str, images: str, ask: Ask, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    picture(data / images / "000000000009.jpg")
    for name in (conversations, instances):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / instances).write_text(json.dumps(coco("000000000009.jpg")))
    (data / conversations).write_text(json.dumps([{
        "id": "000000000009", "image": "000000000009.jpg", "gd_ls": [[5]],
        "conversations": [{"from": "human", "value": "<image>\nWhat is here?"},
                          {"from": "gpt", "value": "There is <g_s> a mug <g_e> <seg> ."}]}
    ]))  # fmt: skip
    rows = ask("grounding", "--data", str(tmp_path / "data"))
    assert rows["recall"]["value"] == 1.0
