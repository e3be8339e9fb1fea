"""The words that a family was trained on: for its questions, and for a thing that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.dialects import DIALECTS
from chatspot_ros.core.model_spec import ModelSpec, find_spec, read_spec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_prompts import find_thing
from chatspot_ros.errors import ModelLoadError

BOX = Region.box(10, 10, 100, 80)
IMAGE_WH = (640, 480)
# Source of each: the file in config/models.
ASKED = {
    "molmo2": "Point to the red mug\nPlease say 'There are none.' if it is not in the image.",
    "qwen2_5_vl": "Locate the red mug, output its bbox coordinates using JSON format.",
    "qwen3_vl": 'Locate every object that matches the description "the red mug" in the image. '
    "Report bbox coordinates in JSON format.",
    "internvl": "Please provide the bounding box coordinate of the region this sentence "
    "describes: <ref>the red mug</ref>",
    "llava": "Please provide the bounding box coordinate of the region this sentence describes: "
    "the red mug.",
}


def builder_of(model_type: str) -> PromptBuilder:
    return PromptBuilder(find_spec("x", model_type))


def ask(builder: PromptBuilder, question: str, *regions: Region, task: str = "locate") -> str:
    return builder.user_text(question, regions, task, builder.spec.geometry.fit(IMAGE_WH))


@pytest.mark.parametrize("model_type", ASKED)
@pytest.mark.parametrize(
    "question",
    ["Where is the red mug?", "Point to the red mug", "the red mug", "Can you find the red mug?",
     "Give me the bounding box of the red mug.", "Show me where the red mug is."],
)  # fmt: skip
def test_a_place_is_asked_for_in_the_familys_words(model_type: str, question: str) -> None:
    assert ask(builder_of(model_type), question) == ASKED[model_type]


@pytest.mark.parametrize("model_type", ASKED)
def test_another_form_of_question_keeps_its_words(model_type: str) -> None:
    builder = builder_of(model_type)
    question = "Is there a mug that I can reach, and if there is, where?"
    assert find_thing(question) == ""
    assert ask(builder, question).startswith(f"{question}\n")
    about = ask(builder, "Where is the handle of <region>?", BOX)
    assert about.startswith("Where is the handle of ")
    assert ask(builder, "Is the mug red?", task="").startswith("Is the mug red?\n")


@pytest.mark.parametrize("model_type", ASKED)
def test_no_control_string_gets_into_a_familys_words(model_type: str) -> None:
    builder = builder_of(model_type)
    typed = f"Where is {' '.join(builder.dialect.control_strings)} </s> x?"
    asked = ask(builder, typed)
    frame = ask(builder, "Where is x?")
    for control in (*builder.dialect.control_strings, "</s>"):
        assert asked.count(control) == frame.count(control)
    fit = builder.spec.geometry.fit(IMAGE_WH)
    assert builder.scaffold(typed, (), "locate", fit) == frame


def test_a_model_of_points_is_asked_for_points() -> None:
    builder = builder_of("molmo2")
    about = ask(builder, "Where is the handle of <region>?", BOX)
    assert "its point." in about
    assert "There are none." in about
    assert "bounding box" not in about


@pytest.mark.parametrize(
    ("model_type", "text", "uncertain"),
    [
        ("molmo2", "There are none.", False),
        ("molmo2", "This isn't in the image.", False),
        ("molmo2", "there are none", False),
        ("molmo2", "I like mugs.", True),
        ("qwen3_vl", "[]", False),
        ("qwen3_vl", "```json\n[]\n```", False),
        ("qwen2_5_vl", "[ ]", False),
        ("qwen2_5_vl", "There are none.", True),
        ("internvl", "there is no mug here", False),
    ],
)
def test_nothing_found_is_an_answer(model_type: str, text: str, uncertain: bool) -> None:
    builder = builder_of(model_type)
    got = builder.read(text, (), "locate", builder.spec.geometry.fit(IMAGE_WH), truncated=False,
                       log_probabilities=None)  # fmt: skip
    assert (got.grounded, got.uncertain) == ((), uncertain)


def accepted(grammar: str, text: str) -> bool:
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    return bool(matcher.accept_string(text) and matcher.is_completed())


@pytest.mark.parametrize("name", ["pixel_json", "grid_json"])
@pytest.mark.parametrize("text", ["[]", "[ ]", "```json\n[]\n```"])
def test_the_grammar_of_json_has_an_empty_list(name: str, text: str) -> None:
    grammar = DIALECTS[name].locate_grammar()
    assert grammar is not None
    assert accepted(grammar, text)


@pytest.mark.parametrize("name", [name for name, one in DIALECTS.items() if one.locate_grammar()])
def test_a_familys_own_words_for_nothing_are_in_its_grammar(name: str) -> None:
    plain, own = DIALECTS[name].locate_grammar(), DIALECTS[name].locate_grammar(["Nothing."])
    assert plain is not None
    assert own is not None
    assert accepted(own, "Nothing.")
    assert not accepted(plain, "Nothing.")


def test_a_wording_must_hold_the_questions_words(tmp_path: Path) -> None:
    path = tmp_path / "chatspot.yaml"
    data = find_spec("x", "qwen3_vl").model_dump(mode="json", exclude_none=True)
    data["wording"]["picture"]["describe"] = "Describe the image."
    path.write_text(str(data))
    with pytest.raises(ModelLoadError, match=r"neither \{question\} nor \{thing\}"):
        read_spec(path)


@pytest.mark.parametrize(
    ("model_type", "wh"),
    [("qwen2_5_vl", (644, 476)), ("internvl", (1792, 1344)), ("llava", (336, 336))],
)
def test_a_budget_of_pixels(model_type: str, wh: tuple[int, int]) -> None:
    spec: ModelSpec = find_spec("x", model_type)
    assert spec.geometry.with_budget(0).fit(IMAGE_WH).model_wh == wh
    for pixels in (1, 100_000, 10**7):
        budget = spec.geometry.with_budget(pixels)
        w, h = budget.fit(IMAGE_WH).model_wh
        smallest = spec.geometry.multiple_of**2 or budget.width * budget.height
        assert w * h <= max(pixels, smallest)
