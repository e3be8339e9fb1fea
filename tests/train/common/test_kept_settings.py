"""Settings kept with results: changed ones are named; a stage and a journal refuse them."""

import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from chatspot_train.common.kept_settings import ChangedSettingsError, check_unchanged
from chatspot_train.common.stage_config import StageSettings
from chatspot_train.common.trainer import plot_losses, run_stage
from chatspot_train.data.region_chat.journal import Journal


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.layer(x) - 1).square().mean()}


class Points(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.tensor([index / 16.0])}


def stage(**change: Any) -> StageSettings:
    values = {"steps": 4, "batch": 2, "learning_rate": 0.1, "warmup": 1, "save_every": 2,
              "bf16": False, "progress": False, **change}  # fmt: skip
    return StageSettings.model_validate(values)


def test_every_changed_setting_is_named(tmp_path: Path) -> None:
    kept = {"a": {"b": 1, "c": 2}, "lora": None, "list": [{"d": 3}], "free": 1}
    check_unchanged(tmp_path, kept, {**kept, "free": 2}, ("free",))
    now = {"a": {"b": 1, "c": 5}, "lora": {"rank": 4}, "list": [{"d": 4}], "free": 1}
    with pytest.raises(ChangedSettingsError) as refused:
        check_unchanged(tmp_path, kept, now)
    said = str(refused.value)
    for change in ("a.c was 2, is 5", "lora.rank was not set, is 4", "list.0.d was 3, is 4"):
        assert change in said
    assert "a.b" not in said


def test_a_stage_refuses_changed_settings_and_a_finished_one_is_not_trained_on(
    tmp_path: Path,
) -> None:
    def run(values: StageSettings, **made_from: Any) -> float:
        torch.manual_seed(0)
        model = Line()
        run_stage(model, Points(), None, values, tmp_path, made_from=made_from)
        return float(model.layer.weight.detach())

    first = run(stage(), tower="a")
    kept = (tmp_path / "settings.json").read_text()
    assert run(stage(), tower="a") == first
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
    with pytest.raises(ChangedSettingsError, match="learning_rate"):
        run(stage(learning_rate=0.2), tower="a")
    with pytest.raises(ChangedSettingsError, match=r"made_from\.tower"):
        run(stage(), tower="b")
    assert (tmp_path / "settings.json").read_text() == kept


def test_a_journal_holds_the_dialogues_of_one_model(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.check_maker({"model": "one"})
        journal.check_maker({"model": "two"})  # nothing is written yet
        journal.finish({"id": "1"})
        with pytest.raises(ChangedSettingsError, match="model was two, is three"):
            journal.check_maker({"model": "three"})


def test_a_run_without_a_logged_loss_has_no_plot(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_losses([{"step": 1, "train_runtime": 2.0}], tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()
