"""The engine's states, plans and places: always of their form, and otherwise what they were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.confidence import UNCALIBRATED_THRESHOLD, Calibration
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Reply

SKILLS = ("open", "close", "pick")
STATES = {"door": ("open", "closed"), "plug": ("in", "out")}
TASKS = ("state", "plan", "locate")
KITCHENS = 4


@pytest.fixture(scope="module")
def engine(llava_folder: Path) -> Engine:
    return Engine.load(str(llava_folder), device="cpu", skills=SKILLS, states=STATES)


@pytest.fixture(scope="module")
def free(llava_folder: Path) -> Engine:
    return Engine.load(str(llava_folder), device="cpu", skills=SKILLS, states=STATES,
                       constrain_answers=False)  # fmt: skip


def keeps_to_form(engine: Engine, reply: Reply) -> bool:
    grammar = engine.conversation.builder.grammar(reply.task)
    assert grammar is not None
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    # Where it breaks off in the middle of a letter, there is a mark instead.
    accepted = matcher.accept_string(reply.raw_text.rstrip("\ufffd"))
    return bool(accepted and (reply.answer.truncated or matcher.is_completed()))


def questions(task: str) -> list[Question]:
    """Random weights say something else of each."""
    return [
        Question("What is here?", (Region.box(8 * k, k, 90 + 8 * k, 60 + k),), task,
                 max_new_tokens=90, min_confidence=0.0)
        for k in range(8)
    ]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_whatever_a_model_would_say_its_answer_has_the_form(
    engine: Engine, free: Engine, image_rgb: np.ndarray, task: str
) -> None:
    replies = engine.answer_many(engine.prepare(image_rgb), questions(task))
    assert all(keeps_to_form(engine, reply) for reply in replies)
    for reply in replies:
        answer = reply.answer
        if task == "state" and not answer.truncated:
            assert answer.state
            assert all(value in STATES[name] for name, value in answer.state.items())
            assert not answer.uncertain
        if task == "plan" and not answer.truncated:
            assert answer.steps or answer.text == "nothing to do"
            assert not answer.uncertain
    # The weights are random: without the grammar there is no form.
    unheld = free.answer_many(free.prepare(image_rgb), questions(task)[:3])
    assert not any(keeps_to_form(free, reply) for reply in unheld)


def test_a_state_of_two_attributes_always_comes_to_its_end(
    engine: Engine, image_rgb: np.ndarray
) -> None:
    replies = engine.answer_many(engine.prepare(image_rgb), questions("state"))
    assert not any(reply.answer.truncated for reply in replies)


@pytest.mark.parametrize("task", TASKS)
def test_together_as_one_by_one(engine: Engine, image_rgb: np.ndarray, task: str) -> None:
    scene = engine.prepare(image_rgb)
    asked = [*questions(task)[:4], Question("What is this?", max_new_tokens=9)]
    together = engine.answer_many(scene, asked)
    for question, reply in zip(asked, together, strict=True):
        alone = engine.answer(scene, question)
        assert alone.raw_text == reply.raw_text
        assert alone.answer.state == reply.answer.state
        assert alone.log_probabilities == pytest.approx(reply.log_probabilities, abs=1e-4)


def test_free_text_is_what_it_was(engine: Engine, free: Engine, image_rgb: np.ndarray) -> None:
    for task in ("", "describe", "read"):
        question = Question("What is this?", task=task, max_new_tokens=9)
        texts = {one.answer(one.prepare(image_rgb), question).raw_text for one in (engine, free)}
        assert len(texts) == 1


def test_an_answer_against_the_models_will_is_not_a_sure_one(
    engine: Engine, image_rgb: np.ndarray
) -> None:
    reply = engine.answer(engine.prepare(image_rgb), questions("state")[0])
    mean = sum(reply.log_probabilities) / len(reply.log_probabilities)
    assert len(reply.log_probabilities) == reply.tokens
    assert reply.answer.confidence == pytest.approx(math.exp(mean))
    # Random logits: a byte has a few percent.
    assert reply.answer.confidence < UNCALIBRATED_THRESHOLD


def test_the_threshold_is_the_questions_or_else_the_models(
    llava_folder: Path, engine: Engine, image_rgb: np.ndarray
) -> None:
    question = Question("How is it?", task="state", max_new_tokens=90)
    level = {"mean_weight": 1.0, "knots": [[0.5, 0.7]]}
    calibration = Calibration.model_validate({"threshold": 0.8, "maps": {"any": level}})
    spec = engine.spec.model_copy(update={"calibration": calibration})
    measured = Engine.load(str(llava_folder), device="cpu", spec=spec, skills=SKILLS, states=STATES)
    scene = measured.prepare(image_rgb)
    for least, uncertain in ((None, True), (0.69, False), (0.71, True), (0.0, False)):
        asked = Question(question.text, task="state", max_new_tokens=90, min_confidence=least)
        answer = measured.answer(scene, asked).answer
        assert (answer.confidence, answer.uncertain) == (pytest.approx(0.7), uncertain)
        assert answer.state


def test_a_state_cut_by_the_limit_says_nothing_unfinished(
    engine: Engine, image_rgb: np.ndarray
) -> None:
    scene = engine.prepare(image_rgb)
    for limit in range(1, 25):
        asked = Question("How is it?", task="state", max_new_tokens=limit, min_confidence=0.0)
        answer = engine.answer(scene, asked).answer
        assert all(value in STATES[name] for name, value in answer.state.items())
        assert answer.uncertain == answer.truncated
        if not answer.truncated:
            return
    pytest.fail("the answer never came to its end")


@pytest.fixture(scope="module")
def bundled(root: Path) -> list[Engine]:
    """The bundled model with and without grammars."""
    from chatspot_ros.core.skills import read_skills, read_states

    said: dict[str, Any] = {
        "skills": read_skills(str(root / "config" / "skills.yaml")),
        "states": read_states(str(root / "config" / "states.yaml")),
    }
    folder = str(root / "models" / "chatspot-tiny")
    return [Engine.load(folder, device="cpu", constrain_answers=on, **said) for on in (True, False)]


def kitchen_replies(engines: list[Engine]) -> Iterator[tuple[Reply, ...]]:
    """What the engines say to the same questions about kitchens that training never saw."""
    from chatspot_sim.kitchen import draw_kitchen
    from chatspot_sim.questions import draw_dialogue
    from chatspot_sim.world import World

    for seed in range(KITCHENS):
        with World(draw_kitchen(seed, "val")) as world:
            frame = world.frame(measure_visibility=True)
        rng = np.random.default_rng(seed)
        drawn = [draw_dialogue(frame.truth, task, rng) for task in TASKS]
        asked = [
            Question(one.question, one.regions, one.task)
            for dialogue in drawn
            for one in dialogue or []
        ]
        both = [engine.answer_many(engine.prepare(frame.rgb), asked) for engine in engines]
        yield from zip(*both, strict=True)


def test_what_was_valid_stays_the_same(bundled: list[Engine]) -> None:
    compared = 0
    for held, free in kitchen_replies(bundled):
        assert keeps_to_form(bundled[0], held)
        if not free.answer.truncated and keeps_to_form(bundled[1], free):
            assert held.raw_text == free.raw_text
            assert held.log_probabilities == pytest.approx(free.log_probabilities, abs=1e-4)
            compared += held.task in ("state", "plan")
    assert compared >= KITCHENS
