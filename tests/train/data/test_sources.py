"""What all sources share: the same words for the same id, tags that fit, pictures found safely."""

import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from chatspot_ros.core.regions import REGION_MARK
from chatspot_ros.core.task_router import route
from chatspot_train.data import sources
from chatspot_train.data.build import main
from chatspot_train.data.records import Records
from chatspot_train.data.sources import (
    SOURCES,
    SourceError,
    cc595k,
    class_folders,
    coco_objects,
    find_source,
    objects365,
    refcoco,
    region_reading,
    register,
    visual_genome,
)
from chatspot_train.data.sources.base import draw, draw_number
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.data.sources.json_reader import load_json
from chatspot_train.data.sources.text_questions import majority

MUGS = """
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.base import Source
from chatspot_train.data.sources.json_reader import json_lines
from chatspot_train.data.sources.registry import register


def _convert(raw, where, job):
    turn = RecordTurn("What is this?", "a mug")
    yield SOURCE.record(raw["file"], raw["file"], job.pictures.size(raw["file"]), [turn])


SOURCE = Source("mugs", "made up", ("image level",), "mugs.jsonl", json_lines, _convert)
register(SOURCE)
"""


def test_every_data_set_has_a_source() -> None:
    assert set(SOURCES) == {
        "cc595k", "ocr_vqa", "st_vqa", "docvqa", "textvqa", "objects365_image",
        "objects365_region", "coco_text", "hiertext", "art", "looktwice_qa", "pointqa_local",
        "visual_genome", "region_chat", "refcoco", "refcoco+", "refcocog", "kitchen",
        "coco", "coco_mixed", "llava", "qwen", "imagefolder", "notes",
    }  # fmt: skip
    for source in SOURCES.values():
        assert source.licence
        assert source.annotations
        assert source.tags[0] in ("image level", "region level")
    with pytest.raises(SourceError, match=r"got mnist.*use one of art, cc595k"):
        find_source("mnist")


def test_a_source_is_one_file_and_every_command_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mugs.py").write_text(MUGS)
    (tmp_path / "mugs.jsonl").write_text('{"file": "a.png"}\n')
    Image.new("RGB", (20, 16)).save(tmp_path / "a.png")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    try:
        sources.import_sources()
        assert main(["--source", "mugs", "--annotations", str(tmp_path / "mugs.jsonl"),
                     "--images", str(tmp_path), "--out", str(tmp_path / "out")]) == 0  # fmt: skip
        assert [record.id for record in Records(tmp_path / "out")] == ["a.png"]
        with pytest.raises(ValueError, match="two sources are named 'mugs'"):
            register(SOURCES["mugs"])
    finally:
        SOURCES.pop("mugs", None)
        sys.modules.pop("chatspot_train.data.sources.mugs", None)


@pytest.mark.parametrize("module", [cc595k, class_folders, objects365, visual_genome])
def test_a_question_for_a_short_answer_is_not_taken_for_another_task(module: ModuleType) -> None:
    names = [name for name in vars(module) if name.endswith("QUESTIONS")]
    assert names
    for name in names:
        for question in vars(module)[name]:
            assert route(question.replace("{thing}", "cup")) == "", question
    for question in (*refcoco.NAME_QUESTIONS, *coco_objects.NAME_QUESTIONS):
        assert route(question) == ""
    for question in coco_objects.THERE_QUESTIONS:
        assert route(question.replace("{thing}", "cup")) == "", question
    for question in coco_objects.LOCATE_QUESTIONS:
        assert route(question.replace("{thing}", "cup")) == "locate", question


def test_questions_name_as_many_regions_as_they_are_given() -> None:
    for questions in (objects365.REGION_QUESTIONS, visual_genome.QUESTIONS,
                      region_reading.QUESTIONS, refcoco.NAME_QUESTIONS,
                      coco_objects.NAME_QUESTIONS):  # fmt: skip
        assert len(set(questions)) == len(questions) >= 5
        assert all(question.count(REGION_MARK) == 1 for question in questions)
    assert all("{thing}" in question for question in refcoco.LOCATE_QUESTIONS)


def test_the_same_key_draws_the_same_and_all_are_drawn() -> None:
    words = ("a", "b", "c", "d")
    drawn = Counter(draw(words, "set", k) for k in range(4000))
    assert set(drawn) == set(words)
    assert min(drawn.values()) > 850
    # Fixed for ever: the words of a data set must not change with the machine or the release.
    assert [draw_number(7, "set", k) for k in range(8)] == [3, 1, 5, 6, 4, 2, 4, 0]
    assert draw_number(1000, "a", "b") != draw_number(1000, "ab")


def test_a_picture_tells_its_size_without_being_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "red").save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:700])
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    pictures = ImageFolder(tmp_path)
    assert pictures.size("a.jpg") == pictures.size("cut.jpg") == (300, 200)
    assert pictures.find(("b.jpg", "a.jpg")) == "a.jpg"
    with pytest.raises(SkipError, match=r"a\.jpg is 300 x 200, not 200 x 300"):
        pictures.size("a.jpg", (200, 300))
    with pytest.raises(SkipError, match=r"missing: b\.jpg or c\.jpg"):
        pictures.find(("b.jpg", "c.jpg"))
    with pytest.raises(SkipError, match=r"cannot be read: text\.jpg"):
        pictures.size("text.jpg")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "x/../../a.jpg", "", "a\0.jpg"])
def test_annotations_cannot_name_a_file_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg")
    with pytest.raises(SkipError, match="leads out"):
        ImageFolder(tmp_path / "images").size(name)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.json", b'{"data": [', "are not JSON"),
        ("a.json", b"\xff\xfe\x00", "are not JSON"),
        ("a.json.gz", b"not compressed", "are not JSON"),
        ("refs.p", b"(lp0\n.", "are a pickle"),
        ("refs.json", b"\x80\x03]q\x00.", "are a pickle"),
    ],
)
def test_files_that_are_not_json_are_refused(
    name: str, data: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=problem):
        load_json(tmp_path / name)


def test_the_majority_of_answers() -> None:
    assert majority(["Coke", "coke", "pepsi", "coke "]) == "coke"
    assert majority(["b", "a", "a", "b"]) == "b"
    assert majority([" ", "x"]) == "x"
    with pytest.raises(SkipError, match="no answers"):
        majority([" ", ""])
