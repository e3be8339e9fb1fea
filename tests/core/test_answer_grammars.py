"""The grammars of answers: what they accept and refuse, and that the parser reads all of it."""

from __future__ import annotations

import itertools

import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.answer_parser import Answer, read
from chatspot_ros.core.dialects import (
    ChatSpotDialect,
    Dialect,
    InternVLDialect,
    PixelJsonDialect,
    QwenBoxDialect,
    ShikraDialect,
)
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.tasks import States, TaskContext, find_task
from chatspot_ros.core.tasks.state import MAX_DISTINCT_ATTRIBUTES

FIT = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
SKILLS = ("open", "pick", "turn_on", "turn_on_light")
STATES = {"door": ("open", "closed"), "plug": ("in", "out"), "burner": ("on", "off")}
CHATSPOT = ChatSpotDialect()
SHIKRA = ShikraDialect()
QWEN_BOX = "<|box_start|>(120,340),(560,999)<|box_end|>"
BOX = "<box> 0.12 0.34 0.56 0.78</box>"


def takes(
    task: str,
    text: str,
    skills: tuple[str, ...] = SKILLS,
    states: States = STATES,
    dialect: Dialect = CHATSPOT,
) -> bool:
    grammar = find_task(task).grammar(TaskContext(dialect, skills, states))
    assert grammar is not None
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    return bool(matcher.accept_string(text) and matcher.is_completed())


def answer(
    task: str, text: str, dialect: Dialect = CHATSPOT, skills: tuple[str, ...] = SKILLS
) -> Answer:
    return read(text, task=task, regions=(), fit=FIT, dialect=dialect, skills=skills,
                confidence=1.0, truncated=False)  # fmt: skip


def test_other_tasks_are_free_text() -> None:
    for task in ("", "read", "describe"):
        assert find_task(task).grammar(TaskContext(CHATSPOT, SKILLS, STATES)) is None


def test_a_state_has_every_choice_of_attributes_in_any_order_once() -> None:
    for count in (1, 2, 3):
        for names in itertools.permutations(STATES, count):
            for values in itertools.product(*(STATES[name] for name in names)):
                said = dict(zip(names, values, strict=True))
                text = ", ".join(f"{name}: {value}" for name, value in said.items())
                assert takes("state", text)
                got = answer("state", text)
                assert (got.state, got.uncertain) == (said, False)


@pytest.mark.parametrize(
    "text",
    ["", "open", "door: in", "door:open", "door: open,", "door: open, door: closed",
     "door: open, plug: in, burner: on, door: open", "Door: open", "lid: open", "door: open."],
)  # fmt: skip
def test_what_is_no_state_is_refused(text: str) -> None:
    assert not takes("state", text)


@pytest.mark.parametrize("text", ["lid: half open, oven door: closed", " door: très chaud"])
def test_without_a_vocabulary_a_state_has_any_words(text: str) -> None:
    assert takes("state", text, states={})
    got = answer("state", text)
    assert got.state
    assert not got.uncertain


@pytest.mark.parametrize("text", ["it is open", "a: b: c", "door: <box>", "door: open\n"])
def test_but_only_in_pairs(text: str) -> None:
    assert not takes("state", text, states={})


def test_a_large_vocabulary_is_taken_too() -> None:
    many = {f"light_{k}": ("on", "off") for k in range(MAX_DISTINCT_ATTRIBUTES + 1)}
    assert takes("state", ", ".join(f"{name}: on" for name in many), states=many)
    assert not takes("state", "light_0: dim", states=many)


def test_words_of_the_vocabulary_are_no_grammar() -> None:
    odd = {'a "b" | c': ("x\\y", "[0-9]")}
    assert takes("state", 'a "b" | c: x\\y', states=odd)
    assert takes("state", 'a "b" | c: [0-9]', states=odd)
    assert not takes("state", 'a "b" | c: 7', states=odd)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("nothing to do", []),
        ("open fridge", [("open", "fridge")]),
        ("open fridge; pick red cola can", [("open", "fridge"), ("pick", "red cola can")]),
        ("turn on burner; turn_on_light hood", [("turn_on", "burner"), ("turn_on_light", "hood")]),
    ],
)
def test_plans(text: str, steps: list[tuple[str, str]]) -> None:
    assert takes("plan", text)
    got = answer("plan", text)
    assert [(step.action, step.target) for step in got.steps] == steps
    assert not got.uncertain


@pytest.mark.parametrize(
    "text",
    ["", "open", "dance now", "open fridge;", "open fridge; dance now", "nothing to do; open it",
     "open fridge, pick cola", "openfridge", "1. open fridge"],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text: str) -> None:
    assert not takes("plan", text)


def test_without_skills_a_step_has_any_words() -> None:
    assert takes("plan", "dance; sing a song", skills=())
    assert not takes("plan", "dance: now", skills=())
    got = answer("plan", "dance; sing a song", skills=())
    assert [step.text for step in got.steps] == ["dance", "sing a song"]


@pytest.mark.parametrize(
    ("dialect", "text", "labels"),
    [
        (CHATSPOT, BOX, [""]),
        (CHATSPOT, f"red mug {BOX}", ["red mug"]),
        # Tokenizers whose box token swallows the space before it.
        (CHATSPOT, f"red mug{BOX}", ["red mug"]),
        (CHATSPOT, f"red mug {BOX}, cup {BOX}", ["red mug", "cup"]),
        (CHATSPOT, "<box>0.00 0.00 1.00 1.00</box>", [""]),
        (SHIKRA, "the mug [0.120,0.340,0.560,1.000]", ["the mug"]),
        (PixelJsonDialect(), '{"bbox_2d": [1, 2, 30, 40], "label": "mug"}', ["mug"]),
        (PixelJsonDialect(), '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40]},\n\t{"label": "red mug", '
         '"bbox_2d": [5,6,70,80]}\n]\n```', ["", "red mug"]),
        (PixelJsonDialect(grid=1000), '{"bbox_2d": [1, 2, 30, 40], "label": "mug"}', ["mug"]),
        (QwenBoxDialect(), QWEN_BOX, [""]),
        (QwenBoxDialect(), f"<|object_ref_start|>red mug<|object_ref_end|>{QWEN_BOX}", ["red mug"]),
        (InternVLDialect(), "<ref>mug</ref><box>[[1, 20, 300, 1000]]</box>", ["mug"]),
        (InternVLDialect(), "mugs <box>[[1, 20, 300, 400], [5, 6, 70, 80]]</box>", ["mugs"] * 2),
        (CHATSPOT, "there is no mug here", []),
        (PixelJsonDialect(), "There are no mugs here.", []),
    ],
)  # fmt: skip
def test_places(dialect: Dialect, text: str, labels: list[str]) -> None:
    assert takes("locate", text, dialect=dialect)
    got = answer("locate", text, dialect)
    assert [place.label for place in got.grounded] == labels
    assert not got.uncertain


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (CHATSPOT, "red mug"),
        (CHATSPOT, "<box> 0.12 0.34 0.56</box>"),
        (CHATSPOT, "<box> 0.12 0.34 0.56 1.78</box>"),
        (CHATSPOT, "<box> 0.12 0.34 0.56 0.7</box>"),
        (CHATSPOT, f"{BOX} {BOX}"),
        (CHATSPOT, "there is no"),
        (SHIKRA, "the mug [0.12,0.34,0.56,1.00]"),
        (QwenBoxDialect(), "<|object_ref_start|>red mug<|object_ref_end|>"),
        (QwenBoxDialect(), "<|box_start|>(120,340)<|box_end|>"),
        (InternVLDialect(), "<box>[1, 20, 300, 400]</box>"),
        (InternVLDialect(), "<box>[[1, 20, 300, 1001]]</box>"),
        (PixelJsonDialect(), "[1, 2, 30, 40]"),
        (PixelJsonDialect(), '{"bbox_2d": [1, 2, 30]}'),
        (PixelJsonDialect(), '{"label": "mug"}'),
    ],
)
def test_what_is_no_place_is_refused(dialect: Dialect, text: str) -> None:
    assert not takes("locate", text, dialect=dialect)


def test_one_space_in_front_is_free() -> None:
    assert takes("state", " door: open")
    assert takes("plan", " nothing to do")
    assert takes("locate", f" {BOX}")
