"""The robot's skills and the states of its things, read from YAML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatspot_ros.errors import ModelLoadError, shorten
from chatspot_ros.util.resources import read_yaml


def read_skills(file: str) -> dict[str, str]:
    """Return the robot's skills, name -> description, from a YAML file; {} without a file.

    Raises:
        ModelLoadError: the file is missing or is not a mapping of names to descriptions.
    """
    if not file:
        return {}
    path, skills = read_yaml(file, "skills")
    if not isinstance(skills, dict) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in skills.items()
    ):
        raise ModelLoadError(
            "the skills are not a mapping of names to descriptions",
            value=str(path),
            remedy="write lines such as `open: open a door or a drawer`",
        )
    return skills


def read_states(file: str) -> dict[str, tuple[str, ...]]:
    """Return the states of things, attribute -> values, from a YAML file; {} without a file.

    Raises:
        ModelLoadError: the file is missing or is not a mapping of names to lists of names, or a
            name cannot be told from the marks between them.
    """
    if not file:
        return {}
    path, states = read_yaml(file, "states")
    if not isinstance(states, Mapping) or not all(
        isinstance(values, Sequence) and not isinstance(values, str) and values
        for values in states.values()
    ):
        raise ModelLoadError(
            "the states are not a mapping of attributes to lists of values",
            value=str(path),
            remedy="write lines such as `door: [open, closed]`",
        )
    names = [name for attribute, values in states.items() for name in (attribute, *values)]
    wrong = next((name for name in names if not _is_plain_name(name)), None)
    if wrong is not None:
        raise ModelLoadError(
            f"an attribute or value of the states is no plain name: {shorten(wrong)!r}",
            value=str(path),
            remedy="use texts without , ; : = and line breaks; quote what YAML takes for "
            'something else, as "on" and "off"',
        )
    return {attribute.lower(): tuple(values) for attribute, values in states.items()}


def _is_plain_name(name: object) -> bool:
    """Return whether the answer parser reads the name back unchanged."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= 60
        and name == name.strip("-*.\"' ")
        and not set(name) & set(",;:=\n")
    )
