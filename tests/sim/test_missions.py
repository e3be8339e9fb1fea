"""Missions, what of them is not met, faults of acts, and the inventory: all without ROS."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from chatspot_ros.errors import RequestError
from chatspot_sim.act_faults import FAULTS, ActFaults
from chatspot_sim.actions import act_on
from chatspot_sim.inventory import Inventory
from chatspot_sim.kitchen import Kitchen, draw_kitchen
from chatspot_sim.missions import Mission, draw_missions, unmet


def missing(mission: Mission, kitchen: Kitchen) -> list[str]:
    inventory = Inventory.of(kitchen, 5)
    assert Inventory.from_json(inventory.to_json()) == inventory
    return unmet(mission, inventory)


def test_a_mission_is_done_by_its_steps_and_by_nothing_less() -> None:
    for mission in itertools.islice(draw_missions(0, 320, 240), 4):
        kitchen = draw_kitchen(mission.seed, "test")
        assert "not fetched" in missing(mission, kitchen)
        assert act_on(kitchen, "open", "fridge")[0]
        assert "left open" in missing(mission, kitchen)
        assert act_on(kitchen, "pick", mission.contents[0])[0]
        assert "not fetched" not in missing(mission, kitchen)
        for one in mission.closed:
            assert act_on(kitchen, "close", one)[0]
        for one in mission.plugged:
            assert act_on(kitchen, "plug_in", one)[0]
        assert missing(mission, kitchen) == []
        for one in mission.plugged:
            assert act_on(kitchen, "unplug", one)[0]
            assert missing(mission, kitchen) == ["not plugged in"]


def test_the_same_thing_from_the_counter_is_not_what_was_asked_for() -> None:
    for mission in draw_missions(0, 320, 240):
        kitchen = draw_kitchen(mission.seed, "test")
        others = [
            item.id
            for item in kitchen.items
            if item.kind == mission.content and item.id not in mission.contents
        ]
        if others:
            break
    assert act_on(kitchen, "pick", others[0])[0]
    assert "not fetched" in missing(mission, kitchen)


def test_missions_do_not_depend_on_where_the_count_begins() -> None:
    first, second = itertools.islice(draw_missions(0, 320, 240), 2)
    assert next(draw_missions(first.seed + 1, 320, 240)) == second


def test_faults_are_scripted_then_drawn_from_the_seed() -> None:
    def drawn(seed: int, rate: float, script: str = "") -> list[str]:
        faults = ActFaults(script, rate, seed)
        return [faults.next() for _ in range(400)]

    assert drawn(1, 0.3) == drawn(1, 0.3) != drawn(2, 0.3)
    assert set(drawn(1, 0.0)) == {"works"}
    assert drawn(1, 0.0, "slips, late")[:3] == ["slips", "late", "works"]
    counted = Counter(drawn(3, 0.3))
    assert set(counted) == set(FAULTS)
    assert 0.2 < 1 - counted["works"] / 400 < 0.4
    # A higher rate only adds faults.
    pairs = zip(drawn(4, 0.2), drawn(4, 0.6), strict=True)
    assert all(low in ("works", high) for low, high in pairs)
    with pytest.raises(RequestError, match="topples"):
        ActFaults("works topples", 0.0, 0)
