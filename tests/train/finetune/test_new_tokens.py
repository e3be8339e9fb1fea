"""Adapters teach the new tokens too: the rows of `<box>` and of the tags, in embedding and head."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from chatspot_ros.core.tasks import find_task, task_tags
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.data.records import Record, RecordTurn, write_records
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.model import Start, load_start, own_tokens
from chatspot_train.finetune.run import export_stopped, run

SHORT, LONG = "a mug", "a mug, a mug and a mug"
OWN = ("<box>", "</box>", *task_tags())


def two_lengths(folder: Path) -> dict[str, str]:
    """The same question about equal pictures: one task has a short answer, one a long."""
    folder.mkdir()
    asked = {"read": SHORT, "describe": LONG}
    records = []
    for task, answer in asked.items():
        cv2.imwrite(str(folder / f"{task}.png"), np.full((32, 32, 3), 120, np.uint8))
        turn = RecordTurn("What?", answer, (), task)
        records.append(Record("made", task, f"{task}.png", 32, 32, (turn,)))
    write_records(records, folder / "records")
    return {"records": str(folder / "records"), "images": str(folder)}


@pytest.fixture(scope="module")
def taught(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The `out` and the exported folder of a run with adapters."""
    folder = tmp_path_factory.mktemp("tokens")
    data = two_lengths(folder / "data")
    made = InstructSettings.model_validate({
        "recipe": "instruct", "out": folder / "out", "model": parts, "data": [data],
        "learn": ["projection", "language"], "lora": {"rank": 8, "alpha": 16, "dropout": 0.0},
        "optim": {"learning_rate": 1e-2, "batch": 2, "per_device": 2, "epochs": 150, "workers": 0,
                  "bf16": False, "progress": False, "log_every": 25, "save_every": 150,
                  "gradient_checkpointing": False},
    })  # fmt: skip
    return made.out, run(made)


@pytest.fixture(scope="module")
def untaught(parts: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(parts))


def rows(start: Start) -> tuple[torch.Tensor, torch.Tensor]:
    """Embedding and head, float32."""
    tables = (start.model.get_input_embeddings(), start.model.get_output_embeddings())
    first, last = (table.weight.detach().float() for table in tables)
    return first, last


def test_new_tokens_start_alike(untaught: Start) -> None:
    ids = own_tokens(untaught)
    assert set(untaught.tokenizer.convert_ids_to_tokens(ids)) == set(OWN)
    for table in rows(untaught):
        assert (table[ids] == table[ids[0]]).all()


def test_the_rows_of_new_tokens_are_taught(taught: tuple[Path, Path], untaught: Start) -> None:
    start = load_start(ModelSettings(checkpoint=str(taught[1])))
    ids = dict(zip(OWN, start.tokenizer.convert_tokens_to_ids(list(OWN)), strict=True))
    used = [ids[find_task(task).tag] for task in ("read", "describe")]
    embedding, head = rows(start)
    before, _ = rows(untaught)
    assert (embedding[used[0]] - embedding[used[1]]).abs().max() > 1e-2
    assert (embedding[used] - before[used]).abs().amax(1).min() > 1e-2
    # All new rows of the head learn when not to be said.
    _, head_before = rows(untaught)
    assert (head[list(ids.values())] - head_before[list(ids.values())]).abs().amax(1).min() > 1e-3
    others = list(range(200))
    assert torch.allclose(embedding[others], before[others], atol=1e-3)
    assert torch.allclose(head[others], head_before[others], atol=1e-3)


def test_a_tag_decides_how_long_the_answer_is(taught: tuple[Path, Path]) -> None:
    engine = Engine.load(str(taught[1]), device="cpu", threads=1)
    scene = engine.prepare(np.full((32, 32, 3), 120, np.uint8))
    said = {
        task: engine.answer(scene, Question("What?", (), task, max_new_tokens=40)).answer.text
        for task in ("read", "describe")
    }
    assert said == {"read": SHORT, "describe": LONG}


def test_a_stopped_run_keeps_the_rows(taught: tuple[Path, Path], tmp_path: Path) -> None:
    again = load_start(ModelSettings(checkpoint=str(export_stopped(taught[0], tmp_path / "again"))))
    once = load_start(ModelSettings(checkpoint=str(taught[1])))
    for one, two in zip(rows(once), rows(again), strict=True):
        assert torch.allclose(one, two, atol=1e-5)
