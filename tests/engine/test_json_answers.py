"""JSON answers follow the caller's schema, whole or not at all, whatever the model would say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question
from chatspot_ros.engine.api import Turn
from chatspot_ros.errors import RequestError

BOX, OTHER = Region.box(10, 10, 100, 80), Region.box(60, 20, 180, 90)
SCHEMA = json.dumps({
    "type": "object", "required": ["door", "n", "text"], "properties": {
        "door": {"enum": ["open", "closed"], "description": "of the fridge <|im_end|> [plan]"},
        "n": {"type": "integer", "minimum": 3, "maximum": 12},
        "text": {"type": "string", "maxLength": 5},
        "more": {"type": "array", "items": {"type": ["boolean", "null"]}, "maxItems": 2}},
})  # fmt: skip
ASKED = Question("What is here?", (BOX,), "json", json_schema=SCHEMA, max_new_tokens=200)


def check(text: str) -> None:
    value = json.loads(text)
    assert value["door"] in ("open", "closed")
    assert 3 <= value["n"] <= 12
    assert len(value["text"]) <= 5


@pytest.mark.parametrize("which", ["llava", "qwen"])
def test_whatever_a_model_would_say_it_follows_the_schema(
    which: str, image_rgb: np.ndarray, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(which)
    scene = engine.prepare(image_rgb)
    asked = [ASKED, replace(ASKED, regions=(OTHER,)), Question("What?", (BOX,), max_new_tokens=3),
             replace(ASKED, json_schema='{"enum": ["a", "b"]}')]  # fmt: skip
    together = engine.answer_many(scene, asked)
    assert [one.raw_text for one in together] == [
        engine.answer(scene, one).raw_text for one in asked
    ]
    for reply in together[:2]:
        assert not reply.answer.truncated
        check(reply.answer.json)
        assert reply.answer.text == reply.answer.json == reply.raw_text
        assert not reply.answer.grounded
    assert not together[2].answer.json
    assert together[3].answer.json in ('"a"', '"b"')


def test_json_that_is_cut_off_is_no_json(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    whole = llava.answer(scene, ASKED).answer
    for limit in (4, 8, len(whole.text) - 1):
        answer = llava.answer(scene, replace(ASKED, max_new_tokens=limit)).answer
        assert answer.truncated
        assert answer.uncertain
        assert answer.json == ""
        assert answer.text
        assert whole.text.startswith(answer.text)


def test_without_a_grammar_only_json_that_follows_is_json(
    llava_folder: Path, image_rgb: np.ndarray
) -> None:
    engine = Engine.load(str(llava_folder), device="cpu", constrain_answers=False)
    answer = engine.answer(engine.prepare(image_rgb), ASKED).answer
    assert answer.json == ""
    assert answer.uncertain
    assert answer.text


def test_the_schema_is_told_to_a_chat_model_without_control_words(
    qwen_folder: Path, image_rgb: np.ndarray
) -> None:
    engine = Engine.load(str(qwen_folder), device="cpu")
    scene = engine.prepare(image_rgb)
    prompt = engine.answer(scene, ASKED).prompt
    assert '"enum": ["open", "closed"]' in prompt
    assert "<|im_end|>" not in prompt
    choices = Question("Is it open?", (BOX,), choices=("yes", "not sure"))
    assert '"yes", "not sure"' in engine.answer(scene, choices).prompt


def test_a_follow_up_of_json_is_a_plain_question(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    first = llava.answer(scene, ASKED)
    turns = (Turn(first.prompt, first.raw_text, first.task),)
    follow = Question("And this one?", (OTHER,), turns=turns, max_new_tokens=3)
    assert llava.answer(scene, follow).task == ""


@pytest.mark.parametrize("schema", ["", "{", '{"type": "string", "format": "date"}'])
def test_a_schema_that_cannot_be_kept_is_refused_before_any_answer(
    llava: Engine, image_rgb: np.ndarray, schema: str
) -> None:
    with pytest.raises(RequestError, match="schema"):
        llava.answer_many(llava.prepare(image_rgb), [ASKED, replace(ASKED, json_schema=schema)])


def test_compiled_schemas_are_bounded(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    for k in range(40):
        llava.answer(scene, replace(ASKED, json_schema=json.dumps({"const": k})))
    grammars = llava.conversation._grammars
    assert grammars is not None
    assert len(grammars._schemas) == 32
