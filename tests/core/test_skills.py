"""Skills and states, read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatspot_ros.core.skills import read_states
from chatspot_ros.errors import ModelLoadError


def test_the_bundled_states_are_those_of_the_kitchen() -> None:
    from chatspot_sim.kitchen import STATES

    known: dict[str, set[str]] = {}
    for attributes in STATES.values():
        for name, values in attributes.items():
            known.setdefault(name, set()).update(values)
    assert {name: set(values) for name, values in read_states("states.yaml").items()} == known


def test_no_file_is_no_vocabulary() -> None:
    assert read_states("") == {}


def test_names_may_have_several_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("Oven door: [half open, closed]\n")
    assert read_states(str(file)) == {"oven door": ("half open", "closed")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("burner: [on, off]", r"True.*quote"),
        ("door: [open, 'a, b']", "'a, b'"),
        ("door: ['']", "no plain name"),
        ("'a:b': [open]", "no plain name"),
        ("1: [open]", "no plain name"),
        ("door: [open.]", "no plain name"),
        ("door: open", "lists of values"),
        ("door: []", "lists of values"),
        ("- door", "lists of values"),
        ("door: [", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "states.yaml"
    file.write_text(text)
    with pytest.raises(ModelLoadError, match=rf"(?s){words}") as caught:
        read_states(str(file))
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_names_the_parameter() -> None:
    with pytest.raises(ModelLoadError, match="states_file"):
        read_states("/nowhere/states.yaml")
