"""Questions and their answers against the truth of real kitchens."""

import numpy as np
import pytest

from chatspot_ros.core.boxes import iou
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.goals import goals
from chatspot_sim.judging import judge
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.questions import KINDS, draw_dialogue, relation_text
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import TRAIN, spelled_out
from chatspot_sim.world import World


@pytest.fixture(scope="module")
def frames() -> list[Truth]:
    truths = []
    for seed in range(6):
        with World(draw_kitchen(seed, "val"), 320, 240) as world:
            truths.append(world.frame().truth)
    return truths


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_asked_and_its_own_answer_is_right(kind: str, frames: list[Truth]) -> None:
    asked = 0
    for truth in frames:
        for draw in range(8):
            dialogue = draw_dialogue(truth, kind, np.random.default_rng(draw)) or []
            for one in dialogue:
                asked += 1
                text = one.answer
                boxes = [one.box_xyxy_px] if one.box_xyxy_px else []
                assert judge(one, text, truth.width, truth.height, boxes)
                assert not judge(one, "quite something else", truth.width, truth.height)
                for region in one.regions:
                    region.clipped(truth.width, truth.height)
                assert one.question.count("<region>") in (0, len(one.regions))
    assert asked >= 5


def test_the_same_seed_asks_the_same(frames: list[Truth]) -> None:
    draws = [draw_dialogue(frames[0], "state", np.random.default_rng(3)) for _ in range(2)]
    assert draws[0] == draws[1]


def test_no_wording_is_shared_between_training_and_test() -> None:
    assert set(TRAIN) == set(TEST)
    for kind, wordings in TEST.items():
        assert not set(wordings) & set(TRAIN[kind])


def test_a_point_region_lies_on_its_thing(frames: list[Truth]) -> None:
    for truth in frames:
        for draw in range(10):
            rng = np.random.default_rng(draw)
            (one,) = draw_dialogue(truth, "name", rng, shape="point") or [None]
            if one is None:
                continue
            thing = next(t for t in truth.things if t.id == one.thing)
            (x, y), (x1, y1, x2, y2) = one.regions[0].points_px[0], thing.box_xyxy_px
            assert x1 <= x <= x2
            assert y1 <= y <= y2


def _fridge(door: str, plug: str) -> Thing:
    return Thing("fridge_1", "fridge", "red", (0, 0, 50, 50), (), 99, {"door": door, "plug": plug})


def test_plans_depend_on_the_state() -> None:
    shut, open_ = _fridge("closed", "out"), _fridge("open", "in")
    lemon = Thing("lemon_1", "lemon", "yellow", (9, 9, 20, 20), (), 50, inside="fridge_1")
    plans = {wording: steps for wording, _, steps in goals(shut, Truth(99, 99, (shut,)))}
    assert plans["plan_open"] == ["open fridge"]
    assert plans["plan_power"] == ["plug_in fridge"]
    assert plans["plan_fetch"][0] == "open fridge"
    plans = {wording: steps for wording, _, steps in goals(open_, Truth(99, 99, (open_, lemon)))}
    assert plans["plan_open"] == []
    assert plans["plan_power"] == ["close fridge"]
    assert plans["plan_fetch"] == ["pick lemon", "close fridge"]


def test_relations_as_seen() -> None:
    left = Thing("mug_1", "mug", "red", (0, 0, 10, 10), (), 99)
    right = Thing("mug_2", "mug", "red", (60, 0, 70, 10), (), 99)
    assert relation_text(left, right, 100) == "left of"
    assert relation_text(right, left, 100) == "right of"
    assert relation_text(left, left, 100) == ""
    lemon = Thing("lemon_1", "lemon", "", (0, 0, 9, 9), (), 99, inside="mug_1")
    assert relation_text(lemon, left, 100) == "inside"


@pytest.mark.parametrize(
    ("kind", "true", "said", "right"),
    [
        ("name", "mug", "a mug", True),
        ("name", "mug", "mug, jug", False),
        ("name", "mug", "", False),
        ("state", "door: open, plug: in", "plug: in, door: open", True),
        ("state", "door: open, plug: in", "door: open", False),
        ("yes_no", "no, plug: out", "no", True),
        ("yes_no", "no, plug: out", "yes, plug: in", False),
        ("yes_no", "door: open", "door: open", True),
        ("yes_no", "door: open", "yes, door: open", True),
        ("yes_no", "door: open", "yes", False),
        ("describe", "a red mug, contents: full", "a red mug, contents: full", True),
        ("describe", "a red mug, contents: full", "a blue mug, contents: full", False),
        ("describe", "a red mug", "a red mug and a fridge", False),
        ("scene", "a kitchen with a fridge, 2 mugs", "a kitchen with a mug, a fridge", True),
        ("scene", "a kitchen with a fridge, 2 mugs", "a kitchen with a stove", False),
        ("locate", "there is no kettle here", "there is no kettle here", True),
        ("locate", "there is no kettle here", "<box> 0.10 0.10 0.20 0.20</box>", False),
        ("count", "2", "12", False),
        ("read", "47", "47", True),
        ("plan", "open fridge; pick lemon", "pick lemon; open fridge", False),
    ],
)
def test_judging(kind: str, true: str, said: str, right: bool) -> None:
    question = KitchenQuestion(kind, "?", "", (), true)
    assert judge(question, said, 100, 100) is right


def test_a_place_is_right_above_half_overlap() -> None:
    question = KitchenQuestion("locate", "?", "locate", (), "", (0, 0, 40, 40))
    assert judge(question, "<box> 0.00 0.00 0.40 0.40</box>", 100, 100)
    assert not judge(question, "<box> 0.20 0.00 0.60 0.40</box>", 100, 100)
    assert not judge(question, "there is none", 100, 100)
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0


def test_patterns_are_spelled_out_in_order_and_once() -> None:
    found = spelled_out("Name (this|it).", "What is it?", "(Name|Say) this.")
    assert found == ("Name this.", "Name it.", "What is it?", "Say this.")


def test_no_training_wording_is_one_of_the_tests_of_any_kind() -> None:
    unseen = {text for texts in TEST.values() for text in texts}
    assert [text for texts in TRAIN.values() for text in texts if text in unseen] == []
