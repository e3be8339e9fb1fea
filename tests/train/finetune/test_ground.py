"""Recipe ground: a head learns to point from boxes, and that a thing is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.model_spec import read_spec
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.models.grounding_head import HEAD_FILE, cell_middles, load_head
from chatspot_train.data.records import Record, RecordError, Records, RecordTurn, write_records
from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.ground import best_threshold, mirrored, run_recipe
from chatspot_train.finetune.ground_examples import absent_name, pointed
from chatspot_train.finetune.ground_loss import assign, giou, ground_loss
from chatspot_train.finetune.model import Start, load_start

COLOURS = ("red", "green", "blue")


@pytest.fixture
def data(painted: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Painted rectangles, each sought, and another colour sought in vain."""
    source = painted(24, source="pointed")
    folder = Path(source["records"])
    records = []
    for record in Records(folder):
        name = record.turns[0].answer
        other = COLOURS[(COLOURS.index(name) + 1) % 3]
        absent = RecordTurn(f"Where is the {other} thing?", f"there is no {other} thing here", (),
                            "locate")  # fmt: skip
        records.append(replace(record, turns=(*record.turns, absent)))
    write_records(records, folder)
    return source


def test_a_head_learns_to_point_and_travels_with_its_checkpoint(
    parts: dict[str, Any], data: dict[str, str], tmp_path: Path
) -> None:
    folder = run_recipe({
        "recipe": "ground", "out": tmp_path / "run", "model": parts, "data": [data], "width": 16,
        "steps": 160, "batch": 8, "learning_rate": 5e-3, "progress": False, "depths": [0.5, 1.0],
        "held_out": 0.2,
    })  # fmt: skip
    note = json.loads((folder / "training.json").read_text())
    first, last = note["log"]["first_loss"], note["log"]["last_loss"]
    assert last < 0.75 * first
    rows = note["log"]["held_out"]
    assert rows["right"] > 0.5
    spec = read_spec(folder / "chatspot.yaml")
    assert spec.pointing is not None
    assert spec.pointing.threshold == rows["threshold"]
    assert load_head(folder / HEAD_FILE).config.layers == (1, 2)
    assert Engine.load(str(folder), device="cpu").spec.pointing == spec.pointing
    # A run that changes the weights takes no head along.
    again = load_start(ModelSettings(checkpoint=str(folder)))
    assert again.spec.pointing is not None


def test_records_without_boxes_teach_nothing(
    parts: dict[str, Any], painted: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    source = painted(2, source="nothing")
    folder = Path(source["records"])
    write_records([replace(one, turns=one.turns[:1]) for one in Records(folder)], folder)
    with pytest.raises(RecordError, match="point at nothing"):
        run_recipe({"recipe": "ground", "out": tmp_path, "model": parts, "data": [source],
                    "progress": False})  # fmt: skip


@pytest.fixture(scope="module")
def start(parts: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(parts))


def test_equal_phrases_share_their_boxes_and_a_false_one_has_none(start: Start) -> None:
    boxes = tuple(Region.box(x, 0, x + 5, 9) for x in (0, 10, 20))
    told = RecordTurn("Describe it.", "mug <region>, pan <region>, mug <region>", (), "describe",
                      boxes)  # fmt: skip
    none = RecordTurn("Where is the jar?", "there is no jar here", (), "locate")
    plain = RecordTurn("Is it red?", "yes")
    record = Record("test", "1", "a.png", 40, 30, (told, none, plain))
    first, second = pointed(record, start, "red jar")
    assert first.right == ((boxes[0], boxes[2]), (boxes[1],), (boxes[0], boxes[2]), ())
    assert first.turn.answer.endswith("mug <region>, red jar <region>")
    assert second.right == ((),)
    assert second.turn.answer == "<region>"


def test_a_false_name_shares_its_words_with_no_thing_that_is_there() -> None:
    rng = np.random.default_rng(0)
    names = ["door", "cabinet door", "handle", "red mug"]
    assert {absent_name(names, {"cabinet door", "mug"}, rng) for _ in range(20)} == {"handle"}
    assert absent_name(["door"], {"door"}, rng) == ""


def test_every_box_has_a_cell_and_nested_ones_their_own() -> None:
    size = (6, 8)
    middles = cell_middles(*size, torch.device("cpu"))
    boxes = torch.tensor([[0.1, 0.1, 0.9, 0.9], [0.5, 0.5, 0.52, 0.51]])
    owner, inside = assign(middles, boxes, size)
    assert set(owner.tolist()) == {-1, 0, 1}
    assert (owner == 1).sum() == 1
    assert inside[owner == 0].all()
    owner, inside = assign(middles, boxes[:0], size)
    assert (owner == -1).all()
    assert not inside.any()


def test_the_loss_is_least_where_the_head_is_right() -> None:
    size, true = (6, 8), torch.tensor([[0.2, 0.2, 0.6, 0.7]])
    owner, _ = assign(cell_middles(*size, torch.device("cpu")), true, size)
    right = torch.where(owner >= 0, 6.0, -6.0)[None]
    good, bad = true.expand(1, 48, 4), true.expand(1, 48, 4) * 0.5
    losses = [float(ground_loss(logits, boxes, [true], size))
              for logits, boxes in ((right, good), (right, bad), (-right, good))]  # fmt: skip
    assert losses[0] < 0.01 < losses[1] < losses[2]
    nothing = [float(ground_loss(logits, good, [true[:0]], size)) for logits in (right, -right)]
    assert nothing[0] > 1
    assert giou(true, true) == pytest.approx(1, abs=1e-4)
    assert giou(true, true + 1) < 0


def test_boxes_are_mirrored_and_thresholds_part_what_is_there() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.9]])
    assert mirrored(boxes)[0].tolist() == pytest.approx([0.6, 0.2, 0.9, 0.9])
    scores, there = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    threshold, f1 = best_threshold(scores, there)
    assert f1 == 1
    assert 0.2 < threshold <= 0.8
