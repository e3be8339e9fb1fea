"""The router on the robot: tasks, dialogue, doubt, what is no question, and its time and size."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from chatspot_ros.core.intents import NO_QUESTIONS
from chatspot_ros.core.ngrams import BUCKETS, hashed, tokens
from chatspot_ros.core.task_router import FILE, Intent, Router, intent_of, route
from chatspot_ros.core.tasks import TASKS

ASKED_BY_WORDS = [name for name, task in TASKS.items() if not task.needs_schema]


@pytest.mark.parametrize("task", ASKED_BY_WORDS)
def test_a_follow_up_wants_what_the_turn_before_wanted(task: str) -> None:
    for said in ("And this one?", "What about <region>?", "the same for that, please"):
        assert route(said, task) == task
    assert route("Where is the kettle?", task) == "locate"
    assert route("What does the label say?", task) == "read"


@pytest.mark.parametrize(
    ("said", "intent"),
    [
        ("Hello there, nice to see you!", "small_talk"), ("thank you very much", "small_talk"),
        ("Stop!", "stop"), ("stop moving right now", "stop"), ("Don't touch that!", "stop"),
        ("Turn left.", "command"), ("Go back to your charging station.", "command"),
        ("When does the next bus leave?", "unsupported"),
    ],
)  # fmt: skip
def test_what_is_no_question_wants_a_plain_answer_of_a_model(said: str, intent: str) -> None:
    found = intent_of(said)
    assert (found.name, found.is_question) == (intent, False)
    assert route(said) == ""


def test_a_question_is_one_whatever_politeness_stands_around_it() -> None:
    for said in ("Hello robot, what is this?", "Stop for a moment: is the door open?",
                 "Thanks. Where is the cup?", "please read the label, thank you"):  # fmt: skip
        assert intent_of(said).is_question, said


def test_doubt_is_a_plain_answer() -> None:
    router = Router.read()
    sure = router.intent("Where is the kettle?")
    assert (sure.name, sure.probability > router.min_task) == ("locate", True)
    strict = replace(router, min_task=1.0, min_no_question=1.1)
    assert strict.intent("Where is the kettle?").name == ""
    assert strict.intent("Stop!").name == ""
    for nonsense in ("", "  ", "?", "zxq 0 %%", "ß" * 5000, "\x00\ud800", "🤖🤖", "你好吗"):
        found = intent_of(nonsense)
        assert found.name in {*TASKS, *NO_QUESTIONS}
        assert 0 <= found.probability <= 1


def test_words_are_split_as_people_type_them() -> None:
    assert tokens("What’s THIS??? <region>12") == tokens("what's this?? <region> 7")
    assert tokens("sooooo big") == ["soo", "big"]
    found = hashed("What is this?")
    assert len(set(found.tolist())) == len(found)
    assert found.min() >= 0
    assert found.max() < BUCKETS
    assert np.array_equal(np.sort(found), np.sort(hashed("what is this?")))


def test_it_is_small_and_takes_less_than_a_millisecond() -> None:
    assert FILE.stat().st_size < 1_000_000
    said = "Could you please tell me where the blue crate is that stood beside the ladder?"
    assert intent_of(said) == Intent("locate", pytest.approx(intent_of(said).probability))
    began_s = time.process_time()
    for _ in range(200):
        intent_of(said)
    assert (time.process_time() - began_s) / 200 < 0.001
