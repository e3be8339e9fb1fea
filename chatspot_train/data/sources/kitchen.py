"""Simulated kitchens, any number: rendered images, and questions about their ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Any, cast

import numpy as np
from PIL import Image

from chatspot_ros.core.regions import Region
from chatspot_sim.asking import KitchenQuestion, clear_things
from chatspot_sim.kitchen import Split, draw_kitchen
from chatspot_sim.questions import KINDS, draw_dialogue
from chatspot_sim.stranger_wordings import half_and_half, taught
from chatspot_sim.truth import Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN, Wordings
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.asides import aside, wants_aside
from chatspot_train.data.sources.base import (
    TURNS_PER_RECORD,
    Entry,
    Job,
    Source,
    SourceError,
    draw_number,
)
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.grounded_descriptions import (
    MEASURING_QUESTIONS,
    PICTURE_QUESTIONS,
    Place,
    grounded_turn,
)
from chatspot_train.data.sources.registry import register

SPLITS: tuple[Split, ...] = ("train", "val", "test")
CAMERA_SIZES = ((448, 336), (448, 336), (448, 336), (640, 480))
JPEG_QUALITY = 95
_RNG_KEY = 61


def _entries(job: Job) -> Iterator[Entry]:
    if job.limit is None:
        raise SourceError(
            "there is no end of kitchens", value="no --limit",
            remedy="say how many with --limit",
        )  # fmt: skip
    split = job.split or "train"
    return ((f"{split} kitchen {seed}", (split, seed)) for seed in count(job.first))


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    split, seed = raw
    # Imported here because it starts the renderer.
    from chatspot_sim.world import World

    size = CAMERA_SIZES[seed % len(CAMERA_SIZES)]
    with World(draw_kitchen(seed, cast(Split, split)), *size) as world:
        frame = world.frame(measure_visibility=True)
    rng = np.random.default_rng([seed, _RNG_KEY])
    wordings = TEST if split == "test" else _taught_wordings()
    asked: list[KitchenQuestion] = []
    for kind in rng.permutation(list(KINDS)):
        dialogue = draw_dialogue(frame.truth, str(kind), rng, wordings, labels=frame.labels) or []
        if len(asked) + len(dialogue) <= TURNS_PER_RECORD:
            asked += dialogue
    if not asked:
        raise SkipError("nothing in the kitchen is large enough to be asked about", seed)
    name = f"{split}-{seed:06d}.jpg"
    job.pictures.folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame.rgb).save(job.pictures.folder / name, quality=JPEG_QUALITY)
    turns = [_turn(question, size) for question in asked]
    key = ("kitchen", split, seed)
    if split != "test" and len(turns) < TURNS_PER_RECORD and wants_aside(len(turns), *key):
        regions = [turn.regions[0] for turn in turns if len(turn.regions) == 1]
        places = [k for k, question in enumerate(asked) if question.kind != "follow_up"]
        turns.insert(places[draw_number(len(places), *key, "place")], aside(*key, regions=regions))
    if there := places_of(frame.truth):
        last = _grounded(there, split, size, np.random.default_rng([seed, _RNG_KEY, 1]))
        turns = [*turns[: TURNS_PER_RECORD - 1], last]
    yield SOURCE.record(f"{split}-{seed}", name, size, turns, split)


def places_of(truth: Truth) -> list[Place]:
    """Return what a description with boxes says of a kitchen's clear things."""
    return [Place(f"{one.colour} {one.name}".strip(), one.box_xyxy_px)
            for one in clear_things(truth)]  # fmt: skip


def _grounded(
    places: list[Place], split: Split, size: tuple[int, int], rng: np.random.Generator
) -> RecordTurn:
    if split == "test":
        return grounded_turn(places, size, rng, MEASURING_QUESTIONS, part_share=0)
    return grounded_turn(places, size, rng, PICTURE_QUESTIONS)


@lru_cache(maxsize=1)
def _taught_wordings() -> Wordings:
    """Return the project's own wordings and those of strangers, each for half of the questions."""
    return half_and_half(TRAIN, taught())


def _turn(asked: KitchenQuestion, size: tuple[int, int]) -> RecordTurn:
    regions = tuple(region.clipped(*size) for region in asked.regions)
    if asked.box_xyxy_px is None:
        return RecordTurn(asked.question, asked.answer, regions, asked.task)
    place = Region.box(*asked.box_xyxy_px).clipped(*size)
    return RecordTurn(asked.question, "<region>", regions, asked.task, (place,))


SOURCE = Source(
    name="kitchen",
    licence="made by this project, Apache-2.0",
    tags=("region level", "simulated"),
    annotations="none: it makes its own, with pictures in images/ of the --out folder",
    entries=_entries,
    convert=_convert,
    splits=SPLITS,
    needs_files=False,
    takes=("first",),
)
register(SOURCE)
