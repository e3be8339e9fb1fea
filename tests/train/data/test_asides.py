"""Turns that are no question about the picture."""

from __future__ import annotations

from chatspot_ros.core.regions import Region
from chatspot_sim.stranger_wordings import NO_QUESTIONS, taught
from chatspot_train.data.sources.asides import ANSWERS, aside, wants_aside

BOXES = (Region.box(0, 0, 9, 9), Region.box(5, 5, 20, 20))


def test_an_aside_has_an_answer_of_its_kind_and_sometimes_a_region() -> None:
    turns = [aside("test", k, regions=BOXES) for k in range(300)]
    kinds = {text: kind for kind in NO_QUESTIONS for text in taught()[kind]}
    for turn in turns:
        assert turn.answer in ANSWERS[kinds[turn.question]]
        assert turn.task == ""
        assert len(turn.regions) <= 1
    assert {kinds[turn.question] for turn in turns} == set(NO_QUESTIONS)
    assert 100 < sum(bool(turn.regions) for turn in turns) < 200
    assert not any(aside("test", k).regions for k in range(20))


def test_the_answers_are_short_and_promise_nothing() -> None:
    assert set(ANSWERS) == set(NO_QUESTIONS)
    for answers in ANSWERS.values():
        assert len(set(answers)) == len(answers) >= 12
        assert all(len(text.split()) <= 18 and "<" not in text for text in answers)


def test_one_turn_in_25_is_an_aside() -> None:
    for turns in (4, 15):
        share = sum(wants_aside(turns, "test", k) for k in range(4000)) / 4000
        assert abs(share - turns / 25) < 0.03
