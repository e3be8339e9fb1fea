"""The questions of the suite `photos`, out of COCO files, notes and image folders.

Each function yields (picture, item). The wordings are those that measure; the seed draws them.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.attribute_questions import state_turn
from chatspot_train.data.sources.base import Job
from chatspot_train.data.sources.class_folders import folder_kinds, paths_of
from chatspot_train.data.sources.class_mosaics import Kind
from chatspot_train.data.sources.coco import load_coco
from chatspot_train.data.sources.coco_mixed import Thing, names_of, things_of
from chatspot_train.data.sources.coco_objects import (
    CocoObjectsImage,
    CocoPicture,
    absent_names,
    image_of,
)
from chatspot_train.data.sources.json_reader import json_lines
from chatspot_train.data.sources.mosaics import Size, lay, layout
from chatspot_train.data.sources.notes import Note
from chatspot_train.data.sources.photo_wordings import ask, measuring_wordings
from chatspot_train.evaluation.dataset_files import need_some, reading
from chatspot_train.evaluation.suite import AskedTurn, Item

MOST_NAMES = 100  # of a category: usual ones do not outweigh the others
Found = Iterator[tuple[Any, Item]]  # a file or a MosaicImage, and a question about it


@dataclass(frozen=True)
class _Picture:
    """A picture of a COCO file. `counts` are of all annotations by name, `absent` names that are
    not in it."""

    image: CocoObjectsImage
    file: Path
    things: list[Thing]
    counts: Counter[str]
    absent: list[str]


@dataclass(frozen=True)
class MosaicImage:
    """Pictures laid into one when they are asked about; equal for the same files and seed."""

    files: tuple[Path, ...]
    seed: int

    def __call__(self) -> RgbImage:
        """Return the picture, uint8 H x W x 3, RGB. Raises PictureError."""
        return lay(self.files, self.seed).pixels


def _rng(*key: object) -> np.random.Generator:
    return np.random.default_rng(random.Random(" ".join(map(str, key))).getrandbits(32))


def _word(kind: str, rng: np.random.Generator, **names: str) -> str:
    return ask(kind, rng, (), measuring_wordings(), **names)[0]


def coco_items(annotations: Path, images: Path, wants: str, seed: int) -> Found:
    """Yield names by box, states, places, and whether things are there, of a file of COCO's form.

    At most MOST_NAMES things of a category are named. Raises MissingDataError for an empty file.
    """
    pictures: list[_Picture] = []
    with reading(annotations, images) as job:
        coco = load_coco(annotations, job)
        groups, sought = coco.by_image(job), coco.annotated()
        for where, raw in coco.images:
            with job.guard(where):
                picture = CocoPicture(raw, [], coco, sought)
                image, name = image_of(picture, job)
                picture.annotations = groups.get(image.id, [])
                things = list(things_of(picture, (image.width, image.height), job))
                if things:
                    counts = names_of(picture)
                    absent = absent_names(image, sorted(counts), picture)
                    pictures.append(_Picture(image, images / name, things, counts, absent))
        need_some(pictures, annotations, wants, job)
    everything = [thing for picture in pictures for thing in picture.things]
    named, names = _named(everything, seed), sorted({thing.name for thing in everything})
    values = _values(everything)
    for one in pictures:
        rng = _rng(seed, "coco", one.image.id)
        yield from ((one.file, item) for item in _things(one, named, names, values, rng))
        yield from ((one.file, item) for item in _whole_picture(one, rng))


def _named(things: Sequence[Thing], seed: int) -> set[str]:
    """Return the keys of the things to name."""
    groups: dict[str, list[str]] = defaultdict(list)
    for thing in things:
        groups[thing.name].append(thing.key)
    draw = random.Random(seed)
    return {
        key for keys in groups.values() for key in draw.sample(keys, min(len(keys), MOST_NAMES))
    }


def _values(things: Sequence[Thing]) -> dict[str, list[str]]:
    """Return the values of each attribute."""
    found: dict[str, set[str]] = defaultdict(set)
    for thing in things:
        for attribute, value in thing.attributes.items():
            found[attribute].add(value)
    return {attribute: sorted(values) for attribute, values in found.items()}


def _things(
    picture: _Picture,
    named: set[str],
    names: list[str],
    values: dict[str, list[str]],
    rng: np.random.Generator,
) -> Iterator[Item]:
    for thing in picture.things:
        if thing.key in named:
            told: dict[str, Any] = {"row": "photo_door_name", "answer": thing.name, "names": names}
            yield _item(f"name/{thing.key}", _word("name", rng), told, thing.box)
        for attribute, value in thing.attributes.items():
            if len(values[attribute]) < 2:
                continue
            for number in range(2):  # by its state, by yes or no, or twice alike
                turn = state_turn(thing.name, {attribute: value}, thing.box, rng,
                                  measuring_wordings())  # fmt: skip
                told = {"row": "photo_fridge_state", "answer": turn.answer, "value": value,
                        "values": values[attribute], "attribute": attribute}  # fmt: skip
                yield _item(f"state/{thing.key}/{attribute}/{number}", turn.question, told,
                            thing.box, task=turn.task)  # fmt: skip
        if picture.counts[thing.name] == 1:
            told = {"row": "photo_locate", "box": list(thing.box.box_xyxy_px)}
            question = _word("locate", rng, thing=thing.name)
            yield _item(f"locate/{thing.key}", question, told, task="locate")


def _whole_picture(picture: _Picture, rng: np.random.Generator) -> Iterator[Item]:
    present, absent = sorted(picture.counts), picture.absent
    for kind, some, there in (("is_there_scene", present, True), ("is_there_scene", absent, False),
                              ("locate", absent, False)):  # fmt: skip
        if some and absent:
            name = some[int(rng.integers(len(some)))]
            row = "there" if kind == "is_there_scene" else "locate_absent"
            told = {"row": row, "there": there, "thing": name}
            yield _item(f"{row}/{picture.image.id}/{there}", _word(kind, rng, thing=name), told,
                        task="locate" if kind == "locate" else "")  # fmt: skip


def _item(
    key: str, question: str, truth: dict[str, Any], *regions: Region, task: str = "",
    reader: str = "",
) -> Item:  # fmt: skip
    """Return an item whose picture is set by the suite."""
    return Item(key, Path(), (AskedTurn(question, regions, task, reader),), truth)


def note_items(notes: Path, images: Path, wants: str) -> Found:
    """Yield the questions of a file of notes. Raises MissingDataError for none."""
    found: list[tuple[Path, Item]] = []
    with reading(notes, images) as job:
        for where, raw in json_lines(job):
            with job.guard(where):
                note = Note.model_validate(raw)
                job.pictures.size(note.file_name)
                for k, (question, answer) in enumerate(note.questions):
                    told = {"row": "photo_questions", "answer": answer}
                    item = _item(f"question/{note.file_name}/{k}", question, told)
                    found.append((images / note.file_name, item))
        need_some(found, notes, wants, job)
    yield from found


@dataclass(frozen=True)
class Folders:
    """An image folder to ask about. `exact` are the kinds whose exact names are asked for,
    `unknown` those that were never taught; both name folders or coarser kinds."""

    folder: Path
    classes: Path | None = None
    mosaic: int = 4
    exact: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def items(self, wants: str, seed: int) -> Found:
        """Yield coarse names in mosaics, exact ones with the reader on and off, and unknown things.

        Raises MissingDataError for a folder without pictures.
        """
        with reading(self.classes or self.folder, self.folder) as job:
            kinds = folder_kinds(_with_classes(job, self.classes))
            need_some(list(kinds), self.folder, wants, job)
            unknown = paths_of(kinds, self.unknown)
            known = {path: kind for path, kind in kinds.items() if path not in unknown}
            exact = paths_of(known, self.exact)
            sizes = {path: job.pictures.size(path) for path in kinds}
        yield from self._mosaics(known, sizes, seed)
        names = sorted({kind.exact for kind in known.values()})
        for path in sorted(exact):
            question = _word("exact", _rng(seed, "exact", path), thing=known[path].coarse)
            told = {"answer": known[path].exact, "names": names}
            for reader, row in (("on", "photo_carton_read"), ("off", "photo_carton_plain")):
                item = _item(f"{row}/{path}", question, {"row": row, **told},
                             Region.box(0, 0, *sizes[path]), reader=reader)  # fmt: skip
                yield self.folder / path, item
        for path in sorted(unknown):
            question = _word("name", _rng(seed, "unknown", path))
            item = _item(f"unknown/{path}", question, {"row": "photo_unknown_uncertain"},
                         Region.box(0, 0, *sizes[path]))  # fmt: skip
            yield self.folder / path, item

    def _mosaics(self, kinds: dict[str, Kind], sizes: dict[str, Size], seed: int) -> Found:
        paths = sorted(kinds)
        random.Random(seed).shuffle(paths)
        names = sorted({kind.coarse for kind in kinds.values()})
        for number, first in enumerate(range(0, len(paths), self.mosaic)):
            group = (paths[first:] + paths)[: self.mosaic]
            image = MosaicImage(tuple(self.folder / path for path in group), seed + number)
            _, boxes = layout([sizes[path] for path in group], image.seed)
            for k, (path, box) in enumerate(zip(group, boxes, strict=True)):
                if first + k < len(paths):
                    told = {"row": "photo_grocery", "answer": kinds[path].coarse, "names": names}
                    question = _word("name", _rng(seed, "mosaic", path))
                    yield image, _item(f"mosaic/{path}", question, told, box)


def _with_classes(job: Job, classes: Path | None) -> Job:
    return replace(job, annotations=job.pictures.folder, classes=classes)
