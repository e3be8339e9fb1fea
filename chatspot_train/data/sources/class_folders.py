"""Pictures in one folder for each class, as torchvision's ImageFolder reads them.

A folder's name is the class, `_` read as a space; a JSON object may give names for the folders.
With `--mosaic N` every picture is laid with others into one, and regions are asked about.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import (
    TURNS_PER_RECORD,
    Entry,
    Job,
    Source,
    SourceError,
    draw,
    draw_number,
)
from chatspot_train.data.sources.class_mosaics import (
    MOST,
    Kind,
    mosaic_turns,
    read_classes,
    readable,
)
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import clean, load_json
from chatspot_train.data.sources.mosaics import lay
from chatspot_train.data.sources.registry import register

QUESTIONS = (
    "What is this?",
    "What is this thing called?",
    "Name what the picture shows.",
    "Which kind of thing is this?",
    "What does the picture show? Name it.",
    "In a few words, what is this?",
)


@dataclass(frozen=True)
class _Mosaic:
    """Pictures to lay into one, with the kinds of all."""

    key: str
    paths: tuple[str, ...]
    kinds: tuple[Kind, ...]
    known: tuple[str, ...]


def _entries(job: Job) -> Iterator[Entry]:
    """Yield (name of the file, class of its folder) for every file, in order; or mosaics."""
    names = _names(job)
    if (job.without or job.classes) and not job.mosaic:
        raise SourceError(
            "only mosaics have coarser kinds and leave some out", value=job.without or job.classes,
            remedy="give --mosaic too",
        )  # fmt: skip
    if job.mosaic:
        yield from _mosaics(job, names)
        return
    for path in _files(job):
        yield path, (path, names)


def _files(job: Job) -> Iterator[str]:
    root = job.pictures.folder
    for folder, below, files in os.walk(root):
        below.sort()
        for file in sorted(files):
            yield Path(folder, file).relative_to(root).as_posix()


def _mosaics(job: Job, names: dict[str, Any] | None) -> Iterator[Entry]:
    """Yield groups of pictures in an order that depends on their names alone; each picture is in
    one group, and the last group is filled up."""
    if not 2 <= job.mosaic <= MOST:
        raise SourceError(
            "a mosaic has no such number of pictures", value=job.mosaic,
            remedy=f"use 2 to {MOST} with --mosaic",
        )  # fmt: skip
    kinds = folder_kinds(job, names)
    known = tuple(sorted({kind.coarse for kind in kinds.values()}))
    paths = sorted(kinds, key=lambda path: draw_number(2**62, "mosaic", path, *job.draw_key))
    if len(paths) < job.mosaic:
        raise SourceError(
            "there are fewer pictures than a mosaic has", value=len(paths),
            remedy="give a smaller number with --mosaic",
        )  # fmt: skip
    for number, first in enumerate(range(0, len(paths), job.mosaic)):
        group = tuple((paths[first:] + paths)[: job.mosaic])
        key = f"mosaic-{number:05d}"
        yield key, _Mosaic(key, group, tuple(kinds[path] for path in group), known)


def folder_kinds(job: Job, names: dict[str, Any] | None = None) -> dict[str, Kind]:
    """Return what each picture shows, by its path; report files that are no pictures.

    Left out are the folders and kinds of `job.without`. Raises SourceError for unusable classes.
    """
    coarse = read_classes(job.classes) if job.classes else {}
    kinds: dict[str, Kind] = {}
    for path in _files(job):
        with job.guard(path):
            exact = readable(_name(path, names))
            job.pictures.size(path)
            kinds[path] = Kind(exact, coarse.get(path.partition("/")[0], exact.lower()))
    left_out = paths_of(kinds, job.without)
    return {path: kind for path, kind in kinds.items() if path not in left_out}


def paths_of(kinds: dict[str, Kind], names: Sequence[str]) -> set[str]:
    """Return the paths of the pictures whose folder, exact name or coarser kind is one of the
    names. Raises SourceError for a name of nothing."""
    found: set[str] = set()
    for name in names:
        wanted = readable(name).lower()
        some = {
            path for path, kind in kinds.items()
            if wanted in (kind.exact.lower(), kind.coarse,
                          readable(path.partition("/")[0]).lower())
        }  # fmt: skip
        if not some:
            raise SourceError(
                "no folder or kind has this name", value=name,
                remedy="use the name of a folder, or of a kind in --classes",
            )  # fmt: skip
        found |= some
    return found


def _lay(one: _Mosaic, job: Job) -> Record:
    seed = draw_number(2**32, "imagefolder", *one.paths, *job.draw_key)
    mosaic = lay([job.pictures.folder / path for path in one.paths], seed)
    mosaic.save(job.out / "images" / f"{one.key}.jpg")
    rng = np.random.default_rng([seed, 2])
    turns = mosaic_turns(one.kinds, mosaic.boxes, one.known, mosaic.size, rng)
    return SOURCE.record(one.key, f"{one.key}.jpg", mosaic.size, turns[:TURNS_PER_RECORD])


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
    if isinstance(raw, _Mosaic):
        yield _lay(raw, job)
        return
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
    takes=("mosaic", "classes", "without", "seed"),
)
register(SOURCE)
