"""Ways to run it: killed and resumed, adapters that merge, a teacher."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional as F

from chatspot_train.common.labels import IGNORE
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.finished import merged
from chatspot_train.finetune.model import load_start
from chatspot_train.finetune.prepare import prepare
from chatspot_train.finetune.run import export_stopped, meet_on_loopback, run
from chatspot_train.finetune.trainer import distillation_loss

Painted = Callable[..., dict[str, str]]
# Trains as chatspot_train.train does, and is killed in its sixth step.
DYING = """
import os, runpy, signal
from transformers import Trainer

step = Trainer.training_step

def die(trainer, *args, **more):
    if trainer.state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(trainer, *args, **more)

Trainer.training_step = die
runpy.run_module("chatspot_train.train", run_name="__main__", alter_sys=True)
"""


def values(out: Path, model: dict[str, Any], data: dict[str, str], **more: Any) -> dict[str, Any]:
    optim = {"learning_rate": 2e-3, "batch": 2, "per_device": 2, "workers": 0, "bf16": False,
             "progress": False, "log_every": 1, "save_every": 4,
             "gradient_checkpointing": False, **more.pop("optim", {})}  # fmt: skip
    return {"recipe": "instruct", "out": str(out), "model": model, "data": [data],
            "learn": ["projection", "language"], "optim": optim, **more}  # fmt: skip


def losses(out: Path) -> list[float]:
    return [h["loss"] for h in json.loads((out / "log.json").read_text()) if "loss" in h]


@pytest.mark.timeout(400)
def test_killed_and_started_again_it_goes_on_to_the_same_losses(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(24)
    run(InstructSettings.model_validate(values(tmp_path / "whole", parts, data)))
    config = tmp_path / "killed.yaml"
    config.write_text(yaml.safe_dump(values(tmp_path / "killed", parts, data)))
    arguments = ["--config", str(config)]
    killed = subprocess.run([sys.executable, "-c", DYING, *arguments], stdout=subprocess.PIPE)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").glob("checkpoint-*")] == ["checkpoint-4"]
    again = [sys.executable, "-m", "chatspot_train.train", *arguments]
    subprocess.run(again, check=True, stdout=subprocess.PIPE)
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


@pytest.mark.parametrize(
    ("local", "world", "chosen", "interface"),
    [("2", "2", None, "lo"), ("2", "4", None, None), ("2", "2", "eth1", "eth1"),
     (None, None, None, None)],
)  # fmt: skip
def test_processes_of_one_machine_meet_on_loopback(
    local: str | None, world: str | None, chosen: str | None, interface: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = {"LOCAL_WORLD_SIZE": local, "WORLD_SIZE": world, "GLOO_SOCKET_IFNAME": chosen}
    for name, value in given.items():
        # Set first, so that what the call sets is taken back.
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    meet_on_loopback()
    assert os.environ.get("GLOO_SOCKET_IFNAME") == interface


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_processes_learn_what_one_does(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(16)
    optim = {"batch": 4, "per_device": 2}
    run(InstructSettings.model_validate(values(tmp_path / "one", parts, data, optim=optim)))
    config = tmp_path / "two.yaml"
    config.write_text(yaml.safe_dump(values(tmp_path / "two", parts, data, optim=optim)))
    # `--standalone`: the launcher chooses a free port.
    with subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "-m", "chatspot_train.train", "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as launched:  # fmt: skip
        try:
            said, _ = launched.communicate(timeout=240)
        except subprocess.TimeoutExpired as error:
            os.killpg(launched.pid, signal.SIGKILL)
            pytest.fail(f"the processes did not end: {(error.output or b'')[-2000:].decode()}")
    assert launched.returncode == 0, said[-2000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=0.05)


def test_adapters_move_alone_and_merge_to_the_same_answers(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    made = InstructSettings.model_validate(
        values(tmp_path, parts, painted(4), lora={"rank": 4, "alpha": 8, "dropout": 0.0})
    )
    start = load_start(made.model)
    model = prepare(start, made)
    moving = {name for name, p in model.named_parameters() if p.requires_grad}
    kinds = ("lora_", "modules_to_save", "trainable_tokens")
    assert all(any(kind in name for kind in kinds) for name in moving)
    assert any("lora_" in name for name in moving)
    assert any("multi_modal_projector" in name for name in moving)
    assert not any("vision_tower" in name for name in moving)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in moving:
                parameter.add_(0.05 * torch.randn_like(parameter))
    batch = _batch(start, painted(1))
    model.eval()
    with torch.no_grad():
        before = model(**batch).logits
        after = merged(model)(**batch).logits
    assert torch.allclose(before, after, atol=1e-4)
    assert not any("lora" in name for name, _ in merged(model).named_parameters())


def test_an_adapted_run_exports_a_plain_model(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    out = tmp_path / "lora"
    folder = run(InstructSettings.model_validate(
        values(out, parts, painted(4), lora={"rank": 4, "alpha": 8},
               optim={"learning_rate": 0.02, "epochs": 3})
    ))  # fmt: skip
    untaught = load_start(ModelSettings.model_validate(parts)).model.state_dict()
    taught = load_start(ModelSettings(checkpoint=str(folder))).model.state_dict()
    assert untaught.keys() == taught.keys()
    projection = next(name for name in taught if name.endswith("language_model.layers.0.self_attn."
                                                               "q_proj.weight"))  # fmt: skip
    assert not torch.allclose(untaught[projection], taught[projection], atol=1e-3)


def test_a_stopped_run_is_exported_from_its_last_checkpoint(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(4)
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0}
    for way, more in (("plain", {}), ("lora", {"lora": lora})):
        out = tmp_path / way
        optim = {"learning_rate": 0.02, "epochs": 4, "save_every": 8}  # its last step is saved
        whole = run(InstructSettings.model_validate(values(out, parts, data, optim=optim, **more)))
        again = export_stopped(out, tmp_path / f"{way}-again")
        one, two = (load_start(ModelSettings(checkpoint=str(f))).model for f in (whole, again))
        for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-3), name
    with pytest.raises(FileNotFoundError, match="no run with a checkpoint"):
        export_stopped(tmp_path / "nothing", tmp_path / "x")


def test_the_teachers_part_of_the_loss_against_the_formula() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    labels = torch.full((2, 5), IGNORE)
    labels[0, 2:4] = 1
    labels[1, 4] = 3
    expected = 0.0
    for row, at in ((0, 1), (0, 2), (1, 3)):
        p = F.softmax(teacher[row, at] / 2, -1)
        q = F.softmax(student[row, at] / 2, -1)
        expected += float((p * (p.log() - q.log())).sum()) * 4 / 3
    assert float(distillation_loss(student, teacher, labels, 2.0)) == pytest.approx(expected)
    assert float(distillation_loss(teacher, teacher, labels, 2.0)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="7 tokens and the teacher 8"):
        distillation_loss(student, torch.randn(2, 5, 8), labels, 2.0)


def test_a_student_comes_nearer_to_its_teacher(
    parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    data = painted(4)
    teacher = run(InstructSettings.model_validate(
        values(tmp_path / "teacher", parts, data, optim={"learning_rate": 0.01, "epochs": 10})
    ))  # fmt: skip
    student = run(InstructSettings.model_validate(
        values(tmp_path / "student", parts, data, distill={"teacher": str(teacher), "weight": 1.0},
               optim={"learning_rate": 0.01, "epochs": 10})
    ))  # fmt: skip
    starts = [load_start(ModelSettings.model_validate(parts))] + [
        load_start(ModelSettings(checkpoint=str(folder))) for folder in (teacher, student)
    ]
    batch = _batch(starts[0], data)
    with torch.no_grad():
        untaught, told, learned = (start.model.eval()(**batch).logits for start in starts)
    before = distillation_loss(untaught, told, batch["labels"], 1.0)
    after = distillation_loss(learned, told, batch["labels"], 1.0)
    assert after < 0.5 * before


def _batch(start: Any, data: dict[str, str]) -> dict[str, Any]:
    from chatspot_train.finetune.config import SourceSettings
    from chatspot_train.finetune.dataset import ExampleDataset

    encoder = Encoder(start, 400)
    examples = ExampleDataset([SourceSettings.model_validate(data)], encoder)
    batch = encoder.collate([examples[k] for k in range(len(examples))])
    del batch["names"]
    return batch
