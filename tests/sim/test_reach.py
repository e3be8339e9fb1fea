"""A position in the camera's frame, and the thing that a gripper touches there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.world import Frame, World

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two bottles on the counter, a fridge."""
    kitchen = draw_kitchen(3, "test")
    with World(kitchen, WIDTH, HEIGHT) as world:
        yield world


def place_of(world: World, frame: Frame, number: int) -> tuple[float, float, float]:
    """Where the middle visible pixel of a thing is, by the picture's depth, x right, y down."""
    rows, columns = np.nonzero(frame.labels == number)
    middle = len(rows) // 2
    row, column = rows[middle], columns[middle]
    z = float(world.depth_m()[row, column])
    focal_px = HEIGHT / 2 / math.tan(math.radians(world.kitchen.view.fovy_deg) / 2)
    return (
        (column + 0.5 - WIDTH / 2) / focal_px * z,
        (row + 0.5 - HEIGHT / 2) / focal_px * z,
        z,
    )


def test_each_thing_that_is_seen_is_found_at_its_place_by_its_kind(world: World) -> None:
    frame = world.frame()
    kinds = [thing.name for thing in frame.truth.things]
    assert len(kinds) > len(set(kinds)), "several of a kind are what positions are for"
    for number, thing in enumerate(frame.truth.things, start=1):
        _, message = world.act("no skill for it", thing.name, place_of(world, frame, number))
        assert "no skill" in message  # it was found: the position is right
    seen = {
        thing.id: place_of(world, frame, number)
        for number, thing in enumerate(frame.truth.things, start=1)
        if thing.name == "bottle"
    }
    assert len(seen) == 2
    for name, place in reversed(seen.items()):
        assert world.act("pick", "bottle", place) == (True, f"picked {name}")
        assert world.act("place", name)[0]


def test_a_place_without_such_a_thing_is_refused_and_nothing_changes(world: World) -> None:
    frame = world.frame()
    number = next(k for k, one in enumerate(frame.truth.things, 1) if one.name == "fridge")
    x, y, z = place_of(world, frame, number)
    done, message = world.act("open", "fridge", (x, y, z - 0.5))
    assert not done
    assert "fridge_1, is 0." in message
    assert "ask again" in message
    assert world.kitchen.item("fridge_1").state["door"] == "closed"
    # Within reach is near enough.
    assert world.act("open", "fridge", (x, y, z - 0.1))[0]
    # The open door is the fridge, too, and a lemon is none.
    done, message = world.act("close", "zebra", (x, y, z))
    assert (done, "there is no 'zebra'" in message) == (False, True)
    assert world.act("close", "fridge")[0]


def test_what_is_in_the_hand_is_nowhere_else(world: World) -> None:
    frame = world.frame()
    number, lemon = next(
        (k, one) for k, one in enumerate(frame.truth.things, 1) if one.name == "lemon"
    )
    place = place_of(world, frame, number)
    assert world.act("pick", "lemon", place)[0]
    assert not world.act("pick", "lemon", place)[0]
    assert world.act("place", lemon.id)[0]
