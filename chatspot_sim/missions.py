"""Missions in simulated kitchens, judged by all that is true of the kitchen at their end.

A mission: take a thing out of the fridge, then leave the kitchen in order; nothing stands open, and
the fridge is plugged in. Of doors and plugs only those count that the first picture shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chatspot_sim.detector import DetectorSettings
from chatspot_sim.inventory import Inventory
from chatspot_sim.kitchen import Kitchen, draw_kitchen
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.world import World

OPENABLE = ("door", "drawer")


@dataclass(frozen=True)
class Mission:
    """What shall be done in the kitchen of a seed of the split test.

    `content` is the kind to be taken out of the fridge. `closed` are the ids of the things whose
    door or drawer counts, `plugged` those whose plug does.
    """

    seed: int
    content: str
    contents: tuple[str, ...]  # the ids of that kind that were in the fridge
    closed: tuple[str, ...]
    plugged: tuple[str, ...]


def draw_missions(first_seed: int, width: int = 640, height: int = 480) -> Iterator[Mission]:
    """Yield the mission of each seed, from `first_seed` on, whose first picture shows its fridge.

    The fridge's door must be seen, and something be in it; no model is asked.
    """
    seed = first_seed
    while True:
        kitchen = draw_kitchen(seed, "test")
        if any(item.kind == "fridge" for item in kitchen.items):
            with World(kitchen, width, height) as world:
                truth = world.frame(measure_visibility=True).truth
            mission = mission_in(kitchen, truth)
            if mission is not None:
                yield mission
        seed += 1


def mission_in(kitchen: Kitchen, truth: Truth) -> Mission | None:
    """Return the mission in a kitchen with this first picture; None if there can be none."""
    limits = DetectorSettings()
    seen = [
        thing
        for thing in truth.things
        if thing.pixels >= limits.min_pixels and thing.visible_fraction >= limits.min_visible
    ]
    fridge = next((one for one in seen if one.name == "fridge" and "door" in one.state), None)
    kinds = sorted({item.kind for item in kitchen.items if fridge and item.inside == fridge.id})
    if fridge is None or not kinds:
        return None
    content = kinds[int(np.random.default_rng([kitchen.seed, 8]).integers(len(kinds)))]
    contents = [i.id for i in kitchen.items if i.kind == content and i.inside == fridge.id]
    return Mission(
        kitchen.seed, content, tuple(contents), _with(seen, OPENABLE), _with(seen, ("plug",))
    )


def unmet(mission: Mission, end: Inventory) -> list[str]:
    """Return what of a mission is not so at its end; empty if it is done.

    The kinds: `not fetched`, `left open`, `not plugged in`.
    """
    things = {thing.id: thing for thing in end.things}
    failures = []
    if not any(things[one].inside == "hand" for one in mission.contents):
        failures.append("not fetched")
    if any("open" in things[one].state.values() for one in mission.closed):
        failures.append("left open")
    if any(things[one].state["plug"] != "in" for one in mission.plugged):
        failures.append("not plugged in")
    return failures


def _with(things: list[Thing], attributes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(t.id for t in things if any(name in t.state for name in attributes))
