"""A task is one record: registered, it is routed, prompted, constrained and read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.model_spec import ModelSpec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks import (
    Parsed,
    Task,
    TaskContext,
    find_task,
    register,
    registry,
    task_tags,
)
from chatspot_ros.errors import RequestError
from chatspot_ros.server.request import Query
from chatspot_ros.server.request_validation import check
from chatspot_ros.server.settings import Settings

FIT = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))


def weigh(text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext) -> Parsed:
    number, _, unit = text.partition(" ")
    return Parsed(state={"weight": text}, readable=number.isdigit() and unit == "g")


WEIGH = Task(
    name="weigh",
    tag="[weight]",
    instruction=lambda context: "Answer only with the weight in grams.",
    question="How heavy is this?",
    grammar=lambda context: 'root ::= " "? [0-9]{1,4} " g"',
    parse=weigh,
)


def builder(style: str, **more: object) -> PromptBuilder:
    return PromptBuilder(ModelSpec.model_validate({
        "name": "m", "dialect": {"name": "chatspot"}, "prompt_style": style,
        "geometry": {"mode": "stretch", "width": 224, "height": 224}, **more,
    }))  # fmt: skip


def test_a_new_task_is_prompted_constrained_and_read() -> None:
    register(WEIGH)
    try:
        words, tags = builder("words"), builder("tags")
        assert words.task("What is this?", "weigh") == "weigh"
        box = Region.box(20, 10, 100, 50)
        assert words.user_text("How heavy is it?", [box], "weigh", FIT) == (
            "How heavy is it? <box>0.10 0.10 0.50 0.50</box>\nAnswer only with the weight in grams."
        )
        assert tags.user_text("How heavy is it?", [], "weigh", FIT) == "[weight] How heavy is it?"
        fixed = builder("words", phrases={"picture": {"weigh": "weigh {thing}"}, "region": {}})
        assert fixed.user_text("the mug", [], "weigh", FIT) == "weigh the mug"
        grammar = words.grammar("weigh")
        assert grammar is not None
        compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
        for text, valid in (("350 g", True), ("heavy", False)):
            matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
            assert (matcher.accept_string(text) and matcher.is_completed()) == valid
            answer = words.read(text, (), "weigh", FIT, truncated=False, log_probabilities=[-0.1])
            assert answer.uncertain == (not valid)
        assert answer.state == {"weight": "heavy"}
        assert check(Query("", task="weigh"), Settings()) == "How heavy is this?"
        # Its tag is a control string now, and a token of a new tokenizer.
        assert "[weight]" in task_tags()
        assert "[weight]" not in words.user_text("[weight] what?", [], "", FIT)
    finally:
        registry._TASKS.pop("weigh")
    assert words.task("How heavy is <region>?", "weigh") == "weigh"


def test_names_are_taken_once() -> None:
    with pytest.raises(ValueError, match="'plan' already"):
        register(find_task("plan"))


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="dance") as caught:
        find_task("dance")
    assert "use one of describe, read, state, plan, locate, json, or" in caught.value.remedy


def test_tags_stand_in_the_order_of_the_bundled_tokenizer() -> None:
    assert task_tags() == ("[short]", "[detailed]", "[state]", "[plan]", "[locate]")


@pytest.mark.parametrize(
    ("task", "answer", "written"),
    [
        ("state", "Door = open\nplug: in", "door: open, plug: in"),
        ("state", "it is open", "it is open"),
        ("plan", "1. open the fridge\n2. pick up cola", "open the fridge; pick_up cola"),
        ("plan", "nothing has to be done", "nothing to do"),
        ("plan", "dance", "dance"),
        ("describe", " A mug.\n", "A mug."),
    ],
)
def test_answers_of_training_data_are_written_as_the_grammar_has_them(
    task: str, answer: str, written: str
) -> None:
    spec = builder("tags").spec
    made = PromptBuilder(spec, ("open", "pick_up"), {"door": ("open",), "plug": ("in",)})
    assert made.answer_text(answer, [], task, FIT) == written
