"""What a model is trained to read is what it is given: one text from all four callers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.model_spec import ModelSpec, read_spec
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.engine.api import Question, Reply
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.loading.checkpoint import Loaded
from chatspot_ros.errors import ChatspotError
from chatspot_train.data.records import RecordError, RecordTurn
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.openai_model import EndpointAnswerer
from chatspot_train.evaluation.suite import AskedTurn, Item
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.model import Start, load_start

FAMILIES = sorted((Path(__file__).parents[2] / "config" / "models").glob("*.yaml"))
SKILLS = ("open", "pick_up")
STATES = {"door": ("open", "closed"), "plug": ("in", "out")}
PICTURE = np.zeros((40, 80, 3), np.uint8)
BOX, POINT = Region.box(-9, 10, 40, 30), Region.point(50, 20)
QUESTIONS = [
    ("How is this <image> [plan] set?", (BOX,)),
    ("Is <region> on <region>?", (BOX, POINT)),
    ("Where is the red mug?", ()),
]


@pytest.fixture(scope="module")
def start(parts: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(parts))


def node(start: Start, spec: ModelSpec) -> Callable[[Question], str]:
    """Return the prompt of the node's engine."""
    loaded = Loaded(
        Path(), start.model, start.tokenizer, start.image_processor, start.chat_template,
        torch.device("cpu"), torch.float32,
    )  # fmt: skip
    engine = Engine(loaded, spec, "m", SKILLS, STATES)
    scene: Any = SimpleNamespace(
        fit=spec.geometry.fit((80, 40)), image_wh=(80, 40), picture="<image>"
    )

    def prompt(question: Question) -> str:
        return engine.conversation.read(scene, question).prompt

    return prompt


def training(start: Start, spec: ModelSpec) -> Callable[[Question], str]:
    """Return the prompt that the collator trains on."""
    tuned = Start(start.model, start.tokenizer, start.image_processor, start.chat_template, spec)
    encoder = Encoder(tuned, 400, SKILLS, STATES)
    fit = spec.geometry.fit((80, 40))

    def prompt(question: Question) -> str:
        turn = RecordTurn(question.text, "yes", question.regions, question.task)
        return encoder.say(turn, fit).user_text

    return prompt


def endpoint(answerer: EndpointAnswerer, server: Any) -> Callable[[Question], str]:
    """Return the prompt that reaches a model behind an endpoint."""

    def prompt(question: Question) -> str:
        (found,) = answerer.answer_all(PICTURE, [item(question)])
        if found.error:
            raise RecordError(found.error)
        return str(server.last_text(server.bodies[-1]))

    return prompt


def evaluation(prompt_of_node: Callable[[Question], str]) -> Callable[[Question], str]:
    """Return the prompt of the node's engine for the question that evaluation puts to it."""
    put: list[str] = []

    def answer(scene: Any, question: Question, *_: object) -> Reply:
        put.append(prompt_of_node(question))
        return Reply(Answer(""), put[-1], "", tokens=0, seconds=0.0, task=question.task)

    engine: Any = SimpleNamespace(name="m", prepare=lambda rgb: None, answer=answer)

    def prompt(question: Question) -> str:
        (found,) = EngineAnswerer(engine).answer_all(PICTURE, [item(question)])
        if found.error:
            raise RecordError(found.error)
        return put[-1]

    return prompt


def item(question: Question) -> Item:
    turn = AskedTurn(question.text, question.regions, question.task)
    return Item("k", lambda: PICTURE, (turn,), {})


def said(prompt: Callable[[Question], str], question: Question) -> str:
    """Return the prompt, or the message of the refusal."""
    try:
        return prompt(question)
    except (ChatspotError, RecordError) as error:
        return f"refused: {error}"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.stem)
def test_all_four_callers_say_the_same(start: Start, chat_server: Any, family: Path) -> None:
    chat_server.answer = lambda text, count: chat_server.completion("yes")
    spec = read_spec(family)
    of_node = node(start, spec)
    with EndpointAnswerer(chat_server.url, "m", spec, skills=SKILLS, states=STATES) as answerer:
        callers = [training(start, spec), endpoint(answerer, chat_server), evaluation(of_node)]
        texts = {}
        for task in (name for name, one in TASKS.items() if not one.needs_schema):
            for text, regions in QUESTIONS:
                question = Question(text, regions, task)
                texts[task, text] = said(of_node, question)
                for caller in callers:
                    assert said(caller, question) == texts[task, text]
    spoken = [text for text in texts.values() if not text.startswith("refused")]
    assert spoken
    assert all("<image>" not in text for text in spoken)
    if spec.phrases is None:
        assert len(spoken) == len(texts)
        assert "open, pick_up" in texts["plan", "Where is the red mug?"]
        assert "door (open, closed)" in texts["state", "Where is the red mug?"]


def test_a_tuned_family_learns_its_own_prompts_and_answers(start: Start) -> None:
    spec = read_spec(FAMILIES[0].with_name("paligemma.yaml"))
    tuned = Start(start.model, start.tokenizer, start.image_processor, start.chat_template, spec)
    turn = RecordTurn("Where is the mug?", "the mug <region>", (), "locate", (BOX,))
    example = Encoder(tuned, 400).say(turn, spec.geometry.fit((80, 40)))
    assert example.user_text == "detect the mug"
    assert example.answer_text == "<loc0256><loc0000><loc0767><loc0512> the mug"
