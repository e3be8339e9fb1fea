"""The kitchen suite's rows against values worked out by hand, and a run that was cut."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.world import World
from chatspot_train.suites import kitchen
from chatspot_train.suites.kitchen import Prediction, kitchen_questions, noisy_box, rows
from chatspot_train.suites.scores import drop, f1, share


def prediction(row: str, right: bool, seed: int = 0, **more: object) -> Prediction:
    values = {"answer": "", "truth": "", **more}
    return Prediction(row, seed, "?", [], right=right, confidence=0.5, seconds=0.1, **values)  # type: ignore[arg-type]


def test_a_share_has_wilsons_interval() -> None:
    row = share([True] * 9 + [False])
    assert row["value"] == 0.9
    assert row["n"] == 10
    assert row["low"] == pytest.approx(0.596, abs=0.001)  # by hand
    assert row["high"] == pytest.approx(0.982, abs=0.001)
    with pytest.raises(ValueError, match="nothing"):
        share([])


def test_f1_of_absence_by_hand() -> None:
    said = [True, True, False, False, True]
    true = [True, False, True, False, True]
    row = f1(said, true)  # 2 right of 3 said and 3 true
    assert row["value"] == pytest.approx(2 / 3)
    assert row["low"] <= 2 / 3 <= row["high"]
    assert f1([False], [False])["value"] == 0.0


def test_a_drop_is_counted_in_pairs() -> None:
    row = drop([True, True, True, False], [True, False, False, False])
    assert row["value"] == pytest.approx(0.5)
    assert row["low"] == pytest.approx(0.5 - 1.96 * 0.5 / 2)
    with pytest.raises(ValueError, match="2 and 1"):
        drop([True, True], [True])


def test_the_rows_that_are_drawn_from_several() -> None:
    found = rows([
        prediction("is_there", True, answer="no, there is no kettle here", truth="no, there is no"),
        prediction("is_there", False, answer="no, there is no cup here", truth="yes, there is"),
        prediction("locate", True, answer="there is no cup here", truth="there is no cup here"),
        prediction("locate", False, answer="<box> 0 0 1 1</box>", truth="there is no cup here"),
        prediction("name_box_exact", True), prediction("name_box_noise_03", False),
        prediction("name_box", False, named_neighbour=True), prediction("name_box", True),
    ])  # fmt: skip
    assert found["absent_f1"]["value"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["noise_drop_03"]["value"] == 1.0
    assert found["hallucination"]["value"] == pytest.approx(1 / 3)
    assert found["hallucination"]["n"] == 3


def test_box_noise_moves_each_edge_by_half_its_scale_at_most() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([noisy_box((100, 50, 200, 150), 0.3, 640, 480, rng) for _ in range(500)])
    moves = np.abs(boxes - [100, 50, 200, 150])
    assert moves.max() <= 15
    assert moves.max() > 14
    assert noisy_box((100, 50, 200, 150), 0.0, 640, 480, rng) == (100, 50, 200, 150)
    assert min(noisy_box((0, 0, 10, 10), 1.0, 10, 10, rng)) >= 0


def test_what_is_asked_follows_from_the_seed() -> None:
    with World(draw_kitchen(3, "test")) as world:
        truth = world.frame(measure_visibility=True).truth
    one, two = (list(kitchen_questions(truth, 3, TEST)) for _ in range(2))
    assert one == two
    asked = [row for row, _ in one]
    assert len(asked) == len(set(asked))
    assert {"name_box", "name_point", "name_polygon", "name_box_noise_03", "scene"} <= set(asked)


def test_a_run_that_was_cut_goes_on_with_the_cut_kitchen(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    lines = [json.dumps(asdict(prediction("state", True, seed))) for seed in (0, 0, 1, 1)]
    file.write_text("\n".join(lines) + "\n" + lines[0][:30])
    assert [p.seed for p in kitchen.read_predictions(file)] == [0, 0]
    assert [p.seed for p in kitchen.read_predictions(file)] == [0, 0]
