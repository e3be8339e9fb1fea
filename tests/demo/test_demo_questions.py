"""The dozen: always twelve, in a fixed order, the same for the same kitchen."""

from __future__ import annotations

import pytest

from chatspot_ros.core.regions import RegionKind
from chatspot_sim import demo_questions
from chatspot_sim.demo_kitchen import changes
from chatspot_sim.demo_questions import draw_dozen, find_kitchen
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.truth import Truth
from chatspot_sim.world import World

SIZE = (320, 240)


def truth_of(seed: int) -> Truth:
    with World(draw_kitchen(seed, "test"), *SIZE) as world:
        return world.frame(measure_visibility=True).truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(find_kitchen(0, *SIZE))


def test_twelve_questions_of_every_way_and_shape(truth: Truth) -> None:
    dozen = draw_dozen(truth, 0)
    assert dozen is not None
    assert len(dozen) == 12
    kinds = {region.kind for asked in dozen for region in asked.about.regions}
    assert kinds == {RegionKind.BOX, RegionKind.POINT, RegionKind.POLYGON}
    assert any(not asked.about.regions for asked in dozen)
    assert {asked.way for asked in dozen} == {"service", "action"}
    assert [asked.about.kind for asked in dozen if asked.session] == [
        dozen[6].about.kind,
        "follow_up",
    ]
    assert sum(asked.detections for asked in dozen) == 1
    assert any(len(asked.about.regions) == 2 for asked in dozen)
    assert {"state", "plan", "locate"} <= {asked.about.task for asked in dozen}
    assert dozen[-1].about.answer.startswith(("no,", "there is no"))


def test_the_same_kitchen_and_seed_give_the_same_dozen(truth: Truth) -> None:
    assert draw_dozen(truth, 3) == draw_dozen(truth, 3)
    assert draw_dozen(truth, 3) != draw_dozen(truth, 4)


def test_only_what_is_clearly_seen_is_asked_about(truth: Truth) -> None:
    things = {thing.id: thing for thing in truth.things}
    for seed in range(5):
        for asked in draw_dozen(truth, seed) or []:
            if asked.about.thing:
                assert things[asked.about.thing].visible_fraction >= demo_questions.MIN_VISIBLE


def test_an_empty_kitchen_cannot_be_asked() -> None:
    assert draw_dozen(Truth(320, 240, ()), 0) is None


def test_no_kitchen_among_many_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_questions, "MIN_THINGS", 1000)
    monkeypatch.setattr(demo_questions, "MAX_KITCHENS", 2)
    with pytest.raises(LookupError, match="among 2 from seed 5"):
        find_kitchen(5, 64, 48)


def test_changes_name_states_and_things() -> None:
    with World(draw_kitchen(3, "test"), *SIZE) as world:
        before = world.frame().truth
        world.act("turn_on", "stove")
        world.act("pick", "lemon")
        after = world.frame().truth
    assert changes(before, after) == ["no lemon_1 any more", "stove_1 burner: off -> on"]
    assert changes(before, before) == []
