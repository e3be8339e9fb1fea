"""A run's folder taken up again: changed settings are refused by name or applied, never ignored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatspot_train.common import trainer

Painted = Callable[..., dict[str, str]]


class Run:
    """`python -m chatspot_train.train --config FILE`, in this process."""

    def __init__(self, folder: Path, train_as: Callable[[Path], None], **values: Any) -> None:
        self.folder, self.train_as, self.values = folder, train_as, values
        self.out = Path(values["out"])

    def go(self, **change: Any) -> None:
        values = {**self.values, **change}
        values["optim"] = {**self.values["optim"], **change.get("optim", {})}
        file = self.folder / "run.yaml"
        file.write_text(yaml.safe_dump(values))
        self.train_as(file)

    def training(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "model" / "training.json").read_text())
        return found

    def steps(self) -> int:
        return max(int(path.name.split("-")[1]) for path in self.out.glob("checkpoint-*"))

    def rates(self) -> list[float]:
        log = json.loads((self.out / "log.json").read_text())
        return [line["learning_rate"] for line in log if "learning_rate" in line]


@pytest.fixture
def run(
    parts: dict[str, Any], painted: Painted, tmp_path: Path, train_as: Callable[[Path], None]
) -> Run:
    optim = {"learning_rate": 1e-3, "batch": 2, "per_device": 2, "steps": 4, "workers": 0,
             "warmup": 0.0, "bf16": False, "progress": False, "log_every": 1, "save_every": 2,
             "gradient_checkpointing": False}  # fmt: skip
    return Run(tmp_path, train_as, recipe="instruct", out=str(tmp_path / "out"), model=parts,
               data=[painted(12)], learn=["projection", "language"], optim=optim)  # fmt: skip


def test_a_finished_run_is_not_trained_on(run: Run) -> None:
    """Each start of a finished run adds one step today."""
    run.go()
    before = (run.out / "model" / "model.safetensors").read_bytes()
    assert run.steps() == 4
    run.go()
    run.go()
    assert run.steps() == 4
    assert run.training()["log"]["steps"] == 4
    assert (run.out / "model" / "model.safetensors").read_bytes() == before


def test_a_finished_run_with_sharded_weights_is_not_trained_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP and DeepSpeed need GPUs: a plain run goes their way, on which Trainer reads the weights
    and the optimizer itself."""
    run.go()
    before = (run.out / "model" / "model.safetensors").read_bytes()
    monkeypatch.setattr(trainer, "is_sharded", lambda _: True)
    run.go()
    assert run.steps() == 4
    assert run.training()["log"]["steps"] == 4
    assert (run.out / "model" / "model.safetensors").read_bytes() == before
    assert len(run.rates()) == 4


def test_more_steps_of_the_same_run_are_trained(run: Run) -> None:
    run.go()
    run.go(optim={"steps": 6})
    assert run.training()["log"]["steps"] == 6


CHANGES: dict[str, dict[str, Any]] = {
    "learning_rate": {"optim": {"learning_rate": 5e-2}},
    "weight_decay": {"optim": {"weight_decay": 0.3}},
    "warmup": {"optim": {"warmup": 0.5}},
    "batch": {"optim": {"batch": 4}},
    "seed": {"optim": {"seed": 8}},
    "learn": {"learn": ["projection"]},
    "rank": {"lora": {"rank": 4, "alpha": 8}},
    "longest": {"longest": 100},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_is_refused_by_name_or_applied(name: str, run: Run) -> None:
    """Applied, the log shows it; today the old rate goes on and the card states the new one."""
    run.go()
    kept = (run.out / "settings.json").read_bytes()
    said = ""
    try:
        run.go(**{**CHANGES[name], "optim": {"steps": 8, **CHANGES[name].get("optim", {})}})
    except SystemExit as refused:
        said = str(refused)
    if said:
        assert name in said
        assert str(run.out) in said
        assert (run.out / "settings.json").read_bytes() == kept
        return
    assert name == "learning_rate", "only what the log shows may be applied without a word"
    assert max(run.rates()[4:]) > 1e-2
    assert run.training()["optim"]["learning_rate"] == 5e-2


def test_another_start_model_is_refused(run: Run, parts: dict[str, Any]) -> None:
    run.go()
    spec = {**parts["spec"], "prompt_style": "words"}
    with pytest.raises(SystemExit, match="prompt_style"):
        run.go(model={**parts, "spec": spec}, optim={"steps": 8})


def test_other_records_are_refused(run: Run, painted: Painted) -> None:
    run.go()
    with pytest.raises(SystemExit, match=r"records|data"):
        run.go(data=[painted(12, seed=3, source="others")], optim={"steps": 8})


def test_records_built_anew_under_the_same_path_are_noticed(run: Run, painted: Painted) -> None:
    """The records' folder is the same, what is in it is not."""
    run.go()
    other = Path(painted(12, seed=9)["records"])
    mine = Path(run.values["data"][0]["records"])
    for shard in mine.glob("records-*.parquet"):
        shard.write_bytes((other / shard.name).read_bytes())
    with pytest.raises(SystemExit, match=r"records|data"):
        run.go(optim={"steps": 8})


def test_a_changed_rank_is_one_line(run: Run) -> None:
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0}
    run.go(lora=lora)
    with pytest.raises(SystemExit, match="rank") as refused:
        run.go(lora={**lora, "rank": 8}, optim={"steps": 8})
    assert "\n" not in str(refused.value)


def test_the_kept_settings_are_those_of_the_weights(run: Run) -> None:
    """What could not be started leaves the folder as it was."""
    run.go()
    kept = (run.out / "settings.json").read_bytes()
    with pytest.raises(SystemExit):
        run.go(model={**run.values["model"], "vision": str(run.folder / "gone")})
    assert (run.out / "settings.json").read_bytes() == kept


def test_what_says_nothing_of_the_weights_may_change(run: Run) -> None:
    """How often it saves, logs, or shows progress is no other training."""
    run.go(optim={"steps": 4})
    run.go(optim={"steps": 6, "save_every": 1, "log_every": 2, "progress": False})
    assert run.training()["log"]["steps"] == 6
