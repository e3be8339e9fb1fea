"""Robots' actions in a kitchen: truth and pixels change, and a failure gives its reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from chatspot_sim.actions import ACTIONS
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.truth import Thing
from chatspot_sim.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A closed, unplugged blue fridge, a cold stove, two bottles, a plate, a lemon."""
    kitchen = draw_kitchen(3, "test")
    kitchen.look.noise = kitchen.look.blur = 0.0
    with World(kitchen, 320, 240) as world:
        yield world


def seen(world: World, thing: str) -> Thing | None:
    return next((t for t in world.frame().truth.things if t.id == thing), None)


@pytest.mark.parametrize(
    ("action", "target", "thing", "attribute", "value"),
    [
        ("open", "fridge", "fridge_1", "door", "open"),
        ("plug_in", "fridge_1", "fridge_1", "plug", "in"),
        ("turn_on", "stove", "stove_1", "burner", "on"),
    ],
)
def test_an_action_changes_truth_and_pixels(
    world: World, action: str, target: str, thing: str, attribute: str, value: str
) -> None:
    before = world.frame()
    done, message = world.act(action, target)
    after = world.frame()
    assert done, message
    assert value in message
    there = next(t for t in after.truth.things if t.id == thing)
    assert there.state[attribute] == value
    changed = np.abs(before.rgb.astype(int) - after.rgb).max(axis=-1) > 25
    assert changed.sum() > 20


def test_close_undoes_open(world: World) -> None:
    before = world.frame()
    assert world.act("open", "fridge")[0]
    assert world.act("close", "fridge")[0]
    after = world.frame()
    np.testing.assert_array_equal(before.rgb, after.rgb)
    assert before.truth == after.truth


def test_what_is_so_already_counts_as_done(world: World) -> None:
    done, message = world.act("close", "fridge")
    assert done
    assert "already closed" in message


def test_a_picked_thing_is_gone_and_comes_back_when_placed(world: World) -> None:
    assert seen(world, "lemon_1") is not None
    assert world.act("pick", "lemon")[0]
    assert seen(world, "lemon_1") is None
    done, message = world.act("pick", "plate")
    assert not done
    assert "already holds lemon_1" in message
    assert world.act("place", "lemon")[0]
    assert seen(world, "lemon_1") is not None


def test_things_are_found_by_word_colour_and_id(world: World) -> None:
    for target in ("bottle_1", "OIL", "oil", "purple bottle"):
        done, message = world.act("pick", target)
        assert done, message
        assert "bottle_1" in message
        assert world.act("place", "bottle_1")[0]


def test_things_in_a_closed_fridge_cannot_be_picked() -> None:
    kitchen = draw_kitchen(4, "test")  # a fridge with a pineapple in it
    with World(kitchen, 64, 48) as world:
        assert world.act("close", "fridge")[0]
        done, message = world.act("pick", "pineapple")
        assert not done
        assert "closed door of fridge_1" in message
        assert world.act("open", "fridge")[0]
        assert world.act("pick", "pineapple")[0]


@pytest.mark.parametrize(
    ("action", "target", "why"),
    [
        ("fly", "fridge", "no skill 'fly'"),
        ("", "fridge", "no skill ''"),
        ("open", "dishwasher", "no 'dishwasher'"),
        ("open", "dishwasher", "there are fridge_1"),
        ("open", "", "no ''"),
        ("open", "plate", "cannot be acted on"),
        ("open", "plate", "only with pick, place"),
        ("pick", "fridge", "cannot be picked up"),
        ("place", "lemon", "not in the hand"),
    ],
)
def test_a_failure_says_why_and_changes_nothing(
    world: World, action: str, target: str, why: str
) -> None:
    before = world.frame()
    done, message = world.act(action, target)
    assert not done
    assert why in message
    after = world.frame()
    np.testing.assert_array_equal(before.rgb, after.rgb)
    assert before.truth == after.truth


def test_a_mug_is_filled_only_under_running_water() -> None:
    with World(draw_kitchen(8, "test"), 64, 48) as world:
        world.kitchen.item("mug_1").state["contents"] = "empty"
        done, message = world.act("fill", "mug")
        assert not done
        assert "no tap is running" in message


def test_every_skill_is_in_the_robots_list() -> None:
    from chatspot_ros.core.skills import read_skills

    assert set(read_skills("skills.yaml")) == set(ACTIONS)
