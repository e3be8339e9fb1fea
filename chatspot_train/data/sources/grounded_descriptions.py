"""Turns that ask what is in a picture and where: each thing of the answer is followed by its box.

As LLaVA-Grounding's grounded conversations. Things stand from left to right, so that one answer is
right; the boxes before tell which things were said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chatspot_ros.core.regions import BoxXyxy, Region
from chatspot_train.data.grounded_answers import grounded_answer
from chatspot_train.data.records import RecordTurn

MOST = 10  # things in an answer: the largest ones
PART_SHARE = 0.25  # of the turns that may ask about a part of the picture
INSIDE = 0.75  # of a thing's area, to be in a part of the picture
MARGIN = 0.03  # of the picture's sides, around a part

PICTURE_QUESTIONS = (
    "Describe the picture and say where each thing is.",
    "What is in this picture, and where is each thing?",
    "Describe the image. Give the place of every thing.",
    "What do you see? Point at each thing.",
    "describe everything here and where it is",
    "Tell me what you can see and where.",
    "List the things in the picture with their boxes.",
    "Which things are here? Say where each one is.",
    "Name everything that is visible, each with its box.",
    "what all is there, and where exactly",
    "Give an overview of the scene with a box for every object.",
    "Describe the scene in detail. Say where everything is.",
    "Show me what is in the image and where to find it.",
    "Please describe what you see and mark each object.",
    "Describe the whole picture, with the location of each object.",
    "name all objects and point to them",
    "What things are in the photo? Point each of them out.",
    "Write what the picture shows, with the position of each thing.",
)
PART_QUESTIONS = (
    "Describe <region> and say where each thing is.",
    "What is in <region>, and where is each thing?",
    "Describe this part. Point at each thing.",
    "which things are in here and where",
    "List the things in <region> with their boxes.",
    "Name everything in this area, each with its box.",
    "What do you see in <region>? Say where everything is.",
    "Describe this shelf and say where each thing stands.",
    "Tell me what is in <region> and where.",
    "Point out all the objects in <region>.",
    "describe this spot with a box for every object",
    "Which objects are there in this part of the picture? Mark each one.",
)

# None of these teaches.
MEASURING_QUESTIONS = (
    "Describe the whole image in detail. Say where each thing is.",
    "Tell me everything that is here, and show where.",
)


@dataclass(frozen=True)
class Place:
    """A thing to say: its phrase, and its box in pixels."""

    phrase: str
    box_xyxy_px: BoxXyxy

    @property
    def area(self) -> float:
        """Pixels of its box."""
        x1, y1, x2, y2 = self.box_xyxy_px
        return (x2 - x1) * (y2 - y1)


def grounded_turn(
    places: Sequence[Place],
    size: tuple[int, int],
    rng: np.random.Generator,
    questions: Sequence[str] = PICTURE_QUESTIONS,
    part_share: float = PART_SHARE,
) -> RecordTurn:
    """Return a turn about all things of a picture of `size` (width, height) pixels, or in a share
    of the turns about those in a part of it that holds some, not all. Raises ValueError without
    things."""
    if not places:
        raise ValueError("a description with boxes needs things")
    part = _part(places, size, rng) if rng.random() < part_share else None
    if part is not None:
        places = _inside(places, part)
        questions = PART_QUESTIONS
    question = questions[int(rng.integers(len(questions)))]
    said = sorted(places, key=lambda one: -one.area)[:MOST]
    answer, boxes = grounded_answer(
        (one.phrase, Region.box(*one.box_xyxy_px).clipped(*size)) for one in said
    )
    regions = () if part is None else (Region.box(*part),)
    return RecordTurn(question, answer, regions, "describe", boxes)


def _part(
    places: Sequence[Place], size: tuple[int, int], rng: np.random.Generator
) -> BoxXyxy | None:
    """Return the bounds of two things with a margin, if they leave out others; else None."""
    if len(places) < 3:
        return None
    chosen = [places[int(k)].box_xyxy_px for k in rng.permutation(len(places))[:2]]
    low = [max(0.0, min(box[k] for box in chosen) - MARGIN * size[k]) for k in (0, 1)]
    high = [min(float(size[k]), max(box[k + 2] for box in chosen) + MARGIN * size[k])
            for k in (0, 1)]  # fmt: skip
    part = (low[0], low[1], high[0], high[1])
    return part if len(_inside(places, part)) < len(places) else None


def _inside(places: Sequence[Place], part: BoxXyxy) -> list[Place]:
    return [one for one in places if _shared(one.box_xyxy_px, part) >= INSIDE * one.area]


def _shared(a: BoxXyxy, b: BoxXyxy) -> float:
    """Return the pixels that two boxes share."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)
