"""Packed rows: many questions behind one picture cost it once, and learn what each alone does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.common.labels import IGNORE
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.model import Start, load_start
from chatspot_train.finetune.packing import OWNERS, packed_outputs

PICTURE = np.random.default_rng(3).integers(0, 255, (30, 40, 3), dtype=np.uint8)
TURNS = (
    RecordTurn("What is this?", "a mug", (Region.box(0, 5, 20, 25),)),
    RecordTurn("What is this?", "a bowl of fruit", (Region.box(15, 2, 38, 19),)),
    RecordTurn("Where is the cup?", "<region>", (), "locate", (Region.box(0, 5, 20, 25),)),
    RecordTurn("Which number?", "57", (Region.point(9, 9),), "read", print_lines=("57", "kg")),
)
ALONE = [Record("made", str(k), "a.png", 40, 30, (turn,)) for k, turn in enumerate(TURNS)]
TOGETHER = Record("made", "all", "a.png", 40, 30, TURNS)


@pytest.fixture(scope="module")
def start(parts: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(parts))


def outputs(start: Start, encoder: Encoder, records: list[Record]) -> tuple[Any, Any]:
    batch = encoder.collate([encoder.example(one, PICTURE) for one in records])
    with torch.no_grad():
        return packed_outputs(start.model.eval(), batch)


@pytest.mark.parametrize("look_twice", [0.0, 1.0])
def test_packed_turns_are_as_each_alone(start: Start, look_twice: float) -> None:
    encoder = Encoder(start, 2000, packed=True, look_twice=look_twice, show_print=1.0)
    logits, wanted = outputs(start, encoder, [TOGETHER])
    alone = [outputs(start, encoder, [one]) for one in ALONE]
    assert wanted.tolist() == torch.cat([one for _, one in alone]).tolist()
    assert torch.allclose(logits, torch.cat([one for one, _ in alone]), atol=1e-4)
    # And as in one batch, padded.
    padded, same = outputs(start, encoder, [ALONE[0], TOGETHER])
    assert same.tolist() == [*alone[0][1].tolist(), *wanted.tolist()]
    assert torch.allclose(padded[len(alone[0][1]) :], logits, atol=1e-4)


def test_one_turn_is_learned_as_transformers_own_forward_pass(start: Start) -> None:
    """Without a second look a packed record of one turn is the plain conversation."""
    packed = Encoder(start, 2000, packed=True)
    plain = Encoder(start, 2000)
    logits, wanted = outputs(start, packed, ALONE[:1])
    batch = plain.collate([plain.example(ALONE[0], PICTURE)])
    labels = batch.pop("labels")
    shown = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values")}
    with torch.no_grad():
        expected = start.model.eval()(**shown).logits[0, :-1][labels[0, 1:] != IGNORE]
    assert torch.allclose(logits, expected, atol=1e-4)
    assert wanted.tolist() == labels[labels != IGNORE].tolist()


def test_a_second_look_and_print_come_before_the_question(start: Start) -> None:
    encoder = Encoder(start, 2000, packed=True, look_twice=1.0, show_print=1.0)
    example = encoder.example(ALONE[3], PICTURE)
    text = start.tokenizer.decode(example["input_ids"]).replace("<image>", "#")
    assert 'Print: "57" "kg"\n[short] Which number?' in text
    whole, cut = text.split("\n", 1)
    assert whole.count("#") == cut.count("#") == 4
    assert len(encoder.example(ALONE[2], PICTURE)["pictures"]) == 1  # no region, no cut
    never = Encoder(start, 2000, packed=True)
    text = start.tokenizer.decode(never.example(ALONE[3], PICTURE)["input_ids"])
    assert "Print" not in text
    assert text.count("<image>") == 4


def test_which_turns_are_looked_at_twice_is_drawn(start: Start) -> None:
    encoder = Encoder(start, 2000, packed=True, look_twice=0.5)
    counts = {
        len(encoder.example(TOGETHER, PICTURE, np.random.default_rng(k))["pictures"])
        for k in range(20)
    }
    assert counts == {1, 2, 3, 4}


def test_turns_beyond_the_longest_row_are_left_out(start: Start) -> None:
    encoder = Encoder(start, 2000, packed=True)
    whole = encoder.example(TOGETHER, PICTURE)
    short = Encoder(start, len(whole["input_ids"]) - 1, packed=True).example(TOGETHER, PICTURE)
    assert int(whole[OWNERS].max()) == 4
    assert int(short[OWNERS].max()) == 3


@pytest.mark.parametrize("wrong", [
    {"look_twice": 0.5}, {"show_print": 0.5}, {"packed": True, "look_twice": 1.5},
    {"packed": True, "distill": {"teacher": "somewhere"}},
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(
    parts: dict[str, Any], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        InstructSettings.model_validate({
            "recipe": "instruct", "out": tmp_path, "model": parts, "learn": ["projection"],
            "data": [{"records": "a", "images": "b"}], "optim": {"learning_rate": 1e-3}, **wrong,
        })  # fmt: skip


def test_a_packed_run_learns_and_its_model_is_served(
    parts: dict[str, Any], painted: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    from chatspot_train.finetune.run import run

    folder = run(InstructSettings.model_validate({
        "recipe": "instruct", "out": tmp_path / "run", "model": parts, "data": [painted(6)],
        "learn": ["projection", "language"], "packed": True, "look_twice": 0.5,
        "optim": {"learning_rate": 1e-2, "epochs": 60, "batch": 6, "per_device": 3, "warmup": 0.0,
                  "workers": 0, "bf16": False, "progress": False, "log_every": 5,
                  "save_every": 1000, "gradient_checkpointing": False},
    }))  # fmt: skip
    engine = Engine.load(str(folder), device="cpu", threads=1)
    scene = engine.prepare(np.full((30, 40, 3), 120, np.uint8))
    asked = Question("Which colour is <region>?", (Region.box(4, 4, 18, 16),), look_twice="on")
    reply = engine.answer(scene, asked)
    assert reply.looked_twice
    assert reply.answer.text in ("red", "green", "blue")
