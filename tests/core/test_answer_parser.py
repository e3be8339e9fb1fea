from __future__ import annotations

from typing import Any

import pytest

from chatspot_ros.core.answer_parser import Answer, Step, read
from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region

FIT = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
SKILLS = ("open", "close", "pick", "place", "plug_in", "unplug", "turn_on", "turn_off")


def answer(
    text: str, task: str = "", skills: tuple[str, ...] = SKILLS, cut: bool = False
) -> Answer:
    return read(
        text,
        task=task,
        regions=(Region.point(1, 2),),
        fit=FIT,
        dialect=ChatSpotDialect(),
        skills=skills,
        confidence=0.5,
        truncated=cut,
    )


def test_a_plain_answer_is_its_text() -> None:
    got = answer("  mug\n")
    assert got == Answer(
        "mug", regions=(Region.point(1, 2),), confidence=0.5, truncated=False, uncertain=False
    )


def test_no_words_are_uncertain() -> None:
    assert answer(" ").uncertain


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("door: open, plug: in", {"door": "open", "plug": "in"}),
        ("Door: open.", {"door": "open"}),
        ("- door = open\n- plug: in", {"door": "open", "plug": "in"}),
        ("door: open; door: open", {"door": "open"}),
    ],
)
def test_states(text: str, state: dict[str, str]) -> None:
    got = answer(text, "state")
    assert (got.state, got.uncertain) == (state, False)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("it is open", {}),
        ("door: open, and so on", {"door": "open"}),
        ("door: open, door: closed", {}),
        ("door:", {}),
        ("", {}),
    ],
)
def test_what_is_no_state_is_uncertain_and_keeps_its_text(text: str, state: dict[str, str]) -> None:
    got = answer(text, "state")
    assert (got.state, got.uncertain, got.text) == (state, True, text)


def test_a_state_is_only_read_when_asked_for() -> None:
    assert answer("yes, door: open").state == {}


FETCH = (
    Step("open", "fridge", "open fridge"),
    Step("pick", "cola", "pick cola"),
    Step("close", "fridge", "close fridge"),
)


@pytest.mark.parametrize(
    "text",
    [
        "open fridge; pick cola; close fridge",
        "1. open fridge\n2. pick cola\n3. close fridge.",
        "1) open fridge 2) pick cola 3) close fridge",
        "Step 1: open fridge\n\nStep 2: pick cola\nStep 3: close fridge",
        "- open fridge\n* pick cola\n• close fridge",
        "open fridge, pick cola, then close fridge",
    ],
)
def test_plans(text: str) -> None:
    got = answer(text, "plan")
    assert (got.steps, got.uncertain) == (FETCH, False)


def test_calls_and_skills_of_several_words() -> None:
    got = answer("Open(fridge); plug in the microwave; turn-on tap; pick", "plan")
    assert [(step.action, step.target) for step in got.steps] == [
        ("open", "fridge"),
        ("plug_in", "the microwave"),
        ("turn_on", "tap"),
        ("pick", ""),
    ]
    assert got.steps[0].text == "Open(fridge)"
    assert not got.uncertain


@pytest.mark.parametrize("text", ["nothing to do", "Nothing to do.", "Nothing needs to be done"])
def test_nothing_to_do_is_a_certain_answer(text: str) -> None:
    got = answer(text, "plan")
    assert (got.steps, got.uncertain) == ((), False)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("dance with fridge", 0),
        ("open fridge; explode fridge; close fridge", 2),
        ("openly close fridge", 0),
        ("", 0),
    ],
)
def test_a_step_outside_the_skills_never_appears(text: str, kept: int) -> None:
    got = answer(text, "plan")
    assert len(got.steps) == kept
    assert all(step.action in SKILLS for step in got.steps)
    assert got.uncertain


def test_without_skills_a_plan_is_free_text() -> None:
    got = answer("1. dance\n2. sing", "plan", skills=())
    assert got.steps == (Step("", "", "dance"), Step("", "", "sing"))
    assert not got.uncertain


def test_a_cut_off_plan_or_state_is_uncertain() -> None:
    assert answer("open fridge; pick", "plan", cut=True).uncertain
    assert answer("door: op", "state", cut=True).uncertain
    got = answer("a long story", "describe", cut=True)
    assert (got.truncated, got.uncertain) == (True, False)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("door: open, plug: in", {"door": "open"}),
        ("door: open, plug", {"door": "open"}),
        ("door: open,", {"door": "open"}),
        ("door: open", {}),
    ],
)
def test_the_pair_at_which_a_state_breaks_off_is_left_out(text: str, state: dict[str, str]) -> None:
    got = answer(text, "state", cut=True)
    assert (got.state, got.truncated, got.uncertain) == (state, True, True)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("open fridge; pick red", 1),
        ("open fridge; pick", 1),
        ("open fridge; pick cola;", 2),
        ("open fridge, pick cola", 1),
        ("1. open fridge\n2. pick", 1),
        ("open fri", 0),
        ("nothing to do", 0),
    ],
)
def test_the_step_at_which_a_plan_breaks_off_is_left_out(text: str, kept: int) -> None:
    got = answer(text, "plan", cut=True)
    assert got.steps == FETCH[:kept]
    assert got.uncertain


def test_a_place_that_breaks_off_is_uncertain() -> None:
    got = answer("mug <box> 0.10 0.20 0.30 0.40</box>, cup <box> 0.1", "locate", cut=True)
    assert [place.label for place in got.grounded] == ["mug"]
    assert got.uncertain
    assert answer("there is no", "locate", cut=True).uncertain


def test_a_place_of_what_is_not_there_is_uncertain() -> None:
    assert answer("there is no mug <box> 0.10 0.20 0.30 0.40</box>", "locate").uncertain


def test_locate_points_at_the_thing() -> None:
    got = answer("the mug <box> 0.10 0.20 0.30 0.40</box>", "locate")
    (place,) = got.grounded
    assert place.box_xyxy_px == pytest.approx((20, 20, 60, 40))
    assert place.label == "the mug"
    assert not got.uncertain


@pytest.mark.parametrize("text", ["there is no kettle here", "I cannot see it.", "It is not here"])
def test_absence_is_a_certain_answer(text: str) -> None:
    got = answer(text, "locate")
    assert (got.grounded, got.uncertain) == ((), False)


@pytest.mark.parametrize("text", ["mug", "<box> 0.1 0.2 0.3</box>", "<box> 0.1 0.2"])
def test_no_place_for_locate_is_uncertain(text: str) -> None:
    got = answer(text, "locate")
    assert (got.grounded, got.uncertain, got.text) == ((), True, text)


def test_a_broken_region_in_any_answer_is_uncertain() -> None:
    assert answer("the mug <box> 7 8</box>").uncertain


def test_control_characters_do_not_reach_messages() -> None:
    assert answer("a\x00b\x07c\nd").text == "abc\nd"


def test_a_box_that_is_too_unlikely_does_not_count() -> None:
    text = "mug <box>0.10 0.10 0.40 0.40</box>, pan <box>0.50 0.50 0.90 0.90</box>, jar <box>0.1"
    fit_ = fit(PictureGeometry.STRETCH, (100, 100), (100, 100))
    common: dict[str, Any] = {
        "task": "describe", "regions": (), "fit": fit_, "dialect": ChatSpotDialect(), "skills": (),
        "confidence": 1.0, "truncated": True,
    }  # fmt: skip
    answer = read(text, **common, box_scores=(0.9, 0.2, 0.8), min_box_score=0.5)
    assert [region.label for region in answer.grounded] == ["mug"]
    assert answer.uncertain
    whole = read(text, **common, box_scores=(0.9, 0.6, 0.8), min_box_score=0.5)
    assert [region.label for region in whole.grounded] == ["mug", "pan"]
    assert not whole.uncertain
    assert len(read(text, **common, min_box_score=0.5).grounded) == 2  # the model's own boxes
