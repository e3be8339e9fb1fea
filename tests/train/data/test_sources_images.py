"""Data sets of questions about whole pictures become records."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources import SourceError
from chatspot_train.data.sources.cc595k import QUESTIONS
from chatspot_train.data.sources.objects365 import COUNT_QUESTIONS, LIST_QUESTIONS

Convert = Callable[..., tuple[list[Record], dict[str, list[str]]]]


def test_cc595k(convert: Convert, tmp_path: Path) -> None:
    said = [{"from": "human", "value": "<image>\nGive a brief description of the image."},
            {"from": "gpt", "value": "olive oil is a\nhealthy ingredient"}]  # fmt: skip
    chats = [
        {"id": "GCC_1", "image": "GCC_1.jpg", "conversations": said},
        {"id": "GCC_2", "image": "GCC_2.jpg", "conversations": said[:1]},
        {"id": "GCC_3", "image": "gone.jpg", "conversations": said},
        {"id": "GCC_4", "conversations": said},
    ]
    records, drops = convert(
        "cc595k", chats, {"GCC_1.jpg": (30, 20), "GCC_2.jpg": (9, 9)}, tmp_path
    )
    assert [(r.id, r.image, r.width, r.height) for r in records] == [("GCC_1", "GCC_1.jpg", 30, 20)]
    assert records[0].tags == ("image level", "short")
    (turn,) = records[0].turns
    assert turn.question in QUESTIONS
    assert turn.answer == "olive oil is a healthy ingredient"
    assert turn.regions == turn.answer_regions == ()
    assert drops == {
        "nobody answers in the conversation": ["[1]"],
        "the picture is missing": ["[2]"],
        "image: Field required": ["[3]"],
    }


BOOK = {"split": 1, "imageURL": "http://x/I/51l6.png", "title": "Mom's Plan", "authorName": "S.",
        "questions": ["Who wrote this book?", "What is the title?", "Is this a diary?"],
        "answers": ["Sandra", " ", "No"]}  # fmt: skip


def test_ocr_vqa(convert: Convert, tmp_path: Path) -> None:
    books = {
        "761183272": BOOK,
        "val": {**BOOK, "split": 2},
        "odd": {**BOOK, "split": 7},
        "short": {**BOOK, "answers": ["Sandra"]},
    }
    records, drops = convert("ocr_vqa", books, {"761183272.png": (8, 9), "val.png": (8, 9)},
                             tmp_path)  # fmt: skip
    assert records[0] == Record(
        "ocr_vqa", "761183272", "761183272.png", 8, 9,
        (RecordTurn("Who wrote this book?", "Sandra"), RecordTurn("Is this a diary?", "No")),
        ("image level", "short", "text", "split: train"),
    )  # fmt: skip
    assert records[1].tags[-1] == "split: val"
    assert drops == {
        "the text is empty": ["['761183272'].questions[1]", "['val'].questions[1]"],
        "the split is none of 1, 2, 3": ["['odd']"],
        "not as many answers as questions": ["['short']"],
    }


def test_one_split_of_ocr_vqa(convert: Convert, tmp_path: Path) -> None:
    books = {"a": BOOK, "b": {**BOOK, "split": 3}, "c": {"imageURL": "x.jpg"}}
    records, drops = convert("ocr_vqa", books, {"a.png": (4, 4), "b.png": (4, 4)}, tmp_path,
                             split="test")  # fmt: skip
    assert [r.id for r in records] == ["b"]
    assert drops["split: Field required"] == ["['c']"]


def test_st_vqa(convert: Convert, tmp_path: Path) -> None:
    data = [
        {"question_id": 7, "question": "What is on the sign?", "answers": ["stop", "STOP"],
         "file_path": "coco-text/a.jpg", "dataset": "coco-text", "set_name": "train"},
        {"question_id": 8, "question": "And?", "answers": [], "file_path": "coco-text/a.jpg"},
        {"question_id": 9, "question": "Out?", "answers": ["x"], "file_path": "../a.jpg"},
    ]  # fmt: skip
    records, drops = convert("st_vqa", {"data": data}, {"coco-text/a.jpg": (5, 6)}, tmp_path)
    (record,) = records
    assert (record.id, record.image, record.width, record.height) == ("7", "coco-text/a.jpg", 5, 6)
    assert record.turns == (RecordTurn("What is on the sign?", "stop"),)
    assert drops == {
        "the question has no answers": ["data[1]"],
        "the picture's name leads out of the images folder": ["data[2]"],
    }


def test_docvqa(convert: Convert, tmp_path: Path) -> None:
    entry = {"questionId": 337, "question": "what is the date?", "docId": 279, "data_split": "val",
             "image": "documents/xnbl0037_1.png", "answers": ["1/8/93", "8 Jan"]}  # fmt: skip
    without = {k: v for k, v in entry.items() if k != "answers"}  # as in the test split
    data = {"dataset_name": "docvqa", "data": [entry, without, "text"]}
    records, drops = convert("docvqa", data, {"documents/xnbl0037_1.png": (17, 22)}, tmp_path)
    (record,) = records
    assert (record.id, record.turns) == ("337", (RecordTurn("what is the date?", "1/8/93"),))
    assert record.tags[-1] == "split: val"
    assert drops["answers: Field required"] == ["data[1]"]
    assert sum(len(places) for places in drops.values()) == 2


def test_textvqa_takes_what_most_people_said(convert: Convert, tmp_path: Path) -> None:
    entry = {"question_id": 34602, "question": "what is the brand?", "image_id": "003a8ae2ef43b901",
             "answers": ["nous", "Dakota", "clos culombu", "dakota digital", "Dakota", "dakota ",
                         "dakota", "dakota", "dakota digital", "dakota"],
             "image_width": 1024, "image_height": 664, "set_name": "train"}  # fmt: skip
    off = {**entry, "question_id": 1, "answers": ["answering does not require reading text in the "
                                                  "image"] * 6 + ["red"] * 4}  # fmt: skip
    data = {"data": [entry, off, {**entry, "answers": ["  "] * 10}]}
    records, drops = convert("textvqa", data, {"003a8ae2ef43b901.jpg": (102, 66)}, tmp_path)
    (record,) = records
    assert record.turns == (RecordTurn("what is the brand?", "dakota"),)
    assert (record.width, record.height) == (102, 66)
    assert drops == {
        "most people said that the question is not about text": ["data[1]"],
        "the question has no answers": ["data[2]"],
    }


def test_objects365_of_the_whole_picture(convert: Convert, tmp_path: Path) -> None:
    boxes = [(1, 0), (2, 0), (1, 0), (3, 1)]
    data = {
        "categories": [{"id": 1, "name": "Chair"}, {"id": 2, "name": "Cabinet/shelf"},
                       {"id": 3, "name": "Person"}],
        "images": [{"id": 5, "file_name": "images/v1/patch8/a.jpg", "width": 30, "height": 20},
                   {"id": 6, "file_name": "images/v1/patch8/b.jpg", "width": 30, "height": 20}],
        "annotations": [
            {"id": k, "image_id": 5, "category_id": c, "bbox": [1, 2, 3, 4], "iscrowd": crowd}
            for k, (c, crowd) in enumerate(boxes)
        ],
    }  # fmt: skip
    pictures = {"patch8/a.jpg": (30, 20), "patch8/b.jpg": (30, 20)}
    records, drops = convert("objects365_image", data, pictures, tmp_path)
    (record,) = records
    assert (record.id, record.image, record.tags[0]) == ("5", "patch8/a.jpg", "image level")
    listed, counted = record.turns
    assert listed.question in LIST_QUESTIONS
    assert listed.answer == "chair, cabinet or shelf, person"
    counts = {"chair": "2", "cabinet or shelf": "1"}  # a crowd's box is no count of persons
    asked = {q.replace("{thing}", thing): n for q in COUNT_QUESTIONS for thing, n in counts.items()}
    assert asked[counted.question] == counted.answer
    assert drops == {"nothing to ask about": ["images[1]"]}


@pytest.mark.parametrize("name", ["st_vqa", "docvqa", "textvqa", "objects365_image", "ocr_vqa"])
def test_a_file_of_another_kind_is_named(convert: Convert, name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the annotations (do|are) not .*annotations\.json"):
        convert(name, ["something else"], {"a.jpg": (1, 1)}, tmp_path)
