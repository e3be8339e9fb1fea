"""The watch list: what a person may write, which thing is which, what is due, what has changed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError
from chatspot_ros.server.settings import Settings
from chatspot_ros.server.watch_config import parse_watch_list
from chatspot_ros.server.watch_tracker import FORGET_S, MAX_THINGS, Change, Thing, Tracker, iou


def box(x: float, y: float = 0, side: float = 10, label: str = "fridge") -> Region:
    return Region(((x, y), (x + side, y + side)), label=label)


def answer(text: str, **rest: Any) -> Answer:
    state = dict(part.split(": ") for part in text.split(", "))
    fields = {"confidence": 0.9, "truncated": False, "uncertain": False}
    return Answer(text=text, regions=(), state=state, steps=(), grounded=(), **{**fields, **rest})


# --- the file


def test_the_packages_list_can_be_used(root: Any) -> None:
    path = root / "config" / "watch.yaml"
    entries = parse_watch_list(yaml.safe_load(path.read_text()), str(path), Settings())
    assert any(one.wants(box(0, label="Fridge")) for one in entries)
    assert not any(one.wants(box(0, label="mug")) for one in entries)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "the file"),
        ("fridge", "the file"),
        ({"labels": ["fridge"]}, "the file"),
        ([{"task": "state", "every_s": 5}], "0.labels"),
        ([{"labels": [], "task": "state", "every_s": 5}], "0.labels"),
        ([{"labels": [" "], "task": "state", "every_s": 5}], "a label is empty"),
        ([{"labels": ["a"], "task": "state"}], "0.every_s"),
        ([{"labels": ["a"], "task": "state", "every_s": 0}], "0.every_s"),
        ([{"labels": ["a"], "task": "state", "every_s": float("nan")}], "0.every_s"),
        ([{"labels": ["a"], "task": "state", "every_s": "soon"}], "0.every_s"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "often": 1}], "0.often"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "confirm": 0}], "0.confirm"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "at_least_every_s": 4}], "(4) is less"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "at_least_every_s": 0}], "0.at_least"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "margin": -0.1}], "0.margin"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": "door opens"}], "0.when"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": 5}], "0.when"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": ["to open", 5]}], "0.when"),
        ([{"labels": ["a"], "task": "read", "every_s": 5, "when": "to open"}], "got read"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": "door to opne"}], "`opne`"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": "dor to open"}], "`dor`"),
        ([{"labels": ["a"], "task": "state", "every_s": 5, "when": "water to in"}], "`in`"),
        ([{"labels": ["a"], "task": "dance", "every_s": 5}], "dance"),
        ([{"labels": ["a"], "every_s": 5}], "the question is empty"),
        ([{"labels": ["a"], "question": "x" * 3000, "every_s": 5}], "3000"),
        ([{"labels": ["a"], "question": "and <region>?", "every_s": 5}], "0.question"),
        ([{"labels": ["a"], "question": "<box>1,2</box>?", "every_s": 5}], "0.question"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_place(data: Any, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_watch_list(data, "my.yaml", Settings())
    assert words in caught.value.problem
    assert caught.value.value == "my.yaml"
    assert "\n" not in str(caught.value)


def test_where_any_words_are_possible_conditions_may_wait_for_any() -> None:
    data = [{"labels": ["a"], "task": "state", "every_s": 5, "when": "lid to ajar"}]
    (entry,) = parse_watch_list(data, "my.yaml", Settings(constrain_answers=False))
    assert entry.when[0].new == "ajar"


def test_what_looks_the_same_is_asked_twelve_times_less_often_unless_told() -> None:
    def read(**more: Any) -> Any:
        entry = {"labels": ["a"], "task": "state", "every_s": 5, **more}
        return parse_watch_list([entry], "my.yaml", Settings())[0]

    assert (read().still_s, read().looks) == (60, True)
    assert (read(at_least_every_s=30).still_s, read(at_least_every_s=30).looks) == (30, True)
    assert not read(at_least_every_s=5).looks


def test_an_empty_list_watches_nothing() -> None:
    assert parse_watch_list([], "my.yaml", Settings()) == ()


# --- which is which


def names(tracker: Tracker, *detections: Region | tuple[Region, str], at_s: float = 0) -> list[str]:
    pairs = [one if isinstance(one, tuple) else (one, "") for one in detections]
    return [thing.name for thing in tracker.see(pairs, at_s)]


def test_a_thing_is_known_again_by_its_box() -> None:
    tracker = Tracker()
    assert names(tracker, box(0), box(100)) == ["fridge_1", "fridge_2"]
    # In another order, each a little further on.
    assert names(tracker, box(103), box(2)) == ["fridge_2", "fridge_1"]
    # Again from its last place, not its first.
    assert names(tracker, box(6)) == ["fridge_1"]
    assert names(tracker, box(50)) == ["fridge_3"]


def test_two_boxes_near_one_thing_are_two_things() -> None:
    tracker = Tracker()
    names(tracker, box(0))
    assert names(tracker, box(4), box(1)) == ["fridge_2", "fridge_1"]


def test_another_label_is_another_thing() -> None:
    tracker = Tracker()
    assert names(tracker, box(0), box(0, label="oven")) == ["fridge_1", "oven_1"]
    assert names(tracker, box(0, label="oven"), box(0, label="FRIDGE")) == ["oven_1", "fridge_1"]


def test_an_id_goes_before_the_place() -> None:
    tracker = Tracker()
    first, second = (box(0), "7"), (box(100), "8")
    assert names(tracker, first, second) == ["fridge_7", "fridge_8"]
    # They have changed places.
    assert names(tracker, (box(100), "7"), (box(0), "8")) == ["fridge_7", "fridge_8"]
    # A third one with an id of its own is none of them, wherever it is.
    assert names(tracker, (box(0), "9")) == ["fridge_9"]


def test_an_id_in_words_is_the_name() -> None:
    tracker = Tracker("front/")
    assert names(tracker, (box(0), "the fridge: left"), box(100, label="dining table")) == [
        "front/the_fridge_left",
        "front/dining_table_1",
    ]


def test_ids_that_come_and_go() -> None:
    tracker = Tracker()
    assert names(tracker, box(0)) == ["fridge_1"]
    assert names(tracker, (box(1), "5")) == ["fridge_1"]
    assert names(tracker, (box(50), "5")) == ["fridge_1"]
    # One id twice in a message is one thing, and another.
    assert names(tracker, (box(50), "5"), (box(200), "5")) == ["fridge_1", "fridge_5"]


def test_names_are_never_given_twice_at_a_time() -> None:
    tracker = Tracker()
    assert names(tracker, box(0)) == ["fridge_1"]
    assert names(tracker, (box(100), "1"), box(0)) == ["fridge_1_1", "fridge_1"]


def test_the_forgotten_come_back_under_a_new_name() -> None:
    tracker = Tracker()
    names(tracker, box(0), (box(100), "7"))
    assert names(tracker, box(0), at_s=FORGET_S) == ["fridge_1"]
    assert names(tracker, box(0), (box(500), "7"), at_s=3 * FORGET_S) == ["fridge_2", "fridge_7"]


def test_never_more_than_so_many_things() -> None:
    tracker = Tracker()
    for number in range(2 * MAX_THINGS):
        names(tracker, (box(0), f"a{number}"), at_s=number)
    things = tracker.see([], 0)
    assert things == []
    assert len(tracker._things) <= MAX_THINGS


def test_boxes_that_are_no_numbers_harm_nobody() -> None:
    tracker = Tracker()
    odd = Region(((float("nan"), 0), (1, float("inf"))), label="fridge")
    assert names(tracker, odd, box(0)) == ["fridge_1", "fridge_2"]
    assert names(tracker, box(0), odd)[0] == "fridge_2"


def test_intersection_over_union() -> None:
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


# --- what has changed


def new_thing(name: str, label: str = "fridge") -> Thing:
    return Thing(name, label, "", (0, 0, 1, 1), 0.0)


def told(thing: Thing, *answers: Answer, confirm: int = 1) -> list[list[str]]:
    return [[str(change) for change in thing.changes(one, confirm)] for one in answers]


def test_only_changes_are_told() -> None:
    closed, opened = answer("door: closed"), answer("door: open")
    assert told(new_thing("fridge_1"), closed, closed, opened, opened, closed) == [
        [],
        [],
        ["fridge_1 door: closed -> open"],
        [],
        ["fridge_1 door: open -> closed"],
    ]


def test_what_is_not_sure_changes_nothing() -> None:
    closed, opened = answer("door: closed"), answer("door: open")
    unsure, cut = answer("door: open", uncertain=True), answer("door: open", truncated=True)
    assert told(new_thing("a"), closed, unsure, cut, closed, opened) == [
        [], [], [], [], ["a door: closed -> open"],
    ]  # fmt: skip


def test_each_attribute_by_itself_and_upper_case_is_no_change() -> None:
    answers = [answer("door: closed, light: off"), answer("door: Closed, light: on")]
    assert told(new_thing("a"), *answers) == [[], ["a light: off -> on"]]


def test_a_change_is_confirmed_by_so_many_answers_in_a_row() -> None:
    closed, opened = answer("door: closed"), answer("door: open")
    thing = new_thing("a")
    assert told(thing, closed, closed, opened, closed, opened, opened, confirm=2) == [
        [], [], [], [], [], ["a door: closed -> open"],
    ]  # fmt: skip


def test_a_model_that_makes_up_attributes_fills_no_memory() -> None:
    thing = new_thing("a")
    for number in range(1000):
        thing.changes(answer(f"thing{number}: x"), 1)
    assert len(thing.readings) < 100


def test_a_change_names_the_thing_both_values_and_the_confidence() -> None:
    thing = new_thing("front/fridge_1")
    thing.changes(answer("door: closed", confidence=0.9), 1)
    (change,) = thing.changes(answer("door: wide open", confidence=0.7), 1)
    assert change == Change("front/fridge_1", "fridge", "door", "closed", "wide open", 0.7)
    assert str(change) == "front/fridge_1 door: closed -> wide open"
