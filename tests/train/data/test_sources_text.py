"""Data sets of text in regions become records that ask to read it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.build import build
from chatspot_train.data.records import Record, Records, RecordTurn
from chatspot_train.data.sources import find_source
from chatspot_train.data.sources.region_reading import QUESTIONS

Convert = Callable[..., tuple[list[Record], dict[str, list[str]]]]


def read(turn: RecordTurn) -> tuple[str, Region]:
    """What is to be read, and where; the question is one of those that ask to read."""
    assert turn.question in QUESTIONS
    assert turn.task == "read"
    (region,) = turn.regions
    return turn.answer, region


def test_coco_text_leaves_out_what_is_not_legible(convert: Convert, tmp_path: Path) -> None:
    def word(text: str, bbox: list[float], legibility: str = "legible") -> dict[str, Any]:
        return {"id": 1, "image_id": 217925, "mask": [1, 2, 9, 2, 9, 8], "bbox": bbox, "area": 9.0,
                "class": "machine printed", "language": "english", "legibility": legibility,
                "utf8_string": text}  # fmt: skip

    illegible = word("", [1, 1, 3, 3], "illegible")
    del illegible["utf8_string"]
    image = {"id": 217925, "file_name": "COCO_train2014_000000217925.jpg", "width": 64,
             "height": 48, "set": "train"}  # fmt: skip
    data = {
        "cats": {}, "info": {},
        "imgs": {"217925": image, "5": {**image, "width": 640}, "6": {**image, "set": "val"}},
        "anns": {"1": word("Zoë's 茶", [10.5, 4, 20, 6.5]), "2": illegible,
                 "3": word("gone", [70, 0, 9, 9]), "4": word("flat", [1, 1, 0, 5]),
                 "7": word("", [1, 1, 5, 5]), "8": word("far", [60, 40, 30, 30])},
        "imgToAnns": {"217925": [1, 2, 3, 4, 99, 7, 8], "5": [1], "6": []},
    }  # fmt: skip
    records, drops = convert("coco_text", data, {image["file_name"]: (64, 48)}, tmp_path)
    (record,) = records
    assert (record.id, record.width, record.height) == ("217925", 64, 48)
    assert record.tags == ("region level", "short", "text", "split: train")
    assert [read(turn) for turn in record.turns] == [
        ("Zoë's 茶", Region.box(10.5, 4, 30.5, 10.5)),
        ("far", Region.box(60, 40, 64, 48)),
    ]
    assert drops == {
        "the text is not legible": ["anns[2]"],
        "the box lies outside the image of N x N pixels": ["anns[3]"],
        "the box has no area": ["anns[4]"],
        "imgToAnns names a word that is not in anns": ["anns[99]"],
        "the text is empty": ["anns[7]"],
        "the picture is not of the size that the annotations say": ["imgs[5]"],
        "nothing to ask about": ["imgs[6]"],
    }


def test_one_split_of_coco_text(convert: Convert, tmp_path: Path) -> None:
    image = {"file_name": "a.jpg", "width": 9, "height": 9}
    word = {"bbox": [1, 1, 5, 5], "legibility": "legible", "utf8_string": "x"}
    data = {"imgs": {"1": {**image, "set": "train"}, "2": {**image, "set": "val"}},
            "anns": {"1": word}, "imgToAnns": {"1": [1], "2": [1]}}  # fmt: skip
    records, drops = convert("coco_text", data, {"a.jpg": (9, 9)}, tmp_path, split="val")
    assert [r.id for r in records] == ["2"]
    assert drops == {}


def hier_line(text: str, vertices: list[list[int]], legible: bool = True) -> dict[str, Any]:
    return {"vertices": vertices, "text": text, "legible": legible, "handwritten": False,
            "vertical": False, "words": []}  # fmt: skip


def test_hiertext_is_read_line_by_line(convert: Convert, tmp_path: Path) -> None:
    quad = [[1, 2], [20, 3], [20, 9], [1, 8]]
    paragraph = {"vertices": quad, "legible": True, "lines": [
        hier_line("OPEN DAILY", quad), hier_line("", quad, False), hier_line("thin", quad[:2]),
        {"text": "no outline", "legible": True}]}  # fmt: skip
    picture = {"image_id": "0006289e4f292bcd", "image_width": 40, "image_height": 30,
               "paragraphs": [paragraph, {"legible": False}]}  # fmt: skip
    data = {"info": {}, "annotations": [picture, {**picture, "image_id": "gone"}]}
    records, drops = convert("hiertext", data, {"0006289e4f292bcd.jpg": (40, 30)}, tmp_path)
    (record,) = records
    assert (record.id, record.image) == ("0006289e4f292bcd", "0006289e4f292bcd.jpg")
    assert [read(turn) for turn in record.turns] == [("OPEN DAILY", Region.polygon(quad))]
    place = "annotations[0].paragraphs"
    assert drops == {
        "the text is not legible": [f"{place}[0].lines[1]"],
        "an outline of fewer than 3 corners": [f"{place}[0].lines[2]"],
        "vertices: Field required": [f"{place}[0].lines[3]"],
        "lines: Field required": [f"{place}[1]"],
        "the picture is missing": ["annotations[1]"],
    }


def test_hiertext_is_read_from_its_compressed_file_and_in_parts(tmp_path: Path) -> None:
    quad = [[1, 2], [20, 3], [20, 9], [1, 8]]
    lines = [hier_line(f"line {k}", quad) for k in range(20)]
    picture = {"image_id": "a", "image_width": 40, "image_height": 30,
               "paragraphs": [{"lines": lines}]}  # fmt: skip
    (tmp_path / "a.jpg").parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    file = tmp_path / "train.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"annotations": [picture]}).encode()))
    build(find_source("hiertext"), file, tmp_path, tmp_path / "out", progress=False)
    first, second = Records(tmp_path / "out")
    assert (first.id, second.id) == ("a", "a#1")
    assert [t.answer for t in (*first.turns, *second.turns)] == [f"line {k}" for k in range(20)]


def test_art_of_scenes_and_of_cut_words(convert: Convert, tmp_path: Path) -> None:
    curve = [[2, 9], [9, 4], [20, 3], [31, 5], [30, 12], [10, 12]]
    data = {
        "gt_0": [
            {"transcription": "茶 HOUSE", "points": curve, "language": "Chinese",
             "illegibility": False},
            {"transcription": "###", "points": curve, "language": "Latin", "illegibility": True},
            {"transcription": "###", "points": curve, "language": "Latin"},
            {"transcription": "bow", "points": [[0, 0], [10, 10], [20, 20]]},
        ],
        "res_7": [{"transcription": "word", "points": [[0, 0], [9, 0], [9, 5], [0, 5]],
                   "language": "Latin", "illegibility": False}],
        "gt_8": "nothing",
        "gt_9": [],
    }  # fmt: skip
    pictures = {"gt_0.jpg": (40, 20), "res_7.jpg": (9, 5)}
    records, drops = convert("art", data, pictures, tmp_path)
    assert [(r.id, r.image) for r in records] == [("gt_0", "gt_0.jpg"), ("res_7", "res_7.jpg")]
    assert [read(t) for t in records[0].turns] == [("茶 HOUSE", Region.polygon(curve))]
    assert [t.answer for t in records[1].turns] == ["word"]
    assert drops == {
        "the text is not legible": ["['gt_0'][1]", "['gt_0'][2]"],
        "the polygon has no area": ["['gt_0'][3]"],
        "a picture's texts are not a list": ["['gt_8']"],
        "the picture is missing": ["['gt_9']"],
    }
