"""Checkpoints and folders that are there whole or not at all, however a run is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

STATE = "trainer_state.json"  # Trainer writes it last
_SAVING = ".saving"


class WholeCheckpoints(Trainer):
    """A Trainer that gives a checkpoint its name when all processes have written all of it."""

    _folder: str | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._folder or str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        out = Path(str(self.args.output_dir))
        saving = out / _SAVING
        if self.args.should_save:
            shutil.rmtree(saving, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._folder = str(saving)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._folder = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            for folder in saving.iterdir():
                publish(folder, out / folder.name)
            saving.rmdir()
            rotate_checkpoints(str(out), self.args.save_total_limit)
        self.accelerator.wait_for_everyone()


def last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint in the folder of a run; None: there is none."""
    found = {int(path.parent.name.rpartition("-")[2]): path.parent
             for path in folder.glob(f"checkpoint-*/{STATE}")
             if path.parent.name.rpartition("-")[2].isdigit() and path.stat().st_size}  # fmt: skip
    return str(found[max(found)]) if found else None


def publish(folder: Path, target: Path) -> None:
    """Give a whole folder its name; another one of that name is removed.

    Its files are on the disk before, so that a power cut leaves no named folder with empty files.
    """
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        folder.rename(target)
        shutil.rmtree(old)
    else:
        folder.rename(target)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, which gets its name when the block ends well.

    What `target` held under other names is kept.
    """
    target = target.resolve()
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    for path in target.iterdir() if target.is_dir() else ():
        if not (beside / path.name).exists():
            path.rename(beside / path.name)
    publish(beside, target)
