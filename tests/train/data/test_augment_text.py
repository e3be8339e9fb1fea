"""Questions are reworded and reordered without asking for something else; sides are exchanged."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.task_router import route
from chatspot_sim.wordings import TRAIN
from chatspot_train.data.augment_text import (
    Synonyms,
    can_mirror,
    chains,
    follows_up,
    mirrored,
    vary_text,
)
from chatspot_train.data.records import Record, RecordTurn, check

BOX = Region.box(1, 2, 30, 40)
SMALL = Synonyms(groups=(("thing", "object"), ("can you see", "do you see"), ("show", "describe")))
WORDINGS = sorted({re.sub(r"{\w+}", "mug", w) for ws in TRAIN.values() for w in ws})


@pytest.fixture(scope="module")
def synonyms(root: Path) -> Synonyms:
    return Synonyms.read(root / "config" / "train" / "synonyms.yaml")


def turn(question: str, answer: str = "a mug") -> RecordTurn:
    return RecordTurn(question, answer, (BOX,) * question.count(REGION_MARK))


def record(*turns: RecordTurn) -> Record:
    return Record("made", "1", "1.png", 64, 48, turns)


def varied(synonyms: Synonyms, question: str, count: int = 40) -> set[str]:
    return {synonyms.vary(question, np.random.default_rng(seed)) for seed in range(count)}


def test_phrases_are_exchanged_with_their_case() -> None:
    assert varied(SMALL, "Can you see the THING?") == {
        "Can you see the THING?", "Do you see the THING?",
        "Can you see the OBJECT?", "Do you see the OBJECT?",
    }  # fmt: skip
    assert varied(SMALL, "Is it something or nothing?") == {"Is it something or nothing?"}


def test_quoted_words_answers_and_marks_stay() -> None:
    for quoted in ('"thing"', "'the thing'", "“a thing”", "<thing>"):
        assert varied(SMALL, f"Which thing shows {quoted}?") == {
            f"Which thing shows {quoted}?", f"Which object shows {quoted}?"
        }  # fmt: skip
    one = record(turn("Which thing is <region>?", "a thing"))
    for seed in range(20):
        assert vary_text(one, np.random.default_rng(seed), SMALL).turns[0].answer == "a thing"


def test_a_wording_that_asks_for_another_task_is_not_taken() -> None:
    assert route("show <region>") != route("describe <region>")
    free, tied = turn("show <region>"), RecordTurn("show <region>", "x", (BOX,), "describe")
    drawn = [vary_text(record(free), np.random.default_rng(k), SMALL).turns[0] for k in range(20)]
    assert {t.question for t in drawn} == {"show <region>"}
    drawn = [vary_text(record(tied), np.random.default_rng(k), SMALL).turns[0] for k in range(20)]
    assert {t.question for t in drawn} == {"show <region>", "describe <region>"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDINGS), min_size=1, max_size=8), st.integers(0, 10**6))
def test_varied_records_ask_the_same_of_the_same(questions: list[str], seed: int) -> None:
    root = Path(__file__).resolve().parents[3]
    table = Synonyms.read(root / "config" / "train" / "synonyms.yaml")
    before = record(*(turn(question, f"answer {k}") for k, question in enumerate(questions)))
    after = vary_text(before, np.random.default_rng(seed), table)
    check(after)
    by_answer = {t.answer: t for t in after.turns}
    assert len(by_answer) == len(questions)
    for old in before.turns:
        new = by_answer[old.answer]
        assert new.regions == old.regions
        assert route(new.question) == route(old.question)
        assert follows_up(new) == follows_up(old)


def test_the_table_varies_common_questions(synonyms: Synonyms) -> None:
    assert len(varied(synonyms, "What is the colour of the object in this region?")) >= 6
    with pytest.raises(ValidationError, match="'a' is there twice"):
        Synonyms(groups=(("a", "b"), ("c", "a")))
    with pytest.raises(ValidationError, match="nothing to choose from"):
        Synonyms(groups=(("a",),))


def test_follow_ups_stay_behind_what_they_lean_on() -> None:
    turns = (
        turn("What is <region>?", "1"), turn("And <region>?", "2"), turn("What colour is it?", "3"),
        turn("Who holds <region>?", "4"), turn("Is it next to <region>?", "5"),
        turn("What is <region> and is it open?", "6"), turn("What is near <region>?", "another 7"),
    )  # fmt: skip
    assert [[t.answer for t in chain] for chain in chains(turns)] == [
        ["1", "2", "3"], ["4", "5"], ["6", "another 7"],
    ]  # fmt: skip
    orders = set()
    for seed in range(60):
        order = "".join(
            t.answer[-1]
            for t in vary_text(record(*turns), np.random.default_rng(seed), SMALL).turns
        )
        assert all(chain in order for chain in ("123", "45", "67"))
        orders.add(order)
    assert len(orders) == 6


@pytest.mark.parametrize("question", TRAIN["and_this"])
def test_the_kitchens_follow_ups_are_known_as_such(question: str) -> None:
    assert follows_up(turn(question))


def test_a_region_of_its_own_makes_a_question_stand_alone() -> None:
    assert not follows_up(RecordTurn("Is it open?", "yes", (BOX,)))
    assert follows_up(RecordTurn("Is it open?", "yes"))
    assert not follows_up(RecordTurn("Is there a mug in this picture?", "yes"))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Left of the leftmost LEFT one", "Right of the rightmost RIGHT one"),
        ("his right-hand side", "his left-hand side"),
        ("upright and bright, a leftist copyright", "upright and bright, a leftist copyright"),
    ],
)
def test_sides_are_exchanged(text: str, other: str) -> None:
    assert mirrored(text) == other
    assert mirrored(other) == text


def test_neither_side_is_favoured() -> None:
    for answer in ("It is left of it", "the one on the left", "She is left", "all right"):
        there, back = (
            record(turn("What is it?", answer)),
            record(turn("What is it?", mirrored(answer))),
        )
        assert can_mirror(there) == can_mirror(back)
    assert can_mirror(record(turn("What is it?", "It is right of it")))
