"""Files of the installed package: models and configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory

from chatspot_ros.errors import ModelLoadError
from chatspot_ros.util.bounded_yaml import load_yaml

_PACKAGE = "chatspot_ros"
PHOTO_MODEL = "chatspot-small"
# What a composed model learned, in a folder that is no checkpoint by itself.
_ADAPTATION = "adaptation.safetensors"


def share_folder() -> Path:
    """Return the package's installed share folder (config, launch, models)."""
    return Path(get_package_share_directory(_PACKAGE))


def bundled_models() -> list[str]:
    """Return the names of the bundled checkpoints; what one is composed of is none."""
    folders = (path.parent for path in (share_folder() / "models").glob("*/config.json"))
    return sorted(one.name for one in folders if not (one / _ADAPTATION).exists())


def find_model(name: str) -> str:
    """Return the folder of a bundled model for its bare name; return a path or hub id unchanged.

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
    if "/" not in name or name[0] in "/~.":  # else it may be a hub id
        raise ModelLoadError(
            "there is no such model",
            value=name,
            remedy=f"set the parameter model to a folder, a hub id (owner/name) or a bundled one: "
            f"{', '.join(bundled_models()) or 'none is installed'}",
        )
    return name


def photo_model() -> str:
    """Return the name of the bundled model for photographs; of chatspot-tiny where it is not
    composed."""
    try:
        find_model(PHOTO_MODEL)
    except ModelLoadError:
        return "chatspot-tiny"
    return PHOTO_MODEL


def bundled_notes() -> Path:
    """Return the folder of the example notes.

    Raises:
        ModelLoadError: it is not installed.
    """
    folder = share_folder() / "examples" / "notes"
    note = next(iter(sorted(folder.glob("*.md"))), None)
    if note is None:
        raise ModelLoadError(
            "the example notes are not installed", value=str(folder),
            remedy="install the package again",
        )  # fmt: skip
    return note.resolve().parent  # installed may be links to the sources


def read_yaml(file: str, what: str) -> tuple[Path, Any]:
    """Return the path and contents of a YAML file; a bare name may be a file of the package.

    Raises:
        ModelLoadError: the file cannot be read.
    """
    path = Path(file).expanduser()
    if path.name == file and not path.exists():
        path = share_folder() / "config" / file
    try:
        return path, load_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"the {what} cannot be read: {error}",
            value=str(path),
            remedy=f"set the parameter {what}_file to a YAML file",
        ) from error
