"""Answers that name places: each dialect writes what its own grammar accepts and it reads back."""

from __future__ import annotations

from typing import Any

import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo

from chatspot_ros.core.dialects import DIALECTS, Dialect
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.model_spec import DialectSpec, ModelSpec
from chatspot_ros.core.prompt_builder import PromptBuilder
from chatspot_ros.core.regions import Region

FIT = fit(PictureGeometry.STRETCH, (640, 480), (448, 448))
MUG, CUP = Region.box(64, 48, 320, 240), Region.box(320, 120, 480, 360)
# Models that answer in forms of their own, where boxes stand among other words.
FREE = {"kosmos2", "florence2", "paligemma", "molmo1", "molmo2"}


def test_a_dialect_without_a_grammar_cannot_be_made() -> None:
    class Forgetful(Dialect):
        name = "forgetful"
        control_strings = ()

        def say(self, *_: Any) -> str:
            return ""

        def find(self, *_: Any) -> Any:
            return []

        def mentions(self, text: str) -> bool:
            return False

        def simplifies(self, region: Region) -> str:
            return ""

    with pytest.raises(TypeError, match="locate_grammar"):
        Forgetful()  # type: ignore[abstract]


def test_which_dialects_are_free_text_is_written_down() -> None:
    assert {name for name, one in DIALECTS.items() if one.locate_grammar() is None} == FREE


def test_an_unknown_dialect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no dialect 'morse': use one of chatspot, shikra"):
        DialectSpec(name="morse")


def accepted(grammar: str, text: str) -> bool:
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(grammar)
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    return bool(matcher.accept_string(text) and matcher.is_completed())


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("answer", "regions", "phrases"),
    [
        ("<region>", [MUG], [""]),
        ("the red mug <region>", [MUG], ["the red mug"]),
        ("Yes, the mug <region> and a cup <region>.", [MUG, CUP], ["the mug", "a cup"]),
        ("It is at (left) <region>, on a shelf", [MUG], ["It is at left"]),
    ],
)
def test_places_of_training_data_are_answers_of_the_dialect(
    name: str, answer: str, regions: list[Region], phrases: list[str]
) -> None:
    spec = ModelSpec.model_validate({
        "name": "m", "dialect": {"name": name}, "prompt_style": "words",
        "geometry": {"mode": "stretch", "width": 448, "height": 448},
    })  # fmt: skip
    builder = PromptBuilder(spec)
    text = builder.answer_text(answer, regions, "locate", FIT)
    grammar = builder.grammar("locate")
    assert grammar is None or accepted(grammar, text), text
    read = builder.read(text, (), "locate", FIT, truncated=False, log_probabilities=None)
    assert not read.uncertain, text
    unnamed = "this" if name.startswith("molmo") else ""
    assert [place.label for place in read.grounded] == [phrase or unnamed for phrase in phrases]
    for place, region in zip(read.grounded, regions, strict=True):
        if name.startswith("molmo"):
            region = Region.point(*(sum(axis) / 2 for axis in zip(*region.points_px, strict=True)))
        for got, meant in zip(place.box_xyxy_px, region.box_xyxy_px, strict=True):
            assert got == pytest.approx(meant, abs=20 if name == "kosmos2" else 5)


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - FREE))
def test_that_a_thing_is_absent_is_an_answer_too(name: str) -> None:
    grammar = DIALECTS[name].locate_grammar()
    assert grammar is not None
    assert accepted(grammar, "there is no red mug here")
