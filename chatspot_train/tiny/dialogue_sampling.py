"""Random dialogues about rendered kitchens, in the words that chatspot-tiny reads and writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.dialects import ChatSpotDialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.prompts import PromptStyle, build
from chatspot_ros.core.regions import Region
from chatspot_ros.core.task_router import route
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.questions import KINDS, draw_dialogue
from chatspot_sim.truth import Truth
from chatspot_sim.wordings import TRAIN

DIALECT = ChatSpotDialect()
# Sampling weight of each kind of question.
WEIGHTS = {
    "name": 8,
    "follow_up": 2,
    "part": 1.2,
    "colour": 4,
    "state": 2.5,
    "yes_no": 0.7,
    "read": 10,
    "count": 10,
    "relation": 0.6,
    "describe": 2,
    "scene": 0.8,
    "is_there": 4,
    "locate": 8,
    "plan": 1,
}  # fmt: skip
# A point is the least exact region, so it needs the most training.
MORE_POINTS = 0.4
# Boxes of detectors are inexact: a share ROUGH of these questions has box noise up to ROUGHEST.
ROUGH = 0.35
ROUGHEST = 4.0
ROUGH_KINDS = ("name", "colour", "state")
# Unfiltered, three of four counts are "1" and six of seven sought things are present; a model that
# always answers so is mostly right and learns nothing more. These shares of them are kept.
KEPT_SINGLE = 0.8
KEPT_PRESENT = 0.7


def draw_turns(
    truth: Truth, labels: NDArray[np.uint8] | None, rng: np.random.Generator, count: int
) -> list[KitchenQuestion]:
    """Draw about `count` questions of all kinds about one image, in random order."""
    kinds = list(KINDS)
    weights = np.array([WEIGHTS[kind] for kind in kinds], float)
    weights /= weights.sum()
    turns: list[KitchenQuestion] = []
    for _ in range(3 * count):
        if len(turns) >= count:
            break
        kind = str(rng.choice(kinds, p=weights))
        shape = "point" if rng.random() < MORE_POINTS else ""
        rough = kind in ROUGH_KINDS and rng.random() < ROUGH
        noise = float(rng.uniform(1, ROUGHEST)) if rough else 1.0
        drawn = draw_dialogue(truth, kind, rng, TRAIN, labels=labels, noise=noise, shape=shape)
        drawn = drawn or []
        if drawn and rng.random() < _share_kept(drawn[-1]):
            turns += drawn
    return turns


def _share_kept(question: KitchenQuestion) -> float:
    """Return the share of such questions to keep: below 1 where most have the same answer."""
    if question.kind == "count" and question.answer == "1":
        return KEPT_SINGLE
    if question.kind == "locate" and question.box_xyxy_px is not None:
        return KEPT_PRESENT
    return 1.0


def prompt(question: KitchenQuestion, geometry: Fit) -> str:
    """Return the user's turn as text."""
    size = geometry.image_wh
    regions = [region.clipped(*size) for region in question.regions]
    task = question.task or route(question.question)
    return build(question.question, regions, task, geometry, DIALECT, PromptStyle.TAGS)


def answer_text(question: KitchenQuestion, geometry: Fit) -> str:
    """Return the answer as the model writes it; a location is the asked phrase and its box.

    Without the phrase the box's first coordinate was wrong most often: it came right after the
    token at which the model looks the location up.
    """
    if question.box_xyxy_px is None:
        return question.answer
    x1, y1, x2, y2 = question.box_xyxy_px
    return f"{question.phrase} {DIALECT.say(Region.box(x1, y1, x2, y2), geometry)}".strip()


def turn_texts(
    turns: Sequence[KitchenQuestion], geometry: Fit, first: str
) -> list[tuple[str, str]]:
    """Return (user text, model text) of each turn as the chat template writes them.

    `first` stands before the first question.
    """
    return [
        (f"USER: {first if k == 0 else ''}{prompt(turn, geometry)} ASSISTANT:",
         f" {answer_text(turn, geometry)}</s>")
        for k, turn in enumerate(turns)
    ]  # fmt: skip
