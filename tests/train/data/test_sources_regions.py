"""Data sets of questions about regions, and of places, become records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.build import build
from chatspot_train.data.records import Record, Records
from chatspot_train.data.sources import SourceError, find_source
from chatspot_train.data.sources.objects365 import REGION_QUESTIONS
from chatspot_train.data.sources.refcoco import LOCATE_QUESTIONS, NAME_QUESTIONS
from chatspot_train.data.sources.visual_genome import QUESTIONS as PHRASE_QUESTIONS

Convert = Callable[..., tuple[list[Record], dict[str, list[str]]]]


def test_objects365_by_regions(convert: Convert, tmp_path: Path) -> None:
    def thing(k: int, bbox: list[Any], category: int = 1, **more: int) -> dict[str, Any]:
        return {"id": k, "image_id": 5, "category_id": category, "bbox": bbox, **more}

    data = {
        "categories": [{"id": 1, "name": "Wine Glass"}, {"id": 2}],
        "images": [{"id": 5, "file_name": "a.jpg", "width": 30, "height": 20}],
        "annotations": [
            thing(0, [1.5, 2, 3, 4]), thing(1, [1, 2, 3, 4], iscrowd=1), thing(2, [1, 2, 0, 4]),
            thing(3, [1, 2, 3]), thing(4, [1, 2, 3, 4], 2), thing(5, [1, 2, 3, "x"]),
            thing(6, [25, 15, 10, 10], isfake=0), {**thing(7, [1, 2, 3, 4]), "image_id": 404},
        ],
    }  # fmt: skip
    records, drops = convert("objects365_region", data, {"a.jpg": (30, 20)}, tmp_path)
    (record,) = records
    assert all(turn.question in REGION_QUESTIONS for turn in record.turns)
    assert [(t.answer, t.regions) for t in record.turns] == [
        ("wine glass", (Region.box(1.5, 2, 4.5, 6),)),
        ("wine glass", (Region.box(25, 15, 30, 20),)),
    ]
    assert drops == {
        "name: Field required": ["categories[1]"],
        "the annotation is of no picture in the file": ["annotations[7]"],
        "the box is of a crowd, not of one thing": ["annotations[1]"],
        "the box has no area": ["annotations[2]"],
        "a box has not four numbers": ["annotations[3]"],
        "there is no such category": ["annotations[4]"],
        "bbox.[]: Input should be a valid number, unable to parse string as a number": [
            "annotations[5]"
        ],
    }


def test_visual_genome(convert: Convert, tmp_path: Path) -> None:
    def region(k: int, phrase: str, *xywh: int) -> dict[str, Any]:
        x, y, w, h = xywh
        return {"region_id": k, "image_id": 9, "x": x, "y": y, "width": w, "height": h,
                "phrase": phrase}  # fmt: skip

    regions = [region(1, " the clock is  green\n", 2, 3, 10, 8), region(2, "flat", 2, 3, 0, 8),
               region(3, "", 2, 3, 4, 4), region(4, "over the edge", -3, -1, 10, 8)]  # fmt: skip
    data = [{"id": 9, "regions": regions}, {"id": 10, "regions": regions}, {"id": 11}]
    pictures = {"VG_100K_2/9.jpg": (20, 20), "VG_100K/11.jpg": (9, 9)}
    records, drops = convert("visual_genome", data, pictures, tmp_path)
    (record,) = records
    assert (record.id, record.image) == ("9", "VG_100K_2/9.jpg")
    assert all(turn.question in PHRASE_QUESTIONS for turn in record.turns)
    assert [(t.answer, t.regions) for t in record.turns] == [
        ("the clock is green", (Region.box(2, 3, 12, 11),)),
        ("over the edge", (Region.box(0, 0, 7, 7),)),
    ]
    assert drops == {
        "the box has no area": ["[0].regions[1]"],
        "the text is empty": ["[0].regions[2]"],
        "the picture is missing": ["[1]"],
        "regions: Field required": ["[2]"],
    }


LOOK = {"id": 9, "obj_type": "giraffes", "obj_question": "How many giraffes?",
        "super_question": "How many of these animals?", "general_question": "How many of these?",
        "ans": "3", "point": {"x": 7, "y": 6, "ans": "3"},
        "bbox": {"x": 2, "y": 3, "w": 10, "h": 8, "names": ["giraffe"]}}  # fmt: skip


def test_look_twice(convert: Convert, tmp_path: Path) -> None:
    lost = {**LOOK, "point": {"x": 70, "y": 6}, "bbox": {"x": 50, "y": 3, "w": 10, "h": 8}}
    data = {"9": [LOOK, {k: v for k, v in LOOK.items() if k != "ans"}, lost], "10": [LOOK]}
    (tmp_path / "annotations_train_imgs.json").write_text("[9]")
    records, drops = convert("looktwice_qa", data, {"9.jpg": (20, 20)}, tmp_path, split="train")
    (record,) = records
    assert (record.id, record.image, record.tags[-1]) == ("9-0", "9.jpg", "split: train")
    (turn,) = record.turns
    asked = {f"{LOOK[level]} <region>" for level in
             ("obj_question", "super_question", "general_question")}  # fmt: skip
    assert turn.question in asked
    assert turn.answer == "3"
    assert turn.regions[0] in (Region.point(7, 6), Region.box(2, 3, 12, 11))
    assert drops["ans: Field required"] == ["['9'][1]"]
    assert sum(map(len, drops.values())) == 2


def test_point_qa_local(convert: Convert, tmp_path: Path) -> None:
    boxes = [{"x": 2, "y": 3, "w": 10, "h": 8, "names": ["man"]}, {"x": 1, "y": 1, "w": 0, "h": 2}]
    entry = {"id": 9, "question": "What color is the shirt?", "all_ans": ["white", "blue"],
             "all_objs": boxes, "points": [{"x": 7, "y": 6, "ans": "white"},
                                           {"x": 90, "y": 2, "ans": "blue"}]}  # fmt: skip
    data = {"9": [entry, {**entry, "points": []}]}
    records, drops = convert("pointqa_local", data, {"VG_100K/9.jpg": (20, 20)}, tmp_path)
    (record,) = records
    (turn,) = record.turns
    assert (turn.question, turn.answer) == ("What color is the shirt? <region>", "white")
    assert turn.regions[0] in (Region.point(7, 6), Region.box(2, 3, 12, 11))
    assert sorted(places[0] for places in drops.values()) == ["['9'][0].points[1]", "['9'][1]"]


def test_lines_of_point_qa(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg")
    file = tmp_path / "pointQA_local_val.jsonl"
    line = {"file_path": "a.jpg", "question": "What is it?", "answer": "red", "point": [5, 6],
            "bbox": [2, 3, 12, 11]}  # fmt: skip
    file.write_text(json.dumps(line) + "\n{broken\n")
    source = find_source("pointqa_local")
    found = build(source, file, tmp_path, tmp_path / "out", progress=False)
    (record,) = Records(tmp_path / "out")
    assert record.turns[0].regions[0] in (Region.point(5, 6), Region.box(2, 3, 12, 11))
    assert found["drops"][0]["examples"][0]["where"] == "line 2"
    with pytest.raises(SourceError, match="do not say their split"):
        build(source, file, tmp_path, tmp_path / "out", progress=False, split="val")


def refcoco(folder: Path) -> Path:
    """A folder as RefCOCO's, with one of everything that may be wrong."""
    outline = [2, 3, 12, 3, 12, 11, 2, 11]
    things = [
        {"id": 1, "bbox": [2, 3, 10, 8], "segmentation": [outline], "iscrowd": 0},
        {"id": 2, "bbox": [0, 0, 20, 20], "segmentation": {"counts": [3, 5], "size": [20, 20]},
         "iscrowd": 1},
        {"id": 3, "bbox": [2, 3, 0, 8], "segmentation": [outline]},
        {"id": 4, "bbox": [5, 5, 5, 5], "segmentation": {"counts": "ab", "size": [20, 20]}},
    ]  # fmt: skip
    instances = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 20, "height": 20}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{**t, "image_id": 7, "category_id": 1} for t in things],
    }
    sentences = [{"sent": f"left café {k}", "raw": "x", "sent_id": k, "tokens": []}
                 for k in range(12)]  # fmt: skip
    refs = [
        {"ref_id": k, "ann_id": ann, "category_id": 1, "image_id": 7, "file_name": "a.jpg",
         "split": "testA" if k == 3 else "train", "sent_ids": [], "sentences": said}
        for k, (ann, said) in enumerate([(1, sentences), (2, sentences[:1]), (3, sentences[:1]),
                                         (4, sentences), (404, sentences[:1]), (1, [])])
    ]  # fmt: skip
    (folder / "images").mkdir()
    Image.new("RGB", (20, 20)).save(folder / "images" / "a.jpg")
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "refs(unc).json").write_text(json.dumps(refs))
    return folder


@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog"])
def test_refcoco_locates_and_names(name: str, tmp_path: Path) -> None:
    found = build(find_source(name), refcoco(tmp_path), tmp_path / "images", tmp_path / "out",
                  progress=False)  # fmt: skip
    records: list[Record] = list(Records(tmp_path / "out"))
    assert [r.id for r in records] == [f"{ref}-{k}" for k in range(12) for ref in (0, 3)]
    ways = set()
    for record in records:
        ref, k = record.id.split("-")
        box = Region.box(2, 3, 12, 11) if ref == "0" else Region.box(5, 5, 10, 10)
        (turn,) = record.turns
        ways.add((ref, turn.task, *(str(r.kind) for r in turn.regions)))
        if turn.task == "locate":
            said = f"left café {k}"
            assert turn.question in {q.replace("{thing}", said) for q in LOCATE_QUESTIONS}
            assert (turn.answer, turn.answer_regions, turn.regions) == ("<region>", (box,), ())
        else:
            assert turn.question in NAME_QUESTIONS
            assert turn.answer == f"left café {k}"
            assert turn.regions[0].box_xyxy_px == box.box_xyxy_px
    assert ways >= {("0", "locate"), ("3", "locate"), ("0", "", "polygon"), ("3", "", "box")}
    assert ("3", "", "polygon") not in ways  # its outline is run lengths
    assert {drop["reason"]: drop["count"] for drop in found["drops"]} == {
        "the box is of a crowd, not of one thing": 1,
        "the box has no area": 1,
        "instances.json has no such annotation": 1,
        "the ref has no sentences": 1,
    }


def test_a_pickle_of_refs_is_not_read(tmp_path: Path) -> None:
    folder = refcoco(tmp_path)
    source = find_source("refcoco")
    build(source, folder / "refs(unc).json", folder / "images", folder / "out", progress=False,
          split="testA")  # fmt: skip
    assert {r.id.split("-")[0] for r in Records(folder / "out")} == {"3"}
    (folder / "refs(unc).json").rename(folder / "refs(unc).p")
    with pytest.raises(SourceError, match=r"a pickle.*convert it to JSON.*docs/data\.md"):
        build(source, folder, folder / "images", folder / "out", progress=False)
