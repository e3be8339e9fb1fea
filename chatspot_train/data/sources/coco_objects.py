"""Any file of COCO's form: names of the things in boxes and outlines, their places, is it there.

Answers about places and absence take the file at its word: it names all things of its categories in
a picture. LVIS says where this does not hold (`not_exhaustive_category_ids`) and which categories
were looked for in vain (`neg_category_ids`).

All names come before all places: a question for a place does not follow one that told it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RegionError
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source, draw, draw_number
from chatspot_train.data.sources.coco import (
    Coco,
    CocoAnnotation,
    CocoImage,
    Id,
    load_coco,
    read_id,
)
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import box_xywh, clean
from chatspot_train.data.sources.registry import register

NAME_QUESTIONS = (
    "What is in <region>?",
    "What is the thing in <region> called?",
    "Name the object in <region>.",
    "Which kind of thing is in <region>?",
    "<region>: what is it?",
)
LOCATE_QUESTIONS = (
    "Where is the {thing}?",
    "Find the {thing}.",
    "Locate the {thing}.",
    "Where in the picture is the {thing}?",
    "Point to the {thing}.",
)
THERE_QUESTIONS = (
    "Is there any {thing} in the picture?",
    "Is any {thing} to be seen?",
    "Does the picture show any {thing}?",
    "Can you see any {thing}?",
)
SOUGHT_IN_VAIN = 5  # in every fifth picture an absent thing is to be located


class CocoObjectsImage(CocoImage):
    """With LVIS's lists, where they are given."""

    neg_category_ids: tuple[Id, ...] | None = None
    not_exhaustive_category_ids: tuple[Id, ...] = ()


@dataclass
class CocoPicture:
    """A picture to convert; `sought` are the categories that a picture may lack.

    `image`, `name` and `places` are known when its things were named.
    """

    raw: Any
    annotations: list[Entry]
    coco: Coco
    sought: set[int | str]
    image: CocoObjectsImage | None = None
    name: str = ""
    places: list[RecordTurn] = field(default_factory=list)


def _entries(job: Job) -> Iterator[Entry]:
    """Yield every picture for its names, then those that have places or absences to ask about."""
    coco = load_coco(job.annotations, job)
    groups, sought = coco.by_image(job), coco.annotated()
    later: list[Entry] = []
    for where, raw in coco.images:
        image_id = read_id(raw.get("id")) if isinstance(raw, dict) else None
        found = groups.get(image_id, []) if image_id is not None else []
        picture = CocoPicture(raw, found, coco, sought)
        yield where, picture
        if picture.places:
            later.append((where, picture))
    yield from later


def _convert(raw: CocoPicture, where: str, job: Job) -> Iterator[Record]:
    image = raw.image
    if image is not None:
        size = (image.width, image.height)
        yield from SOURCE.records(f"{image.id}-places", raw.name, size, raw.places)
        return
    image, name = image_of(raw, job)
    size = (image.width, image.height)
    things = list(_things(raw, size, job))
    raw.image, raw.name = image, name
    raw.places = list(_place_turns(image, things, raw))
    turns = [turn for turn in map(_name_turn, things) if turn is not None]
    yield from SOURCE.records(str(image.id), name, size, turns)


def image_of(picture: CocoPicture, job: Job) -> tuple[CocoObjectsImage, str]:
    """Return the picture's entry and its name in the folder. Raises SkipError where it is missing
    or of another size."""
    image = CocoObjectsImage.model_validate(picture.raw)
    name = image.find(job.pictures)
    job.pictures.size(name, (image.width, image.height))
    return image, name


@dataclass(frozen=True)
class _Thing:
    """A thing that is in the picture; `box` and `outline` are clipped, None: it has none to ask
    about."""

    id: Any
    category_id: Any
    name: str
    box: Region | None = None
    outline: Region | None = None


def _things(picture: CocoPicture, size: tuple[int, int], job: Job) -> Iterator[_Thing]:
    """Yield every thing with a known category; report those without a usable box."""
    for where, raw in picture.annotations:
        with job.guard(where):
            one = CocoAnnotation.model_validate(raw)
            name = clean(picture.coco.name(one.category_id).replace("_", " "))
            box: Region | None = None
            with job.guard(where):
                box = _box(one, size)
            yield _Thing(one.id, one.category_id, name, box, box and outline_of(one, size))


def _box(one: CocoAnnotation, size: tuple[int, int]) -> Region:
    if one.iscrowd:
        raise SkipError("the box is of a crowd, not of one thing", one.id)
    return box_xywh(one.bbox).clipped(*size)


def outline_of(one: CocoAnnotation, size: tuple[int, int]) -> Region | None:
    """Return the outline if it is a single usable polygon; run lengths are not read."""
    outline = one.polygon()
    if outline is None:
        return None
    with suppress(RegionError):
        return outline.clipped(*size)
    return None


def _name_turn(thing: _Thing) -> RecordTurn | None:
    shapes = [shape for shape in (thing.box, thing.outline) if shape is not None]
    if not shapes:
        return None
    shape = shapes[draw_number(len(shapes), "coco", thing.id, "shape")]
    return RecordTurn(draw(NAME_QUESTIONS, "coco", thing.id), thing.name, (shape,))


def _place_turns(
    image: CocoObjectsImage, things: Sequence[_Thing], picture: CocoPicture
) -> Iterator[RecordTurn]:
    """Yield whether a thing is there, then the places of things whose name occurs once, and in some
    pictures the place of one that is not there."""
    if not things:
        return
    key = ("coco", image.id)
    names = sorted({thing.name for thing in things})
    absent = absent_names(image, names, picture)
    if absent:  # or all answers were yes
        asked = draw(absent if draw_number(2, *key, "there") else names, *key, "asked")
        question = draw(THERE_QUESTIONS, *key, "there").replace("{thing}", asked)
        yield RecordTurn(question, "yes" if asked in names else "no")
    counts = Counter(thing.name for thing in things)
    some_left = set(image.not_exhaustive_category_ids)
    for thing in things:
        if thing.box is not None and counts[thing.name] == 1 and thing.category_id not in some_left:
            question = draw(LOCATE_QUESTIONS, "coco", thing.id, "place")
            question = question.replace("{thing}", thing.name)
            yield RecordTurn(question, "<region>", (), "locate", (thing.box,))
    if absent and draw_number(SOUGHT_IN_VAIN, *key, "vain") == 0:
        sought = draw(absent, *key, "sought")
        question = draw(LOCATE_QUESTIONS, *key, "vain").replace("{thing}", sought)
        yield RecordTurn(question, f"there is no {sought} here", (), "locate")


def absent_names(
    image: CocoObjectsImage, present: Sequence[str], picture: CocoPicture
) -> list[str]:
    """Return names of categories that are not in the picture: no `door` beside a `fridge door`."""
    ids = picture.sought if image.neg_category_ids is None else image.neg_category_ids
    known = picture.coco.names
    there = [set(name.casefold().split()) for name in present]
    names = {" ".join(known[one].replace("_", " ").split()) for one in ids if one in known}
    return sorted(
        name for name in names - {""}
        if not any(words <= set(name.casefold().split()) or set(name.casefold().split()) <= words
                   for words in there)
    )  # fmt: skip


SOURCE = Source(
    name="coco",
    licence="not stated (--licence)",
    tags=("region level", "short"),
    annotations="a JSON file of COCO's form: images, annotations, categories",
    entries=_entries,
    convert=_convert,
)
register(SOURCE)
