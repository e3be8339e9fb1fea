"""Strangers' wordings: which teach, how they ask, and that the answers are true for them."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_sim import stranger_wordings as strangers
from chatspot_sim.asking import Asker, KitchenQuestion
from chatspot_sim.questions import YES_NO, draw_dialogue, yes_no_text
from chatspot_sim.stranger_wordings import NO_QUESTIONS, half_and_half, measured, sense, taught
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN

SQUARE = ((10, 10), (50, 10), (50, 50), (10, 50))
FRIDGE = Thing("fridge_0", "fridge", "red", (10, 10, 50, 50), SQUARE, 900, {"door": "open"})
STOVE = Thing("stove_0", "stove", "", (70, 10, 95, 30), SQUARE, 300, {"burner": "off"})


def asked(thing: Thing, kind: str, wording: str) -> KitchenQuestion:
    wordings = {**TRAIN, **dict.fromkeys([*(w for w, _ in YES_NO.values()), "state"], (wording,))}
    truth = Truth(100, 80, (thing,))
    (one,) = draw_dialogue(truth, kind, np.random.default_rng(0), wordings, noise=0) or [None]
    assert one is not None
    return one


def test_two_thirds_teach_and_the_last_third_measures() -> None:
    taught_ones, measured_ones = taught(), measured()
    assert set(taught_ones) == set(measured_ones) == {*TRAIN, *NO_QUESTIONS}
    for kind, texts in measured_ones.items():
        assert len(texts) == 24
        assert 35 <= len(taught_ones[kind]) <= 49
        assert not set(texts) & {*taught_ones[kind], *TRAIN.get(kind, ())}
        assert len(set(taught_ones[kind])) == len(taught_ones[kind])


@pytest.mark.parametrize("how", ["opposite", "either", "swapped", "about", "not_taught"])
def test_what_is_said_about_a_wording_is_about_one_of_the_file(how: str) -> None:
    found = strangers._load()
    for kind, texts in found[how].items():
        known = found["wordings"]["state" if how == "about" else kind]
        assert [text for text in texts if text not in known] == []


def test_the_placeholders_are_those_that_are_filled_in() -> None:
    regions = {"relation": (2,)} | dict.fromkeys(
        ("scene", "count", "locate", "is_there_scene"), (0,)
    )
    for kind, texts in (*taught().items(), *measured().items()):
        for text in texts:
            assert text.count("<region>") in regions.get(kind, (0, 1)), text
            bare = text.replace("{thing}", "").replace("{things}", "").replace("{content}", "")
            assert "{" not in bare


@pytest.mark.parametrize(
    ("wording", "answer"),
    [
        ("is the {thing} open", "yes, door: open"),
        ("Is the {thing} door shut?", "no, door: open"),
        ("before I go to bed, is the {thing} shut", "no, door: open"),
        ("{thing} open or closed?", "door: open"),
    ],
)
def test_yes_and_no_are_true_for_the_wording(wording: str, answer: str) -> None:
    assert asked(FRIDGE, "yes_no", wording).answer == answer


def test_the_opposite_of_off_is_on() -> None:
    plain, opposite = (
        sense("burner_on", "any burners lit?"),
        sense("burner_on", "are all the burners off"),
    )
    assert yes_no_text("burner", "off", "on", plain) == "no, burner: off"
    assert yes_no_text("burner", "off", "on", opposite) == "yes, burner: off"
    assert yes_no_text("burner", "on", "on", opposite) == "no, burner: on"


def test_a_question_for_a_state_fits_the_thing() -> None:
    ask = Asker(Truth(100, 80, (STOVE,)), np.random.default_rng(1), {"state": taught()["state"]})
    drawn = {ask.worded("state", ("off",))[0] for _ in range(300)}
    assert "on or off?" in drawn
    assert "status of <region>?" in drawn
    assert not {"Is it open or closed?", "full or empty", "is dis open"} & drawn


def test_of_two_regions_the_second_may_be_the_one_that_is_asked_for() -> None:
    truth = Truth(100, 80, (FRIDGE, STOVE))
    for wording, first in (("where is <region> relative to <region>", "left of"),
                           ("If I look from <region>, in what direction is <region>?",
                            "right of")):  # fmt: skip
        wordings = {**TRAIN, "relation": (wording,)}
        for seed in range(8):
            (one,) = draw_dialogue(truth, "relation", np.random.default_rng(seed), wordings,
                                   noise=0, shape="box")  # fmt: skip
            fridge_first = one.regions[0].box_xyxy_px[0] < 60
            assert (one.answer == first) is fridge_first


def test_half_of_the_draws_are_strangers_wordings() -> None:
    mixed = half_and_half({"a": ("x", "y", "z"), "b": ("p",)}, {"a": ("1", "2"), "c": ("q",)})
    assert sorted(mixed["a"]) == sorted([*"xyz"] * 2 + [*"12"] * 3)
    assert (mixed["b"], mixed["c"]) == (("p",), ("q",))


def test_the_projects_own_wordings_ask_plainly() -> None:
    for wordings in (TRAIN, TEST):
        for kind, texts in wordings.items():
            assert not any(sense(kind, text).opposite for text in texts)
