"""Given choices are scored as the model would say them, in any company, on every path."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question
from chatspot_ros.engine.api import Turn
from chatspot_ros.engine.decoding import packed_batch
from chatspot_ros.engine.decoding.kv_cache import PackedCache
from chatspot_ros.engine.prompting.token_texts import ends_word
from chatspot_ros.engine.serial_engine import SerialEngine
from chatspot_ros.errors import ModelError, RequestError
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.world import World
from chatspot_train.evaluation.kitchen.choices import choice_questions

BOX, OTHER = Region.box(10, 10, 100, 80), Region.box(60, 20, 180, 90)
CHOICES = ("yes", "no", "no door", "no door here", "not sure", "unklar: größer", "是", "no, it is")


def mixed() -> list[Question]:
    """Questions with and without choices, after turns and without, about several regions."""
    return [
        Question("Is it open?", (BOX,), choices=CHOICES),
        Question("Is it open?", (OTHER,), choices=CHOICES[:2], look_twice="on"),
        Question("What is this?", (OTHER,), max_new_tokens=5),
        Question("And this?", (OTHER,), choices=("a mug", "a cup"),
                 turns=(Turn("[short] What is this?", "a mug"),)),
        Question("Is <region> on <region>?", (BOX, OTHER), choices=("yes", "no")),
        Question("Is it dark?", choices=("yes", "no")),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Engine:
    states = {"door": ("open", "closed"), "drawer": ("open", "closed")}
    return Engine.load("models/chatspot-tiny", device="cpu", states=states)


def same(some: Any, others: Any) -> None:
    assert [one.raw_text for one in some] == [one.raw_text for one in others]
    for one, other in zip(some, others, strict=True):
        assert one.answer.choice_probabilities == pytest.approx(
            other.answer.choice_probabilities, abs=1e-5
        )
        assert one.answer.uncertain == other.answer.uncertain


@pytest.mark.parametrize("which", ["llava", "qwen", "tiny"])
def test_together_is_as_one_by_one_and_a_short_pass_as_a_long_one(
    which: str,
    image_rgb: np.ndarray,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine: Engine = request.getfixturevalue(which)
    scene = engine.prepare(image_rgb)
    together = engine.answer_many(scene, mixed())
    same([engine.answer(scene, one) for one in mixed()], together)
    same(engine.answer_many(engine.prepare(image_rgb), mixed()), together)
    monkeypatch.setattr(packed_batch, "MAX_SCORED_TOKENS", 3)
    same(engine.answer_many(scene, mixed()), together)
    # One sequence after the other, on copies of a cache that no mask can pack.
    monkeypatch.setattr(PackedCache, "can_grow", staticmethod(lambda cache: False))
    same(engine.answer_many(scene, mixed()), together)
    for reply, question in zip(together, mixed(), strict=True):
        assert len(reply.answer.choice_probabilities) == len(question.choices)
        if question.choices:
            assert sum(reply.answer.choice_probabilities) == pytest.approx(1)
            best = max(reply.answer.choice_probabilities)
            assert reply.answer.confidence == pytest.approx(best)
            assert reply.answer.text in question.choices
            assert not reply.answer.truncated


def test_scores_are_those_of_saying_each_choice_token_by_token(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene, question = llava.prepare(image_rgb), mixed()[0]
    ready = llava.conversation.read(scene, question)
    decode = llava._chat.tokenizer.decode
    assert tuple(decode(ways[0]).strip() for ways in ready.choices) == CHOICES
    assert ready.word_ends is not None
    shares = []
    for ways in ready.choices:
        shares.append(0.0)
        for ids in ways:
            said = 0.0
            with torch.inference_mode():
                for k in range(len(ids) + 1):
                    following, _ = llava._runner.read(scene, [*ready.ids, *ids[:k]])
                    probable = following.float().softmax(-1)
                    end = probable[ready.word_ends[: len(probable)]].sum()
                    said += math.log(probable[ids[k]] if k < len(ids) else end)
            shares[-1] += math.exp(said)
    # Without what belongs to "no door", "no door here" and "no, it is".
    shares[1] -= shares[2] + shares[7]
    shares[2] -= shares[3]
    expected = [max(one, 0.0) / sum(shares) for one in shares]
    found = llava.answer(scene, question).answer.choice_probabilities
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_bundled_model_chooses_what_is_true() -> None:
    engine = Engine.load("models/chatspot-tiny", device="cpu", states={
        "door": ("open", "closed"), "drawer": ("open", "closed"), "plug": ("in", "out"),
        "burner": ("on", "off"), "water": ("running", "off"), "contents": ("empty", "full"),
    })  # fmt: skip
    right, free_right = [], []
    for number in (3, 5):
        with World(draw_kitchen(number, "test"), 640, 480) as world:
            frame = world.frame(measure_visibility=True)
        asked = list(choice_questions(frame.truth, number, TEST))
        assert {one.kind for one in asked} == {"yes_no", "value"}
        scene = engine.prepare(frame.rgb)
        chosen = engine.answer_many(scene, [one.question for one in asked])
        free = engine.answer_many(scene, [replace(one.question, choices=()) for one in asked])
        for one, reply, said in zip(asked, chosen, free, strict=True):
            right.append(reply.answer.text == one.question.choices[one.true])
            free_right.append(one.is_right(said.answer.text, frame.truth))
            assert reply.answer.choice_probabilities[one.true] > 0.5 or not right[-1]
    assert sum(right) / len(right) >= 0.9
    assert sum(right) >= sum(free_right) - 1


def test_the_order_of_choices_and_others_beside_them_change_nothing(
    tiny: Engine, image_rgb: np.ndarray
) -> None:
    scene = tiny.prepare(image_rgb)

    def ask(*choices: str) -> dict[str, float]:
        found = tiny.answer(scene, Question("Is it open?", (BOX,), choices=choices)).answer
        return dict(zip(choices, found.choice_probabilities, strict=True))

    one, other = ask("yes", "no", "maybe"), ask("maybe", "no", "yes")
    assert one == pytest.approx(other)
    two = ask("no", "yes")
    assert two["no"] / two["yes"] == pytest.approx(one["no"] / one["yes"], rel=1e-3)


def test_the_text_is_the_callers_own_and_comes_at_once(tiny: Engine, image_rgb: np.ndarray) -> None:
    heard: list[str] = []
    scene = tiny.prepare(image_rgb)
    question = Question("Is it open?", (BOX,), choices=(" YES ", "No"))
    reply = tiny.answer(scene, question, heard.append)
    assert heard == [reply.answer.text] == [reply.raw_text]
    assert reply.answer.text in question.choices
    sure = tiny.answer(scene, replace(question, min_confidence=1.0)).answer
    assert sure.uncertain
    assert not tiny.answer(scene, replace(question, min_confidence=0.0)).answer.uncertain


def test_answers_that_are_none_of_the_choices_are_uncertain(
    tiny: Engine, image_rgb: np.ndarray
) -> None:
    scene = tiny.prepare(image_rgb)
    odd = Question("Is it open?", (BOX,), choices=("seven", "eleven"), min_confidence=0.0)
    reply = tiny.answer(scene, odd)
    assert reply.answer.uncertain
    assert "none of them" in " ".join(reply.notes)


@pytest.mark.parametrize(
    "choices",
    [("yes", "</s>"), ("yes", "<box>"), ("yes", "a <image> b"), ("yes",), ("a", "a "),
     ("x" * 65, "y"), ("yes", "\n")],
)  # fmt: skip
def test_choices_that_cannot_be_scored_are_refused_before_any_answer(
    tiny: Engine, image_rgb: np.ndarray, choices: tuple[str, ...]
) -> None:
    scene = tiny.prepare(image_rgb)
    good = Question("Is it open?", (BOX,), choices=("yes", "no"))
    with pytest.raises(RequestError):
        tiny.answer_many(scene, [good, replace(good, choices=choices)])
    assert tiny.answer(scene, good).answer.text in ("yes", "no")


def test_a_conversation_goes_on_after_a_choice_with_its_cache_and_without(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene = llava.prepare(image_rgb)
    first = Question("Is it open?", (BOX,), choices=("yes", "no"))
    batch = llava.open(scene)
    asked = batch.admit([first], remember=True)
    while not asked.done:
        batch.step()
    (reply,) = asked.result()
    assert asked.memory is not None
    turns = (Turn(reply.prompt, reply.raw_text, reply.task),)
    follow = [Question("And this?", (OTHER,), turns=turns, choices=("yes", "no")),
              Question("Why?", (OTHER,), turns=turns, max_new_tokens=4)]  # fmt: skip
    cold = [llava.answer(scene, one) for one in follow]
    warm = []
    for one in follow:
        asked_again = batch.admit([one], memory=asked.memory)
        while not asked_again.done:
            batch.step()
        warm += asked_again.result()
    same(cold, warm)


def test_a_model_that_reasons_is_asked_behind_its_reasoning(
    qwen_folder: Path, image_rgb: np.ndarray, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(qwen_folder, tmp_path / "thinking"))
    template = folder / "chat_template.jinja"
    opened = template.read_text().replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
    template.write_text(opened)
    engine = Engine.load(str(folder), device="cpu")
    scene = engine.prepare(image_rgb)
    question = Question("Is it open?", (BOX,), choices=("yes", "no"))
    ready = engine.conversation.read(scene, question)
    assert engine._chat.tokenizer.decode(ready.ids).endswith("<think>\n\n</think>\n\n")
    found = engine.answer(scene, question).answer
    assert sum(found.choice_probabilities) == pytest.approx(1)


def test_numbers_that_are_none_end_the_question_alone(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, real = llava.prepare(image_rgb), llava._runner.model

    class Broken:
        def __call__(self, **inputs: Any) -> Any:
            out = real(**inputs)
            out.logits.fill_(math.nan)
            return out

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(llava._runner, "model", Broken())
    with pytest.raises(ModelError, match="not finite"):
        llava.answer(scene, mixed()[0])


def test_an_engine_of_whole_requests_refuses_clearly() -> None:
    class Whole:
        name = "whole"

        def prepare(self, image_rgb: Any) -> Any:
            return image_rgb

        def answer(self, *_: Any) -> Any:
            raise AssertionError("asked all the same")

    engine = SerialEngine(Whole())  # type: ignore[arg-type]
    for form in ({"choices": ("a", "b")}, {"json_schema": '{"type": "null"}', "task": "json"}):
        with pytest.raises(RequestError, match="own words"):
            engine.answer_many(None, [Question("What?", **form)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ends"),
    [(" ", True), (", ", True), ("\n", True), (".", True), ("。", True), ("s", False),
     ("-open", False), ("'t", False), ("_", False), ("7", False), ("门", False), ("", False)],
)  # fmt: skip
def test_words_end_where_no_letter_goes_on(text: str, ends: bool) -> None:
    assert ends_word(text.encode()) == ends
    assert not ends_word(b"\xe9")
