"""People's own files: ids as tools write them; one bad record costs only itself; a failed build
leaves the earlier records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_files import Build, drops


def coco(**change: Any) -> dict[str, Any]:
    """A COCO file as annotation tools write it: little more than it must have."""
    square = [4, 4, 34, 4, 34, 34, 4, 34]
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
                   {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 30, 30],
             "segmentation": [square]},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [10, 10, 20, 20]},
        ],
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "fridge door"}],
        **change,
    }  # fmt: skip


# --- Identities as tools write them

IDS: dict[str, Callable[[Any], Any]] = {
    "text": lambda k: f"img-{k}",
    "digits as text": str,
    "floats": float,
}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("source", ["objects365_region"])
def test_other_ids_are_matched(build: Build, source: str, kind: str) -> None:
    loaded = coco()
    for one in loaded["images"]:
        one["id"] = IDS[kind](one["id"])
    for one in loaded["annotations"]:
        one["image_id"] = IDS[kind](one["image_id"])
        one["id"] = IDS[kind](one["id"])
    assert len(build(source, loaded)) == 2


@pytest.mark.parametrize("source", ["objects365_region"])
def test_ids_of_other_types_on_both_sides_are_matched(build: Build, source: str) -> None:
    loaded = coco()
    for one in loaded["annotations"]:
        one["image_id"] = float(one["image_id"])
    assert len(build(source, loaded)) == 2


@pytest.mark.parametrize("source", ["objects365_region"])
@pytest.mark.parametrize("what", ["images", "annotations", "categories"])
def test_duplicate_ids_are_dropped_with_the_true_reason(
    build: Build, tmp_path: Path, source: str, what: str
) -> None:
    """Two pictures of one id get each other's annotations; the later category renames the first."""
    loaded = coco()
    loaded[what][1]["id"] = loaded[what][0]["id"]
    build(source, loaded, status=0)
    assert "twice" in " ".join(drops(tmp_path).values())


# --- One bad record

TURN = {"question": "What is <region>?", "answer": "a mug", "regions": [[[1, 2], [9, 12]]]}
GOOD = {"image": "a.jpg", "width": 64, "height": 48, "id": "good", "turns": [TURN]}
BAD: dict[str, dict[str, Any]] = {
    "a lone surrogate in an answer": {"turns": [{**TURN, "answer": "a \ud83d mug"}]},
    "a lone surrogate in a question": {"turns": [{**TURN, "question": "\udc00 what is <region>?"}]},
    "a lone surrogate in the id": {"id": "\ud800"},
    "a lone surrogate in the picture's name": {"image": "\ud800.jpg"},
    "a list for the picture": {"image": ["a.jpg"]},
    "an object for the id": {"id": {"k": 1}},
    "a width beyond 32 bits": {"width": 2**40},
    "a picture's name of a folder": {"image": "mug"},
    "a name that is too long": {"image": "x" * 5000},
    "a coordinate of 400 digits": {"turns": [{**TURN, "regions": [[[10**400, 2], [9, 12]]]}]},
    "a number for the turns": {"turns": 7},
    "a null for an answer": {"turns": [{**TURN, "answer": None}]},
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_record_is_dropped_and_the_build_goes_on(
    build: Build, tmp_path: Path, bad: str
) -> None:
    lines = [GOOD, {**GOOD, "id": "bad", **BAD[bad]}, {**GOOD, "id": "last"}]
    records = build("region_chat", "\n".join(map(json.dumps, lines)))
    assert [record.id for record in records] == ["good", "last"]
    assert list(drops(tmp_path)) == ["line 2"]


def test_nested_json_of_one_line_is_dropped(build: Build, tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    text = "\n".join([json.dumps(GOOD), f'{{"id": {deep}}}', json.dumps({**GOOD, "id": "last"})])
    assert [record.id for record in build("region_chat", text)] == ["good", "last"]


@pytest.mark.parametrize(
    "spoil",
    [
        {"images": [None, 7, "x", []]}, {"annotations": [None, 7, "x", []]},
        {"categories": [None, {"id": 1, "name": ["mug"]}, {"id": 2, "name": "fridge door"}]},
        {"images": [{"id": [1], "file_name": "a.jpg", "width": 64, "height": 48}]},
        {"annotations": [{"id": 1, "image_id": [1], "category_id": 1, "bbox": [4, 4, 9, 9]}]},
        {"annotations": [{"id": 1, "image_id": {}, "category_id": 1, "bbox": [4, 4, 9, 9]}]},
        {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": "4 4 9 9"}]},
    ],
)  # fmt: skip
def test_a_wrong_type_in_a_coco_file_costs_only_itself(build: Build, spoil: dict[str, Any]) -> None:
    whole = coco()
    for name, entries in spoil.items():
        whole[name] = [*entries, *whole[name]]
    if "categories" in spoil:
        whole["categories"] = spoil["categories"]
        whole["annotations"] = whole["annotations"][1:]
    assert build("objects365_region", whole)


# --- What was there before


@pytest.mark.parametrize("text", ["[", "{}", '{"images": []}', '"no"'])
def test_a_failed_build_leaves_the_earlier_records(build: Build, tmp_path: Path, text: str) -> None:
    before = build("objects365_region", coco())
    assert build("objects365_region", text, status=2) == before
    assert json.loads((tmp_path / "records" / "report.json").read_text())["records"] == 2


def test_a_build_that_breaks_half_way_leaves_the_earlier_records(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import chatspot_train.data.records as written

    before = build("objects365_region", coco())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written.pq, "write_table", full)
    assert build("objects365_region", coco(), status=2) == before


def test_records_that_are_no_longer_there_are_gone(build: Build) -> None:
    build("objects365_region", coco())
    loaded = coco()
    loaded["images"] = loaded["images"][:1]
    loaded["annotations"] = loaded["annotations"][:1]
    assert len(build("objects365_region", loaded)) == 1
