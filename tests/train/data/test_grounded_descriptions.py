"""Descriptions whose things have boxes: order, parts of the picture, all sources, mirroring."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_files import Build
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_train.data.augment_images import flip
from chatspot_train.data.build import build as build_source
from chatspot_train.data.grounded_answers import grounded_answer, in_order
from chatspot_train.data.records import Record, Records, RecordTurn, check
from chatspot_train.data.sources import find_source
from chatspot_train.data.sources.grounded_descriptions import (
    MEASURING_QUESTIONS,
    MOST,
    PART_QUESTIONS,
    PICTURE_QUESTIONS,
    Place,
    grounded_turn,
)

SIZE = (200, 100)


def drawn(count: int, rng: np.random.Generator) -> list[Place]:
    corners = [(float(x), float(y)) for x, y in rng.uniform((0, 0), (180, 80), (count, 2))]
    return [Place(f"thing {k}", (x, y, x + 5 + k, y + 5 + k)) for k, (x, y) in enumerate(corners)]


def said(turn: RecordTurn) -> dict[str, tuple[float, ...]]:
    """Return the boxes of an answer by their phrases."""
    phrases = [piece.removesuffix(" <region>") for piece in turn.answer.split(", ")]
    assert len(set(phrases)) == len(phrases) == len(turn.answer_regions)
    boxes = (box.box_xyxy_px for box in turn.answer_regions)
    return dict(zip(phrases, boxes, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_things_stand_from_left_to_right_with_their_own_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = drawn(3 + 2 * seed, rng)
    turn = grounded_turn(places, SIZE, rng, part_share=0)
    check(Record("test", "1", "a.jpg", *SIZE, (turn,)))
    found = said(turn)
    true = {place.phrase: place.box_xyxy_px for place in places}
    assert all(found[phrase] == pytest.approx(true[phrase]) for phrase in found)
    assert len(found) == min(MOST, len(places))
    left_out = [place.area for place in places if place.phrase not in found]
    assert max(left_out, default=0) <= min(p.area for p in places if p.phrase in found)
    middles = [x1 + x2 for x1, _, x2, _ in found.values()]
    assert all(a <= b for a, b in pairwise(middles))
    assert (turn.task, turn.regions) == ("describe", ())


def test_a_part_of_the_picture_holds_the_things_that_are_said() -> None:
    parts = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        places = drawn(6, rng)
        turn = grounded_turn(places, SIZE, rng, part_share=1)
        if not turn.regions:
            assert len(said(turn)) == len(places)
            continue
        parts += 1
        assert turn.question in PART_QUESTIONS
        x1, y1, x2, y2 = turn.regions[0].box_xyxy_px
        for place in places:
            a, b, c, d = place.box_xyxy_px
            whole = x1 <= a and y1 <= b and c <= x2 and d <= y2
            apart = c <= x1 or a >= x2 or d <= y1 or b >= y2
            assert not whole or place.phrase in said(turn)
            assert not apart or place.phrase not in said(turn)
        assert 2 <= len(said(turn)) < len(places)
    assert parts > 5


def test_nothing_is_no_description() -> None:
    with pytest.raises(ValueError, match="needs things"):
        grounded_turn([], SIZE, np.random.default_rng(0))


def test_a_mirrored_picture_is_described_from_its_own_left() -> None:
    answer, boxes = grounded_answer([("mug", Region.box(0, 0, 20, 20)),
                                     ("pan", Region.box(120, 0, 180, 40))])  # fmt: skip
    turn = RecordTurn("Describe it. Say where each thing is.", answer, (), "describe", boxes)
    record = Record("test", "1", "a.jpg", *SIZE, (turn,))
    _, mirrored = flip(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), record)
    assert mirrored.turns[0].answer == "pan <region>, mug <region>"
    assert [box.box_xyxy_px[0] for box in mirrored.turns[0].answer_regions] == [20, 180]


@pytest.mark.parametrize("answer", ["from <region> to <region>", "a, b <region>, c <region>"])
def test_other_answers_keep_their_order(answer: str) -> None:
    boxes = (Region.box(50, 0, 60, 9), Region.box(0, 0, 9, 9))
    turn = RecordTurn("What is it?", answer, (), "", boxes)
    assert in_order(turn) == turn


def test_measuring_wordings_do_not_teach() -> None:
    taught = {*PICTURE_QUESTIONS, *PART_QUESTIONS}
    assert len(taught) >= 24
    assert not taught & set(MEASURING_QUESTIONS)


def coco(pictures: int) -> Any:
    return {
        "images": [{"id": k, "file_name": "a.jpg", "width": 64, "height": 48}
                   for k in range(pictures)],
        "annotations": [{"id": 3 * k + n, "image_id": k, "category_id": n,
                         "bbox": [50 - 20 * n, 4, 8, 30]}
                        for k in range(pictures) for n in range(3)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("mug", "pan", "jar"))],
    }  # fmt: skip


def grounded(records: list[Record]) -> list[RecordTurn]:
    """Return the grounded turns; each is the last of its record."""
    for record in records:
        assert not any(turn.answer_regions for turn in record.turns[:-1] if turn.task == "describe")
    return [one.turns[-1] for one in records
            if one.turns[-1].task == "describe" and one.turns[-1].answer_regions]  # fmt: skip


def test_coco_files_and_mosaics_give_descriptions(build: Build, tmp_path: Path) -> None:
    turns = grounded(build("coco_mixed", coco(24)))
    assert 4 < len(turns) < 20
    whole = [turn for turn in turns if not turn.regions]
    assert {turn.answer for turn in whole} == {"jar <region>, pan <region>, mug <region>"}

    for name in ("leek", "milk"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for k in range(8):
            Image.new("RGB", (60, 80)).save(tmp_path / "in" / name / f"{k}.png")
    build_source(find_source("imagefolder"), None, tmp_path / "in", tmp_path / "out", mosaic=2,
                 progress=False)  # fmt: skip
    turns = grounded(list(Records(tmp_path / "out")))
    assert 1 < len(turns) < 8
    assert all(set(turn.answer.split()) <= {"leek", "milk", "<region>,", "<region>"}
               for turn in turns)  # fmt: skip


def test_kitchens_give_descriptions(tmp_path: Path) -> None:
    for split in ("train", "test"):
        build_source(find_source("kitchen"), None, None, tmp_path / split, split=split, limit=2,
                     progress=False)  # fmt: skip
        records = list(Records(tmp_path / split))
        turns = grounded(records)
        assert len(turns) == len(records)
        assert all(len(record.turns) <= 16 for record in records)
        measured = [turn.question in MEASURING_QUESTIONS for turn in turns]
        assert all(measured) if split == "test" else not any(measured)
