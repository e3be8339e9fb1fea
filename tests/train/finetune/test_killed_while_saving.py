"""A run killed while it saves goes on from its last whole checkpoint."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatspot_train.common.whole_checkpoints import last_checkpoint, whole_folder

Painted = Callable[..., dict[str, str]]
# Trains as chatspot_train.train does, and is killed when it has written the weights of its second
# checkpoint but not yet the optimizer's moments.
DYING = """
import os, runpy, signal
from transformers import Trainer

save = Trainer._save_optimizer_and_scheduler

def die(trainer, *args, **more):
    if trainer.state.global_step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return save(trainer, *args, **more)

Trainer._save_optimizer_and_scheduler = die
runpy.run_module("chatspot_train.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.timeout(600)
def test_it_goes_on_from_the_checkpoint_before(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, train_as: Callable[[Path], None]
) -> None:
    """Before, the half checkpoint was taken for the last one, and the run could not go on."""
    optim = {"learning_rate": 2e-3, "batch": 2, "per_device": 2, "workers": 0, "bf16": False,
             "progress": False, "log_every": 1, "save_every": 2,
             "gradient_checkpointing": False}  # fmt: skip
    out = tmp_path / "out"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({
        "recipe": "instruct", "out": str(out), "model": parts, "data": [painted(12)],
        "learn": ["projection"], "optim": optim}))  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", DYING, "--config", str(file)], stdout=subprocess.PIPE
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in out.glob("checkpoint-*")) == ["checkpoint-2"]
    assert last_checkpoint(out) == str(out / "checkpoint-2")
    train_as(file)
    assert sorted(path.name for path in out.glob("checkpoint-*")) == [
        "checkpoint-4",
        "checkpoint-6",
    ]
    assert not list(out.glob(".saving"))
    history = json.loads((out / "log.json").read_text())
    assert [h["step"] for h in history if "loss" in h] == [1, 2, 3, 4, 5, 6]


def test_a_half_checkpoint_of_an_older_version_is_passed_over(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nothing") is None
    for name, state in (("checkpoint-9", "{}"), ("checkpoint-10", None), ("checkpoint-2", "{}"),
                        ("checkpoint-11", ""), ("checkpoint-best", "{}")):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")


def test_an_export_replaces_the_last_one_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def write(text: str, fails: bool) -> None:
        with whole_folder(target) as folder:
            (folder / "weights").write_text(text)
            if fails:
                raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write("half", True)
    assert not target.exists()
    write("one", False)
    (target / "notes").write_text("mine")
    with pytest.raises(OSError, match="no space"):
        write("half", True)
    assert (target / "weights").read_text() == "one"
    write("two", False)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "weights": "two", "notes": "mine",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
