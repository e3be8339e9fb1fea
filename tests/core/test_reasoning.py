"""Reasoning before an answer is no part of it."""

from __future__ import annotations

import pytest

from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.reasoning import answer_of, is_open

BUILDER = PromptBuilder(find_spec("Qwen3-VL-2B-Thinking", "qwen3_vl"))
FIT = BUILDER.spec.geometry.fit((640, 480))
PLACE = '{"bbox_2d": [100, 100, 200, 200], "label": "mug"}'


@pytest.mark.parametrize(
    ("text", "opened", "answer"),
    [
        ("a mug", False, "a mug"),
        ("<think>A cup? No.</think>\n\na mug", False, "a mug"),
        ("A cup? No.</think>\n\na mug", True, "a mug"),
        # A closing tag alone, where the prompt is not known to have opened it.
        ("A cup? No.</think>a mug", False, "a mug"),
        ("<think>one</think>a cup<think>two</think>a mug", False, "a mug"),
        ("<think>A cup? No.", False, None),
        ("A cup? No.", True, None),
        ("x < think", False, "x < think"),
        ("done</think>", True, ""),
    ],
)
def test_the_answer_follows_the_last_closing_tag(
    text: str, opened: bool, answer: str | None
) -> None:
    assert answer_of(text, opened) == answer


def test_a_prompt_may_open_the_reasoning() -> None:
    assert is_open("<|im_start|>assistant\n<think>\n")
    assert not is_open("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not is_open("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("text", "task", "count"),
    [
        (f"There may be two: {PLACE} and {PLACE}.</think>\n```json\n[{PLACE}]\n```", "locate", 1),
        (f"<think>{PLACE}</think>{PLACE}", "locate", 1),
    ],
)
def test_only_the_answer_is_read(text: str, task: str, count: int) -> None:
    got = BUILDER.read(text, (), task, FIT, truncated=False, log_probabilities=None)
    assert len(got.grounded) == count
    assert not got.uncertain
    assert "</think>" not in got.text


@pytest.mark.parametrize("task", ["", "state", "plan", "locate"])
def test_reasoning_without_an_end_is_no_answer(task: str) -> None:
    text = f"<think>door: open; pick mug {PLACE}"
    got = BUILDER.read(text, (), task, FIT, truncated=False, log_probabilities=[-0.1],
                       min_confidence=0.0)  # fmt: skip
    assert got.truncated
    assert got.uncertain
    assert (got.state, got.steps, got.grounded, got.confidence) == ({}, (), (), 0.0)
    assert got.text == text
