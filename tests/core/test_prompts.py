from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.prompts import (
    MAX_PRINT_CHARS,
    MAX_PRINT_LINES,
    PromptStyle,
    build,
    check_question,
    control_strings,
    neutralise,
    print_text,
)
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_router import route
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.errors import RequestError
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN

CONTROL_STRINGS = control_strings()
DIALECT = ChatSpotDialect()
FIT = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
BOX = Region.box(24, 34, 112, 78)
SAID = "<box> 0.12 0.34 0.56 0.78</box>"


def ask(question: str, *regions: Region, task: str = "", style: str = "tags") -> str:
    return build(question, regions, task, FIT, DIALECT, PromptStyle(style), ["open", "pick"])


def test_a_lone_region_is_said_at_the_end() -> None:
    assert ask("What is this?", BOX) == f"[short] What is this? {SAID}"


def test_placeholders_are_filled_in_order() -> None:
    text = ask("What is <region> to <region>?", Region.point(0, 0), BOX)
    assert text == f"[short] What is <box> 0.00 0.00</box> to {SAID}?"


def test_the_whole_image_needs_no_words() -> None:
    assert ask("Describe it.", task="describe") == "[detailed] Describe it."
    assert ask("Describe it.", Region.image(), task="describe") == "[detailed] Describe it."
    assert ask("Is <region> dark?", Region.image()) == "[short] Is the whole picture dark?"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_tag_and_words(task: str) -> None:
    assert ask("What is this?", BOX, task=task).startswith("[")
    assert ask("What is this?", BOX, task=task, style="words").startswith(f"What is this? {SAID}\n")


def test_a_plan_in_words_names_the_skills() -> None:
    assert "open, pick" in ask("Get it.", BOX, task="plan", style="words")


def test_a_state_in_words_names_what_it_can_be() -> None:
    states = {"door": ("open", "closed"), "plug": ("in", "out")}
    for style, said in (("words", True), ("tags", False)):
        text = build("How is it?", [], "state", FIT, DIALECT, PromptStyle(style), states=states)
        assert ("door (open, closed); plug (in, out)" in text) == said


@pytest.mark.parametrize(
    ("question", "regions"),
    [("Is <region> on <region>?", [BOX]), ("Is this on that?", [BOX, BOX]), ("<region>?", [])],
)
def test_a_wrong_count_of_placeholders_is_refused(question: str, regions: list[Region]) -> None:
    with pytest.raises(RequestError, match="<region>"):
        ask(question, *regions)


@pytest.mark.parametrize("question", ["", "  \n ", "\u200b"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(RequestError, match="empty"):
        ask(question, BOX)


def test_the_length_is_limited() -> None:
    check_question("x" * 2000, 2000)
    with pytest.raises(RequestError, match="2001 characters"):
        check_question("x" * 2001, 2000)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(RequestError, match="dance"):
        ask("What is this?", BOX, task="dance")


@pytest.mark.parametrize("control", CONTROL_STRINGS)
def test_a_user_cannot_say_control_strings(control: str) -> None:
    text = ask(f"a {control} b {control}{control}", BOX)
    rest = text.removeprefix("[short] ").removesuffix(SAID)
    assert control not in rest
    assert control.replace(" ", "") in rest.replace(" ", "")


def test_halves_around_a_placeholder_do_not_join() -> None:
    assert "</box>" not in ask("< <region>/box>", Region.image()).removeprefix("[short]")
    # Breaking one string open must not make another one.
    assert "<s>" not in neutralise("<<s>s>", CONTROL_STRINGS)


def test_invisible_letters_do_not_hide_control_strings() -> None:
    assert neutralise("<ima\u200bge>", CONTROL_STRINGS) == "<ima ge>"
    assert neutralise("\ud800<image>", CONTROL_STRINGS) == "?< image>"


@pytest.mark.parametrize(
    ("text", "neutral"), [("a§b", "a b"), ("§", " "), ("§§", "  "), ("x §y§", "x  y ")]
)
def test_a_control_string_of_one_character_becomes_a_space(text: str, neutral: str) -> None:
    assert neutralise(text, ("§", "<s>")) == neutral


def test_ordinary_text_is_left_alone() -> None:
    text = "Is 3 < 5, [a] | {b}: Größe 0.12?\nüber <b>"
    assert neutralise(text, CONTROL_STRINGS) == text


@given(
    st.lists(st.sampled_from([*CONTROL_STRINGS, "<", ">", " ", "a", "s", "/", ":"]), max_size=12)
)
def test_no_mixture_gets_through(pieces: list[str]) -> None:
    text = neutralise("".join(pieces), CONTROL_STRINGS)
    assert not any(control in text for control in CONTROL_STRINGS)


TASK_OF_KIND = {
    "state": "state", "read": "read", "read_number": "read", "scene": "describe",
    "describe": "describe", "locate": "locate",
}  # fmt: skip


@pytest.mark.parametrize("wordings", [TRAIN, TEST], ids=["train", "test"])
def test_the_kitchens_questions_find_their_task(wordings: dict[str, tuple[str, ...]]) -> None:
    wrong = []
    for kind, texts in wordings.items():
        expected = "plan" if kind.startswith("plan") else TASK_OF_KIND.get(kind, "")
        for text in texts:
            said = text.format(thing="red mug", things="mugs", content="cola")
            if route(said) != expected:
                wrong.append((said, route(said), expected))
    assert wrong == []


def test_print_stands_in_one_line() -> None:
    assert print_text(["BRAVO", "APPLE JUICE"]) == 'Print: "BRAVO" "APPLE JUICE"\n'
    assert print_text([]) == print_text(["", " \n"]) == ""


def test_the_same_print_is_named_once() -> None:
    assert print_text(["Juice", "JUICE", "juice ", "milk"]) == 'Print: "Juice" "milk"\n'


def test_long_print_is_cut() -> None:
    many = print_text([f"line {k}" for k in range(50)])
    assert many.count('"') == 2 * MAX_PRINT_LINES
    long = print_text(["x" * 100, "y" * 100, "z"])
    assert long == f'Print: "{"x" * 100}" "{"y" * (MAX_PRINT_CHARS - 100)}"\n'


@pytest.mark.parametrize(
    "said",
    [
        *control_strings(), "<region>", "<|im_start|>system", "US<ER:", "ASSIS\u200bTANT:",
        'a" "b', "a\u201d b", "a\nUSER: b", "< image>", "\u2028x\x00y",
    ],
)  # fmt: skip
def test_print_smuggles_nothing(said: str) -> None:
    text = print_text([said, f"MILK{said}"], control=("<|im_start|>",))
    assert text.count("\n") <= 1
    assert text.removesuffix("\n").isprintable()
    for control in (*control_strings(), "<|im_start|>", "<region>"):
        assert control not in text
    assert text.count('"') == 2 * len(re.findall(r'"[^"]+"', text))
    assert not set("<>[]{}|\u201c\u201d") & set(text)


def test_a_string_of_the_model_is_broken_in_print() -> None:
    assert "@@turn" not in print_text(["x @@turn y"], control=("@@turn",))
