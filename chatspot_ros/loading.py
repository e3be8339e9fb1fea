"""From the parameters to a loaded engine: where the model, skills and states are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.engine.api import RegionEngine
from chatspot_ros.errors import ModelLoadError
from chatspot_ros.settings import Settings

_PACKAGE = "chatspot_ros"


def share_folder() -> Path:
    """Return the package's installed share folder (config, launch, models)."""
    return Path(get_package_share_directory(_PACKAGE))


def load_engine(settings: Settings) -> RegionEngine:
    """Load the model that the parameters name. Raises ModelLoadError, which says what to do."""
    model, skills = find_model(settings.model), read_skills(settings.skills_file)
    states = read_states(settings.states_file)
    # Importing torch takes seconds, in which the node serves already.
    from chatspot_ros.engine import Engine
    from chatspot_ros.engine.machine import cores
    from chatspot_ros.engine.memory import MB, Plan

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


def find_model(name: str) -> str:
    """Return the folder of a bundled model for its bare name; a path or hub id is returned as it
    is.

    Raises:
        ModelLoadError: a bare name that is neither a folder nor bundled.
    """
    if not name:
        raise ModelLoadError("no model is named", value=name, remedy="set the parameter model")
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    models = share_folder() / "models"
    if (models / name).is_dir():
        return str(models / name)
    if "/" not in name:
        bundled = sorted(path.name for path in models.iterdir()) if models.is_dir() else []
        raise ModelLoadError(
            "there is no such model",
            value=name,
            remedy=f"set the parameter model to a folder, a hub id (owner/name) or a bundled one: "
            f"{', '.join(bundled) or 'none is installed'}",
        )
    return name


def read_skills(file: str) -> dict[str, str]:
    """Return the robot's skills, name -> description, from a YAML file; empty when there is no
    file's name.

    Raises:
        ModelLoadError: the file is missing or is not a mapping of names to descriptions.
    """
    if not file:
        return {}
    path, skills = _read_yaml(file, "skills")
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
    path, states = _read_yaml(file, "states")
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


def _read_yaml(file: str, what: str) -> tuple[Path, Any]:
    """Return the path and contents of a YAML file; a bare name may be one of the package."""
    path = Path(file).expanduser()
    if path.name == file and not path.exists():
        path = share_folder() / "config" / file
    try:
        return path, yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"the {what} cannot be read: {error}",
            value=str(path),
            remedy=f"set the parameter {what}_file to a YAML file",
        ) from error
