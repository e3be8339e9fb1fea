"""From the parameters to a loaded engine: where the model, skills and states are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatspot_ros.engine.api import RegionEngine
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.server.settings import Settings
from chatspot_ros.util.resources import find_model, read_yaml


def load_engine(settings: Settings) -> RegionEngine:
    """Load the model that the parameters name. Raises ModelLoadError, which says what to do."""
    model, skills = find_model(settings.model), read_skills(settings.skills_file)
    states = read_states(settings.states_file)
    # Importing torch takes seconds, in which the node serves already.
    from chatspot_ros.engine import Engine
    from chatspot_ros.engine.loading.host_resources import cores
    from chatspot_ros.engine.loading.memory_estimate import MB, Plan

    return Engine.load(
        model,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads or cores(),
        local_only=not settings.allow_download,
        skills=skills,
        states=states,
        constrain_answers=settings.constrain_answers,
        plan=Plan(settings.quantisation, settings.memory_tokens, settings.memory_reserve_mb * MB),
        compile=settings.compile,
        warm_up=settings.warm_up,
    )


def read_skills(file: str) -> dict[str, str]:
    """Return the robot's skills, name -> description, from a YAML file; empty when there is no
    file's name.

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
    """Return what a state can be, attribute -> values, from a YAML file; empty when there is no
    file's name.

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
            f"an attribute or value of the states is no plain name: {wrong!r}",
            value=str(path),
            remedy="use texts without , ; : = and line breaks; quote what YAML takes for "
            'something else, as "on" and "off"',
        )
    return {attribute.lower(): tuple(values) for attribute, values in states.items()}


def _is_plain_name(name: object) -> bool:
    """Whether answers.py reads a name back as it is."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= 60
        and name == name.strip("-*.\"' ")
        and not set(name) & set(",;:=\n")
    )
