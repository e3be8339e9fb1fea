"""The one line of an error: no empty brackets, no state for a value, no control characters."""

from __future__ import annotations

import pytest

from chatspot_ros.errors import RegionError, RequestError


@pytest.mark.parametrize("value", ["", " ", None, (), []])
def test_nothing_is_not_shown_as_a_value(value: object) -> None:
    said = str(RequestError("the question is empty", value=value, remedy="say what to ask"))
    assert "(got )" not in said
    assert "(got  )" not in said
    assert said.startswith("the question is empty")
    assert said.endswith("say what to ask")


@pytest.mark.parametrize("char", "\n\r\x1b\x07\0\u2028\u2029\x85\u202e")
def test_a_value_stays_on_its_line(char: str) -> None:
    said = str(RegionError("no such region", value=f"a{char}[FATAL] forged", remedy="give another"))
    assert char not in said
    assert "forged" in said


def test_words_of_other_languages_stay() -> None:
    said = str(RequestError("no such camera", value="камера 茶 zèbre", remedy="use another"))
    assert "камера 茶 zèbre" in said
