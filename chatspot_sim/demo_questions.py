"""The demo's twelve questions, drawn for one kitchen: the kind of each, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.questions import draw_dialogue
from chatspot_sim.truth import Truth
from chatspot_sim.world import World

Way = Literal["service", "action"]
Accept = Callable[[KitchenQuestion], bool]

DRAWS = 24  # draws of a kind, to find a question about a new thing
SEED_STEP = 1000
MAX_KITCHENS = 50
MIN_THINGS = 6
MIN_VISIBLE = 0.6  # share of a thing
MIN_SIDE = 0.05  # of the picture's side
SESSION = "demo"


@dataclass(frozen=True)
class Asked:
    """One of the twelve: how it is asked, and the question with its true answer.

    With `detections` it is asked about every detection: `about` then gives only the words, and
    the detected thing the true answer.
    """

    way: Way
    about: KitchenQuestion
    detections: bool = False
    session: str = ""


@dataclass(frozen=True)
class _Slot:
    """The choices for one question, best first: (kind, shape of the region, filter of draws)."""

    way: Way
    choices: tuple[tuple[str, str, Accept], ...]
    detections: bool = False
    session: str = ""


def _any(_: KitchenQuestion) -> bool:
    return True


def _plain(question: KitchenQuestion) -> bool:
    """Return True if the words do not contain `<region>`."""
    return "<region>" not in question.question


def _whole(question: KitchenQuestion) -> bool:
    return not question.regions


def _absent(question: KitchenQuestion) -> bool:
    return question.answer.startswith("no,") and bool(question.regions)


def _absent_anywhere(question: KitchenQuestion) -> bool:
    return question.answer.startswith(("no,", "there is no"))


def _needs_steps(question: KitchenQuestion) -> bool:
    return question.answer != "nothing to do"


def _has_box(question: KitchenQuestion) -> bool:
    return question.box_xyxy_px is not None


SLOTS = (
    _Slot("service", (("name", "box", _any),)),
    _Slot("service", (("name", "point", _any),)),
    _Slot("service", (("colour", "polygon", _any), ("name", "polygon", _any))),
    _Slot("action", (("scene", "", _whole), ("count", "", _whole))),
    _Slot("service", (("name", "box", _plain),), detections=True),
    _Slot("service", (("relation", "box", _any),)),
    _Slot("service", (("follow_up", "box", _any),), session=SESSION),
    _Slot("action", (("state", "box", _any),)),
    _Slot("action", (("plan", "box", _needs_steps), ("plan", "box", _any))),
    _Slot("service", (("locate", "", _has_box),)),
    _Slot("service", (("is_there", "box", _absent), ("is_there", "", _absent_anywhere))),
)


def draw_dozen(truth: Truth, seed: int) -> list[Asked] | None:
    """Draw the twelve questions; return None if the kitchen does not allow all of them."""
    rng = np.random.default_rng([seed, 12])
    asked_things: list[str] = []
    dozen: list[Asked] = []
    for slot in SLOTS:
        dialogue = next(
            (
                found
                for choice in slot.choices
                if (found := _draw(truth, choice, rng, asked_things))
            ),
            None,
        )
        if dialogue is None:
            return None
        asked_things += [question.thing for question in dialogue if question.thing]
        dozen += [Asked(slot.way, about, slot.detections, slot.session) for about in dialogue]
    return dozen


def _draw(
    truth: Truth,
    choice: tuple[str, str, Accept],
    rng: np.random.Generator,
    asked_things: list[str],
) -> list[KitchenQuestion] | None:
    """Return, of several draws, the one whose things were asked about least often."""
    kind, shape, accept = choice
    drawn = [draw_dialogue(truth, kind, rng, shape=shape) for _ in range(DRAWS)]
    clear = _clear_things(truth)
    fitting = [
        found
        for found in drawn
        if found is not None
        and accept(found[-1])
        and all(not question.thing or question.thing in clear for question in found)
    ]
    if not fitting:
        return None
    return min(fitting, key=lambda found: sum(asked_things.count(q.thing) for q in found))


def _clear_things(truth: Truth) -> set[str]:
    """Return the ids of the large things that are hardly hidden."""
    return {
        thing.id
        for thing in truth.things
        if thing.visible_fraction >= MIN_VISIBLE
        and thing.box_xyxy_px[2] - thing.box_xyxy_px[0] >= MIN_SIDE * truth.width
        and thing.box_xyxy_px[3] - thing.box_xyxy_px[1] >= MIN_SIDE * truth.height
    }


def find_kitchen(seed: int, width: int, height: int) -> int:
    """Return the seed of the first kitchen, from `seed` in steps of 1000, that allows all twelve.

    Kitchens are of the test split. Raises LookupError if none of MAX_KITCHENS does.
    """
    for candidate in range(seed, seed + MAX_KITCHENS * SEED_STEP, SEED_STEP):
        with World(draw_kitchen(candidate, "test"), width, height) as world:
            truth = world.frame(measure_visibility=True).truth
        if len(truth.things) >= MIN_THINGS and draw_dozen(truth, seed) is not None:
            return candidate
    raise LookupError(f"no kitchen among {MAX_KITCHENS} from seed {seed} on shows enough things")
