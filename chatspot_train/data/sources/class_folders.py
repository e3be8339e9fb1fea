"""Pictures in one folder for each class, as torchvision's ImageFolder reads them.

A folder's name is the class, `_` read as a space; a JSON object may give names for the folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source, SourceError, draw
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import clean, load_json
from chatspot_train.data.sources.registry import register

QUESTIONS = (
    "What is this?",
    "What is this thing called?",
    "Name what the picture shows.",
    "Which kind of thing is this?",
    "What does the picture show? Name it.",
    "In a few words, what is this?",
)


def _entries(job: Job) -> Iterator[Entry]:
    """Yield (name of the file, class of its folder) for every file, in order."""
    names = _names(job)
    root = job.pictures.folder
    for folder, below, files in os.walk(root):
        below.sort()
        for file in sorted(files):
            path = Path(folder, file).relative_to(root).as_posix()
            yield path, (path, names)


def _names(job: Job) -> dict[str, Any] | None:
    """Return the names by folder; None: no file gives them. Raises SourceError."""
    if job.annotations == job.pictures.folder:
        return None
    found = load_json(job.annotations)
    if not isinstance(found, dict):
        raise SourceError(
            "the classes are not a JSON object", value=job.annotations,
            remedy='write {"folder": "name of its class", ...}, or leave --annotations out',
        )  # fmt: skip
    return found


def _name(path: str, names: dict[str, Any] | None) -> str:
    folder, inside, _ = path.partition("/")
    if not inside:
        raise SkipError("the file is in no folder of a class", path)
    if names is None:
        return clean(folder.replace("_", " "))
    if not isinstance(names.get(folder), str):
        raise SkipError("the classes' file has no name for the folder", folder)
    return clean(names[folder])


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    path, names = raw
    name = _name(path, names)
    turn = RecordTurn(draw(QUESTIONS, "imagefolder", path), name)
    yield SOURCE.record(path, path, job.pictures.size(path), [turn])


SOURCE = Source(
    name="imagefolder",
    licence="not stated (--licence)",
    tags=("image level", "short"),
    annotations='nothing, or a JSON file {"folder": "name of its class"}',
    entries=_entries,
    convert=_convert,
    needs_annotations=False,
)
register(SOURCE)
