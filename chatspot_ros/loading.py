"""From the parameters to a loaded engine: where the model and the skills are found."""

from __future__ import annotations

from pathlib import Path

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
    # Importing torch takes seconds, in which the node serves already.
    from chatspot_ros.engine import Engine

    return Engine.load(
        model,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        local_only=not settings.allow_download,
        skills=skills,
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
    path = Path(file).expanduser()
    if path.name == file and not path.exists():
        path = share_folder() / "config" / file
    try:
        skills = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"the skills cannot be read: {error}",
            value=str(path),
            remedy="set the parameter skills_file to a YAML file",
        ) from error
    if not isinstance(skills, dict) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in skills.items()
    ):
        raise ModelLoadError(
            "the skills are not a mapping of names to descriptions",
            value=str(path),
            remedy="write lines such as `open: open a door or a drawer`",
        )
    return skills
