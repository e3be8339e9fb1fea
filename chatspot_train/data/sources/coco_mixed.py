"""Any file of COCO's form, asked in many ways: names, states, places, counts, what is not there.

For training with few questions: each record mixes the kinds, categories are named about equally
often in a picture, and the values of an attribute about equally often in the file. In one record a
thing is asked about once, so that no answer gives away another; a description of all things with
their boxes comes last. As in `coco`, absence and counts take the file at its word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_train.data.noisy_boxes import noisy_box
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.asides import aside, wants_aside
from chatspot_train.data.sources.attribute_questions import state_turn, text_attributes
from chatspot_train.data.sources.base import TURNS_PER_RECORD, Entry, Job, Source, draw_number
from chatspot_train.data.sources.coco import Coco, CocoAnnotation, load_coco, read_id
from chatspot_train.data.sources.coco_objects import (
    CocoPicture,
    absent_names,
    image_of,
    outline_of,
)
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.grounded_descriptions import Place, grounded_turn
from chatspot_train.data.sources.json_reader import box_xywh, clean
from chatspot_train.data.sources.photo_wordings import ask, plural, there_text
from chatspot_train.data.sources.registry import register

STATE_ASKS, MOST_STATE_ASKS = 2, 7  # of the most usual value of an attribute; of a rare one
NAMES, STATES, MOST_COUNTED = 3, 5, 6  # names: of a category in a picture
GROUNDED = 0.5  # of the pictures are described with boxes
NOISE = 0.1  # of a box's side, as noisy_box takes it


@dataclass(frozen=True)
class Thing:
    """A thing of a picture, its box clipped; `attributes` have text values."""

    key: str
    category: Any
    name: str
    box: Region
    outline: Region | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def area(self) -> float:
        (x1, y1), (x2, y2) = self.box.points_px
        return (x2 - x1) * (y2 - y1)


@dataclass
class _Round:
    """A picture in the round `number`; each round gives one record."""

    picture: CocoPicture
    values: Counter[tuple[str, str]]
    number: int = 0
    rounds: int = 1
    things: list[Thing] = field(default_factory=list)


def _entries(job: Job) -> Iterator[Entry]:
    """Yield every picture, then those with a second round, and so on: two records of one picture
    never follow each other, or they would be joined."""
    coco = load_coco(job.annotations, job)
    groups, sought = coco.by_image(job), coco.annotated()
    values = _values(coco)
    left: list[tuple[str, _Round]] = []
    for where, raw in coco.images:
        image_id = read_id(raw.get("id")) if isinstance(raw, dict) else None
        found = groups.get(image_id, []) if image_id is not None else []
        left.append((where, _Round(CocoPicture(raw, found, coco, sought), values)))
    number = 0
    while left:
        for where, one in left:
            one.number = number
            yield where, one
        number += 1
        left = [(where, one) for where, one in left if one.rounds > number]


def _values(coco: Coco) -> Counter[tuple[str, str]]:
    """Return how often each (attribute, value) stands in the file."""
    return Counter(
        pair for _, raw in coco.annotations if isinstance(raw, dict)
        for pair in text_attributes(raw.get("attributes")).items()
    )  # fmt: skip


def _state_asks(thing: Thing, values: Counter[tuple[str, str]]) -> int:
    """Return how often a thing's state is asked for: more often the rarer its values are."""
    asks = 0
    for attribute, value in thing.attributes.items():
        most = max(count for (name, _), count in values.items() if name == attribute)
        asks = max(asks, round(STATE_ASKS * most / values[attribute, value]))
    return min(asks, MOST_STATE_ASKS)


def _convert(raw: _Round, where: str, job: Job) -> Iterator[Record]:
    image, name = image_of(raw.picture, job)
    size = (image.width, image.height)
    if raw.number == 0:
        raw.things = list(things_of(raw.picture, size, job))
        asks = [_state_asks(thing, raw.values) for thing in raw.things]
        raw.rounds = max([0, *asks]) + 1  # in the last one these things are named
    if not raw.things:
        return
    key = ("coco_mixed", image.id, raw.number, *job.draw_key)
    rng = np.random.default_rng(draw_number(2**32, *key))
    turns = list(_turns(raw, image, size, rng))
    if wants_aside(len(turns), *key):
        turns.append(aside(*key, regions=[thing.box for thing in raw.things]))
    turns = [turns[int(k)] for k in rng.permutation(len(turns))][:TURNS_PER_RECORD]
    if raw.number == 0 and rng.random() < GROUNDED:
        turns = [*turns[: TURNS_PER_RECORD - 1], grounded_turn(places_of(raw.things), size, rng)]
    yield SOURCE.record(f"{image.id}-{raw.number}", name, size, turns)


def places_of(things: Sequence[Thing]) -> list[Place]:
    """Return what a description with boxes says of things."""
    return [Place(thing.name, thing.box.box_xyxy_px) for thing in things]


def names_of(picture: CocoPicture) -> Counter[str]:
    """Return how many annotations each name has, crowds and unusable boxes too."""
    known = picture.coco.names
    ids = (read_id(raw.get("category_id")) for _, raw in picture.annotations
           if isinstance(raw, dict))  # fmt: skip
    names = (" ".join(known[one].replace("_", " ").split()) for one in ids if one in known)
    return Counter(name for name in names if name)


def things_of(picture: CocoPicture, size: tuple[int, int], job: Job) -> Iterator[Thing]:
    """Yield the things with a known category and a usable box; report the others, and crowds."""
    for where, raw in picture.annotations:
        with job.guard(where):
            one = CocoAnnotation.model_validate(raw)
            name = clean(picture.coco.name(one.category_id).replace("_", " "))
            if one.iscrowd:
                raise SkipError("the box is of a crowd, not of one thing", one.id)
            box = box_xywh(one.bbox).clipped(*size)
            yield Thing(str(one.id), one.category_id, name, box, outline_of(one, size),
                        text_attributes(raw.get("attributes")))  # fmt: skip


def _turns(
    raw: _Round, image: Any, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[RecordTurn]:
    things, used = raw.things, set[str]()
    annotated = names_of(raw.picture)
    some_left = {t.name for t in things if t.category in image.not_exhaustive_category_ids}
    counted = Counter(thing.name for thing in things)
    counts = {name: count for name, count in counted.items()
              if annotated[name] == count and name not in some_left}  # fmt: skip
    single = [thing for thing in things if counts.get(thing.name) == 1]
    to_state = [thing for thing in things if _state_asks(thing, raw.values) > raw.number]
    for thing in single:
        if rng.random() < (0.25 if thing in to_state else 0.5):
            used.add(thing.key)
            question, _ = ask("locate", rng, thing=thing.name)
            yield RecordTurn(question, "<region>", (), "locate", (thing.box,))
    left = [thing for thing in to_state if thing.key not in used]
    for k in rng.permutation(len(left))[:STATES]:
        thing = left[int(k)]
        used.add(thing.key)
        region = _region(thing, things, size, rng)
        yield state_turn(thing.name, thing.attributes, region, rng)
    yield from _names(raw, used, size, rng)
    yield from _whole_picture(raw, image, sorted(annotated), counts, rng)


def _names(
    raw: _Round, used: set[str], size: tuple[int, int], rng: np.random.Generator
) -> Iterator[RecordTurn]:
    """Yield names of things that were not asked about yet, of each category about as many."""
    named: Counter[str] = Counter()
    for k in rng.permutation(len(raw.things)):
        thing = raw.things[int(k)]
        if thing.key in used or named[thing.name] >= (2 if raw.number else NAMES):
            continue
        named[thing.name] += 1
        question, _ = ask("name", rng)
        yield RecordTurn(question, thing.name, (_region(thing, raw.things, size, rng),))


def _whole_picture(
    raw: _Round,
    image: Any,
    present: Sequence[str],
    counts: dict[str, int],
    rng: np.random.Generator,
) -> Iterator[RecordTurn]:
    """Yield whether a thing is there, how many there are, and the place of one that is not.

    `counts` are those of names whose things are all known.
    """
    absent = absent_names(image, present, raw.picture)
    asked: list[tuple[Sequence[str], bool]] = [(present, True), (absent, False)]
    for some, there in asked:
        if some and absent:  # or all answers were yes
            name = some[int(rng.integers(len(some)))]
            question, _ = ask("is_there_scene", rng, thing=name)
            yield RecordTurn(question, there_text(name, there))
    if absent and rng.random() < 0.33:
        name = absent[int(rng.integers(len(absent)))]
        question, _ = ask("locate", rng, thing=name)
        yield RecordTurn(question, f"there is no {name} here", (), "locate")
    few = [name for name in sorted(counts) if counts[name] <= MOST_COUNTED]
    if few and raw.number < 2:
        name = few[int(rng.integers(len(few)))]
        question, _ = ask("count", rng, things=plural(name))
        yield RecordTurn(question, str(counts[name]))


def _region(
    thing: Thing, things: Sequence[Thing], size: tuple[int, int], rng: np.random.Generator
) -> Region:
    """Draw the thing's outline, a point on it that is on no smaller thing, or its box with moved
    edges."""
    shape = rng.random()
    if shape < 0.3 and thing.outline is not None:
        return thing.outline
    (x1, y1), (x2, y2) = thing.box.points_px
    if shape < 0.2:
        for _ in range(4):
            x, y = (a + (b - a) * float(rng.uniform(0.3, 0.7)) for a, b in ((x1, x2), (y1, y2)))
            if not any(_covers(other, x, y) and other.area < thing.area for other in things):
                return Region.point(x, y)
    a, b, c, d = noisy_box((x1, y1, x2, y2), NOISE, *size, rng)
    return thing.box if c - a < 2 or d - b < 2 else Region.box(a, b, c, d)


def _covers(thing: Thing, x: float, y: float) -> bool:
    (x1, y1), (x2, y2) = thing.box.points_px
    return x1 <= x <= x2 and y1 <= y <= y2


SOURCE = Source(
    name="coco_mixed",
    licence="not stated (--licence)",
    tags=("region level", "short"),
    annotations="a JSON file of COCO's form: images, annotations, categories",
    entries=_entries,
    convert=_convert,
    takes=("seed",),
)
register(SOURCE)
