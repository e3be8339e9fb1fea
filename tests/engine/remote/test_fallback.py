"""The bundled model answers where the server does not, and the reply says so."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from misbehaving_server import MisbehavingServer

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.remote.fallback import LocalFallback
from chatspot_ros.engine.remote.prompt import OTHER_MODEL
from chatspot_ros.errors import CancelledError, RegionError
from chatspot_ros.util.resources import find_model

WHAT = Question("What is this?", (Region.box(0, 0, 42, 28),), task="describe")
PICTURE = np.full((56, 84, 3), (200, 20, 20), np.uint8)


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return Engine.load(find_model("chatspot-tiny"), device="cpu", threads=1)


@pytest.fixture
def fallback(tiny: Engine) -> LocalFallback:
    return LocalFallback(tiny, seconds=0.5)


def locally(tiny: Engine, question: Question = WHAT) -> str:
    return tiny.answer(tiny.prepare(PICTURE), question).answer.text


def test_the_server_comes_first(
    make: Any, server: MisbehavingServer, fallback: LocalFallback
) -> None:
    engine = make(fallback)
    reply = engine.answer(engine.prepare(PICTURE), WHAT)
    assert (reply.model, reply.notes) == ("tiny-qwen2.5-vl", ())


@pytest.mark.parametrize("mode", ["500", "401", "429", "html", "foreign", "hang", "no_end"])
def test_the_local_model_answers_and_the_reply_says_why(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine, mode: str
) -> None:
    server.modes.append(mode)
    engine = make(fallback, timeout=0.3)
    reply = engine.answer(engine.prepare(PICTURE), WHAT)
    assert reply.model == tiny.name
    assert reply.answer.text == locally(tiny)
    assert any(tiny.name in note and "the server" in note for note in reply.notes)


def test_no_network_is_no_silence(make: Any, fallback: LocalFallback, tiny: Engine) -> None:
    engine = make(fallback, url="http://127.0.0.1:9/v1", retries=0, breaker_failures=2)
    scene = engine.prepare(PICTURE)
    whys = [engine.answer(scene, WHAT).notes[-1] for _ in range(3)]
    assert "cannot be reached" in whys[0]
    assert "not asked" in whys[2]


def test_it_answers_before_the_deadline(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine
) -> None:
    fallback = LocalFallback(tiny, seconds=20.0)
    server.always = "hang"
    engine = make(fallback)
    deadline_s = time.monotonic() + 20.3
    question = Question("What is this?", task="describe", deadline_s=deadline_s)
    reply = engine.answer(engine.prepare(PICTURE), question)
    assert reply.model == tiny.name
    assert time.monotonic() < deadline_s
    server.wait_until(lambda: server.closed == 1)


def test_it_keeps_the_time_of_its_longest_answer(fallback: LocalFallback, tiny: Engine) -> None:
    measured = LocalFallback(tiny)
    before_s = measured.needs_s
    measured.took(4.0)
    measured.took(2.0)
    assert measured.needs_s >= 4.0 > before_s > 0


def test_each_region_gets_its_own(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine
) -> None:
    server.modes.extend(["500", "500"])
    engine = make(fallback, breaker_failures=9)
    replies = engine.answer_many(engine.prepare(PICTURE), [WHAT] * 4)
    assert sorted(one.model for one in replies) == [tiny.name] * 2 + ["tiny-qwen2.5-vl"] * 2


def test_half_an_answer_is_not_continued_by_another_model(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine
) -> None:
    server.modes.extend(["cut", "500"])
    engine, said = make(fallback), [[], []]  # type: ignore[var-annotated]
    scene = engine.prepare(PICTURE)
    for pieces in said:
        reply = engine.answer(scene, WHAT, pieces.append)
    assert "".join(said[0]) == "half an "
    assert "".join(said[1]) == reply.raw_text == locally(tiny)


def test_choices_are_scored_by_the_local_model(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine
) -> None:
    engine = make(fallback)
    reply = engine.answer(engine.prepare(PICTURE), Question("Is it red?", choices=("yes", "no")))
    assert sum(reply.answer.choice_probabilities) == pytest.approx(1.0)
    assert reply.model == tiny.name
    assert not server.bodies


def test_a_model_sees_its_own_turns_only(
    make: Any, server: MisbehavingServer, fallback: LocalFallback, tiny: Engine
) -> None:
    server.always = "500"
    engine = make(fallback)
    turn = Turn("What is it?", "a mug", "describe", "tiny-qwen2.5-vl")
    asked = Question("What is this?", WHAT.regions, "describe", turns=(turn,))
    reply = engine.answer(engine.prepare(PICTURE), asked)
    assert reply.answer.text == locally(tiny)
    assert OTHER_MODEL in reply.notes
    own = Question("And this?", WHAT.regions, turns=(replace(turn, model=tiny.name),))
    reply = engine.answer(engine.prepare(PICTURE), own)
    assert OTHER_MODEL not in reply.notes


def test_a_callers_own_fault_is_not_the_servers(
    make: Any, server: MisbehavingServer, fallback: LocalFallback
) -> None:
    engine = make(fallback)
    with pytest.raises(RegionError):
        engine.answer(engine.prepare(PICTURE), Question("What?", (Region.box(500, 500, 600, 600),)))


def test_a_cancel_ends_the_local_answer_too(
    make: Any, server: MisbehavingServer, fallback: LocalFallback
) -> None:
    server.always = "500"
    engine = make(fallback)
    batch, said = engine.open(engine.prepare(PICTURE)), []  # type: ignore[var-annotated]
    asked = batch.admit([WHAT], lambda _, text: said.append(text), lambda: bool(said))
    while not asked.done:
        batch.step()
    with pytest.raises(CancelledError):
        asked.result()
    assert batch.live == 0
