"""COCO files in mixed records: states, balance, and no answer that gives away another."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from own_files import Build, drops

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record
from chatspot_train.data.sources.asides import ANSWERS
from chatspot_train.data.sources.attribute_questions import state_turn, text_attributes
from chatspot_train.data.sources.photo_wordings import measuring_wordings, photo_wordings, plural

NAMES = ("refrigerator door", "handle", "mug")


def coco(*things: tuple[int, int, list[float], dict[str, Any]], pictures: int) -> Any:
    """Things are (picture, category, bbox, attributes)."""
    return {
        "images": [{"id": k, "file_name": "a.jpg", "width": 64, "height": 48}
                   for k in range(1, pictures + 1)],
        "annotations": [
            {"id": k, "image_id": image, "category_id": category, "bbox": bbox, "attributes": told}
            for k, (image, category, bbox, told) in enumerate(things, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)],
    }  # fmt: skip


def doors(open_: int, closed: int) -> Any:
    """One door a picture; a handle in every second one, a mug in the others."""
    return coco(
        *((k, 1, [4, 4, 30, 40], {"door": "open" if k <= open_ else "closed", "occluded": False})
          for k in range(1, open_ + closed + 1)),
        *((k, 2 + k % 2, [40, 10, 6, 20], {}) for k in range(1, open_ + closed + 1)),
        pictures=open_ + closed,
    )  # fmt: skip


def states(records: list[Record]) -> Counter[str]:
    return Counter(value for record in records for turn in record.turns
                   for value in ("door: open", "door: closed") if value in turn.answer)  # fmt: skip


def test_the_values_of_an_attribute_are_asked_about_equally_often(build: Build) -> None:
    found = states(build("coco_mixed", doors(8, 24)))
    assert sum(found.values()) > 60
    assert 0.7 < found["door: open"] / found["door: closed"] < 1.4


def test_a_thing_is_asked_about_once_in_a_record(build: Build) -> None:
    records = build("coco_mixed", doors(6, 12))
    for record in records:
        assert len(record.turns) <= 16
        by_thing = Counter(
            min(region.points_px)[0] > 36
            for turn in record.turns
            if turn.task != "describe"
            for region in (*turn.regions, *turn.answer_regions)
            if turn.answer not in {one for some in ANSWERS.values() for one in some}
        )
        assert max(by_thing.values(), default=1) == 1
    following = [a.id.split("-")[0] == b.id.split("-")[0]
                 for a, b in pairwise(records)]  # fmt: skip
    assert not any(following)  # or training would join them


def test_every_kind_of_question_is_asked_and_answered_truly(build: Build) -> None:
    records = build("coco_mixed", doors(10, 20))
    turns = [turn for record in records for turn in record.turns]
    answers = {turn.answer for turn in turns}
    assert {"refrigerator door", "handle", "mug", "1", "<region>", "door: open"} <= answers
    assert any(turn.answer.startswith("yes, there is a") for turn in turns)
    for record in records:
        number = int(record.id.split("-")[0])
        absent = "mug" if number % 2 == 0 else "handle"
        for turn in record.turns:
            if turn.answer.startswith(("no, there is no", "there is no")):
                assert turn.answer.endswith(f"there is no {absent} here")
            if turn.answer.startswith("yes, there is"):
                assert absent not in turn.answer


def test_a_crowd_is_reported_and_not_named(build: Build, tmp_path: Path) -> None:
    file = coco((1, 2, [4, 4, 9, 9], {}), (1, 3, [20, 4, 9, 9], {}), pictures=1)
    file["annotations"][0]["iscrowd"] = 1
    records = build("coco_mixed", file)
    turns = [turn for record in records for turn in record.turns]
    assert "handle" not in {turn.answer for turn in turns}
    assert not any("no handle" in turn.answer for turn in turns)  # there are many
    assert not any("handles" in turn.question for turn in turns)
    assert "the box is of a crowd, not of one thing" in drops(tmp_path).values()


def test_only_words_are_attributes() -> None:
    told = {"door": " open ", "occluded": True, "track": 3, "rotation": 0.5, "note": "", 7: "x"}
    assert text_attributes(told) == {"door": "open"}
    assert text_attributes(None) == text_attributes(["open"]) == {}


def test_yes_means_open_on_or_full_and_a_door_is_only_spoken_of_where_there_is_one() -> None:
    box = Region.box(0, 0, 9, 9)
    for name, attribute, value in (("lamp", "power", "off"), ("box", "lid", "open"),
                                   ("jar", "contents", "empty"),
                                   ("oven door", "door", "Closed")):  # fmt: skip
        asked = [state_turn(name, {attribute: value}, box, np.random.default_rng(k))
                 for k in range(60)]  # fmt: skip
        for turn in asked:
            assert turn.answer.split(", ")[-1] == f"{attribute}: {value}"
            assert "{" not in turn.question
            assert "door door" not in turn.question
            if turn.task == "" and "door" not in name:
                assert "door" not in turn.question
        assert {turn.task for turn in asked} == {"", "state"}
    colour = [
        state_turn("mug", {"glaze": "blue"}, box, np.random.default_rng(k)) for k in range(20)
    ]
    assert {(turn.task, turn.answer) for turn in colour} == {("state", "glaze: blue")}


def test_no_photograph_is_spoken_of_as_a_kitchen_and_no_measuring_wording_teaches() -> None:
    for wordings in (photo_wordings(), measuring_wordings()):
        assert [text for some in wordings.values() for text in some if "kitchen" in text] == []
    taught = {text for some in photo_wordings().values() for text in some}
    measuring = {
        text for kind in ("name", "state", "locate") for text in measuring_wordings()[kind]
    }
    assert not taught & measuring


def test_plurals() -> None:
    names = (
        "person",
        "cabinet door",
        "box",
        "berry",
        "key",
        "knife",
        "wine glass",
        "woman",
        "shelf",
    )
    assert [plural(name) for name in names] == [
        "people", "cabinet doors", "boxes", "berries", "keys", "knives", "wine glasses", "women",
        "shelves",
    ]  # fmt: skip


def test_another_seed_asks_anew_about_the_same_pictures(build: Build) -> None:
    first, again, other = (
        build("coco_mixed", doors(6, 12), "--seed", seed) for seed in ("0", "0", "1")
    )  # fmt: skip
    assert first == again
    assert {record.image for record in first} == {record.image for record in other}
    words = [{turn.question for record in some for turn in record.turns} for some in (first, other)]
    assert len(words[1] - words[0]) > len(words[1]) / 4
