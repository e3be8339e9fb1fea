"""Comparison of a run's settings with those that began the results in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chatspot_ros.errors import ChatspotError

SETTINGS = "settings.json"


class ChangedSettingsError(ChatspotError):
    """A folder holds results of other settings."""

    value_chars = 400


def check_unchanged(
    folder: Path, kept: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = ()
) -> None:
    """Raise ChangedSettingsError, naming each setting of `kept` that has another value now.

    `free` are dotted names that may change, with all below them.
    """
    before, after = _flat(kept), _flat(now)
    changed = [
        f"{name} was {_shown(before, name)}, is {_shown(after, name)}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name) and not _is_free(name, free)
    ]
    if changed:
        raise ChangedSettingsError(
            f"{folder} holds results of other settings", value="; ".join(changed),
            remedy="set them as they were, or give another out",
        )  # fmt: skip


def read_kept(folder: Path) -> dict[str, Any] | None:
    """Return the settings kept in a folder; None: there are none, or unreadable ones."""
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_kept(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the settings into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{SETTINGS}.part"
    part.write_text(json.dumps(values, indent=1), encoding="utf-8")
    part.replace(folder / SETTINGS)


def digest_files(*files: Path) -> str:
    """Return a digest of the files' contents, in this order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Return all values by dotted names; lists of objects are numbered, what is not set is out."""
    if isinstance(values, list) and any(isinstance(one, dict) for one in values):
        values = {str(k): one for k, one in enumerate(values)}
    if not isinstance(values, Mapping):
        return {} if values is None else {name: values}
    inside = [_flat(value, f"{name}.{key}" if name else key) for key, value in values.items()]
    return {key: value for part in inside for key, value in part.items()}


def _is_free(name: str, free: Collection[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in free)


def _shown(values: Mapping[str, Any], name: str) -> Any:
    return values.get(name, "not set")
