"""Models that reason before they answer: what is sent, read, held to a grammar and limited."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.engine import Engine, Question
from chatspot_ros.engine.prompting.chat_template import ChatTemplate, TextStream
from chatspot_ros.engine.prompting.grammar_constraint import Grammars, ReasoningConstraint

STATES = {"door": ("open", "closed")}


class Scripted:
    """A model that says given tokens, as far as it is let."""

    def __init__(self, model: Any, ids: list[int]) -> None:
        self._model, self._left = model, list(ids)

    def __call__(self, **inputs: Any) -> Any:
        out = self._model(**inputs)
        out.logits.fill_(-20.0)
        if self._left:
            out.logits[..., self._left.pop(0)] = 20.0
        return out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@pytest.fixture(scope="module")
def thinking(qwen_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A model whose template opens the reasoning, as that of Qwen3-VL-Thinking."""
    folder = Path(shutil.copytree(qwen_folder, tmp_path_factory.mktemp("t") / "tiny-thinking"))
    path = folder / "chat_template.jinja"
    text = path.read_text()
    opened = text.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    assert opened != text
    path.write_text(opened)
    return Engine.load(str(folder), device="cpu", states=STATES)


def say(engine: Engine, image_rgb: np.ndarray, said: str, question: Question) -> tuple[Any, str]:
    """What comes of a text that the model wants to say, and the pieces that were sent."""
    ids = engine._chat.tokenizer.encode(said, add_special_tokens=False)
    scene, real, pieces = engine.prepare(image_rgb), engine._runner.model, []
    engine._runner.model = Scripted(real, [*ids, next(iter(engine._runner.end_ids))])
    try:
        reply = engine.answer(scene, question, pieces.append)
    finally:
        engine._runner.model = real
    return reply, "".join(pieces)


def test_the_answer_is_what_follows(thinking: Engine, image_rgb: np.ndarray) -> None:
    assert thinking._chat.reasons
    question = Question("What is this?", task="describe", min_confidence=0.0)
    reply, sent = say(thinking, image_rgb, "A cup? door: open.</think>\n\na red mug", question)
    assert reply.answer.text == reply.raw_text == sent == "a red mug"
    assert not reply.answer.truncated
    assert not reply.answer.uncertain
    assert reply.answer.confidence > 0.9


def test_reasoning_that_does_not_end_is_truncated_and_uncertain(
    thinking: Engine, image_rgb: np.ndarray
) -> None:
    question = Question("What is this?", task="describe", min_confidence=0.0)
    reply, sent = say(thinking, image_rgb, "A cup? No.", question)
    assert reply.answer.truncated
    assert reply.answer.uncertain
    assert reply.answer.text == reply.raw_text == sent == "A cup? No."


def test_the_grammar_begins_behind_the_reasoning(thinking: Engine, image_rgb: np.ndarray) -> None:
    question = Question("What is its state?", task="state", min_confidence=0.0)
    reply, sent = say(thinking, image_rgb, "Free words; [x]</think>\n\ndoor: open", question)
    assert reply.answer.text == sent == "door: open"
    assert reply.answer.state == {"door": "open"}
    assert not reply.answer.uncertain
    # Behind the tag it holds.
    reply, sent = say(thinking, image_rgb, "Well.</think>\n\nthe door seems open", question)
    assert reply.answer.state in ({"door": "open"}, {"door": "closed"})


def test_the_limit_of_an_answer_leaves_room_for_the_reasoning(
    thinking: Engine, qwen: Engine, image_rgb: np.ndarray
) -> None:
    question = Question("What is this?", max_new_tokens=10)
    scene = thinking.prepare(image_rgb)
    plain = qwen.conversation.read(qwen.prepare(image_rgb), question)
    asked = thinking.conversation.read(scene, question)
    assert plain.limit == 10
    room = thinking._runner.max_tokens - len(asked.ids)
    assert asked.limit == min(10 + thinking.spec.reasoning_tokens, room)
    reply, _ = say(thinking, image_rgb, f"{'Hm. ' * 50}</think>a red mug", question)
    assert reply.answer.text == "a red mug"


@pytest.fixture(params=[False, True], ids=["several tokens", "one token"])
def chat(request: pytest.FixtureRequest, qwen: Engine, qwen_folder: Path) -> ChatTemplate:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(qwen_folder)
    if request.param:
        tokenizer.add_tokens(["<think>", "</think>"])
    template = qwen._chat._template
    return ChatTemplate(tokenizer, template, qwen._chat.image_token_id)


def test_reasoning_that_the_model_opens_itself(chat: ChatTemplate) -> None:
    assert not chat.reasons
    ids = chat.tokenizer.encode("<think>A cup?</think>\n\na mug")
    stream = TextStream(chat)
    pieces = [stream.add(ids[: n + 1]) for n in range(len(ids))]
    last, whole = stream.finish(ids)
    assert "".join(pieces) + last == whole == "a mug"
    begin = chat.answer_start(ids)
    assert begin is not None
    assert chat.decode(ids[begin:]) == "\n\na mug"
    assert chat.answer_start(chat.tokenizer.encode("a mug")) is None


def test_a_stream_of_plain_text_waits_for_nothing(chat: ChatTemplate) -> None:
    ids = chat.tokenizer.encode("<b> is no tag")
    stream = TextStream(chat)
    sent = [stream.add(ids[: n + 1]) for n in range(len(ids))]
    assert "".join(sent[:3]) == "<b>"


def test_within_the_reasoning_all_but_the_end_is_allowed(chat: ChatTemplate) -> None:
    end = int(chat.tokenizer.eos_token_id)
    size = len(chat.tokenizer)
    grammars = Grammars(chat.tokenizer, [end], chat.silent_ids, size)
    held = grammars.behind(grammars.start('root ::= "yes" | "no"'), chat.answer_start)
    assert isinstance(held, ReasoningConstraint)

    def allowed(text: str) -> set[str]:
        bits = torch.zeros(-(-size // 32), dtype=torch.int32)
        held.allow(chat.tokenizer.encode(text), bits)
        on = (k for k in range(size) if int(bits[k // 32]) >> k % 32 & 1)
        return {chat.tokenizer.decode([k]) for k in on}

    thinking = allowed("Hm, ")
    assert {"a", "y", "<"} <= thinking
    assert chat.tokenizer.eos_token not in thinking
    assert {one for one in allowed("Hm</think>") if one.strip()} == {"y", "n"}
    assert "\n" in allowed("Hm</think>\n")
    assert allowed("Hm</think>\n\n\n") == {"y", "n"}
    assert allowed("Hm</think>\n\nye") == {"s"}
    assert allowed("Hm</think>\n\nyes") == {chat.tokenizer.eos_token}
