"""Drawn dialogues: how often each question is asked, with which boxes, in which words."""

from dataclasses import replace

import numpy as np
import pytest

from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.truth import Thing, Truth
from chatspot_train.tiny import dialogue_sampling
from chatspot_train.tiny.dialogue_sampling import (
    KEPT_PRESENT,
    KEPT_SINGLE,
    _share_kept,
    answer_text,
)

PLACE = KitchenQuestion(
    "locate", "Where is the mug?", "locate", (), "", (10, 20, 30, 40), phrase="mug"
)


def test_a_place_is_said_in_the_models_picture() -> None:
    wide = fit(PictureGeometry.STRETCH, (200, 100), (64, 64))
    assert answer_text(PLACE, wide) == "mug <box> 0.05 0.20 0.15 0.40</box>"


def test_answers_that_are_mostly_right_are_asked_less() -> None:
    one = KitchenQuestion("count", "How many?", "", (), "1")
    assert _share_kept(one) == KEPT_SINGLE
    assert _share_kept(replace(one, answer="0")) == _share_kept(replace(one, answer="2")) == 1.0
    assert _share_kept(PLACE) == KEPT_PRESENT
    assert _share_kept(replace(PLACE, box_xyxy_px=None)) == 1.0


def test_some_boxes_are_off_as_a_detectors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    box = (300.0, 300.0, 500.0, 500.0)
    mug = Thing("mug_1", "mug", "red", box, ((300, 300), (500, 300), (500, 500)), 40000)
    truth = Truth(1000, 1000, (mug,))
    off = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(dialogue_sampling, "ROUGH", share)
        monkeypatch.setattr(
            dialogue_sampling, "WEIGHTS", dict.fromkeys(dialogue_sampling.WEIGHTS, 0) | {"name": 1}
        )
        turns = dialogue_sampling.draw_turns(truth, None, np.random.default_rng(0), 200)
        regions = [turn.regions[0] for turn in turns]
        asked = [region.box_xyxy_px for region in regions if len(region.points_px) == 2]
        assert len(asked) > 50
        off[share] = np.abs(np.array(asked) - box).mean()
    assert off[1.0] > 1.5 * off[0.0]
