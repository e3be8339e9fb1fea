"""Two processes with weights spread over both by FSDP export a folder that loads."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from chatspot_train.finetune.config import ModelSettings
from chatspot_train.finetune.model import load_start
from chatspot_train.finetune.run import export_stopped

Painted = Callable[..., dict[str, str]]
# accelerate shards on GPUs alone, but everything that it calls works on CPUs with gloo: it is told
# that these processes have GPUs. Says when a process reads weights, and how many it holds.
SHARDED = """
import runpy
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule
from chatspot_train.finetune import model, run

start = PartialState.__init__

def begin(state, *args, **more):
    first = not PartialState._shared_state
    start(state, *args, **more)
    if first:
        state.distributed_type = DistributedType.MULTI_GPU

PartialState.__init__ = begin
read, gather = model._read_parts, run.gather

def reading(*args):
    print("READ", flush=True)
    return read(*args)

def gathered(trainer):
    assert isinstance(trainer.model, FSDPModule)
    weights = list(trainer.model.parameters())
    mine = sum(weight.to_local().numel() for weight in weights)
    print("SHARDS", mine, sum(weight.numel() for weight in weights), flush=True)
    return gather(trainer)

model._read_parts, run.gather = reading, gathered
runpy.run_module("chatspot_train.train", run_name="__main__", alter_sys=True)
"""
FSDP = {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
        "reshard_after_forward": True, "cpu_ram_efficient_loading": True,
        "state_dict_type": "FULL_STATE_DICT"}  # fmt: skip


def write_run(out: Path, model: dict[str, Any], data: dict[str, str], **more: Any) -> Path:
    optim = {"learning_rate": 1e-2, "batch": 4, "per_device": 2, "workers": 0, "bf16": False,
             "progress": False, "log_every": 1, "save_every": 4, "warmup": 0.0,
             "gradient_checkpointing": False}  # fmt: skip
    values = {"recipe": "instruct", "out": str(out), "model": model, "data": [data],
              "learn": ["projection", "language"], "optim": optim, **more}  # fmt: skip
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(values))
    return file


def train_sharded(file: Path, folder: Path) -> list[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    logs = [folder / f"{rank}.log" for rank in range(2)]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}  # fmt: skip
    with ExitStack() as files:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SHARDED, "--config", str(file)],
                stdout=files.enter_context(log.open("w")), stderr=subprocess.STDOUT,
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank, log in enumerate(logs)
        ]  # fmt: skip
        ends = [process.wait() for process in processes]
    said = [log.read_text() for log in logs]
    assert ends == [0, 0], said[0][-2000:] + said[1][-2000:]
    return said


def losses(out: Path) -> list[float]:
    return [h["loss"] for h in json.loads((out / "log.json").read_text()) if "loss" in h]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", ["whole", "lora"])
def test_two_processes_export_what_both_have_learned(
    way: str, parts: dict[str, Any], painted: Painted, tmp_path: Path,
    train_as: Callable[[Path], None],
) -> None:  # fmt: skip
    data = painted(16)
    (tmp_path / "fsdp.json").write_text(json.dumps(FSDP))
    more: dict[str, Any] = {"whole": {}, "lora": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.0}}}[
        way
    ]
    train_as(write_run(tmp_path / "one", parts, data, **more))
    said = train_sharded(
        write_run(tmp_path / "two", parts, data, fsdp=str(tmp_path / "fsdp.json"), **more), tmp_path
    )
    # One process reads, the other gets its part from it.
    assert ["READ" in text for text in said] == [True, False]
    shards = [
        tuple(map(int, line.split()[1:])) for text in said for line in text.splitlines()
        if line.startswith("SHARDS")
    ]  # fmt: skip
    assert len(shards) == 2
    assert all(local < 0.7 * whole for local, whole in shards)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=0.05)
    one, two, again = (
        dict(load_start(ModelSettings(checkpoint=str(folder))).model.named_parameters())
        for folder in (
            tmp_path / "one" / "model",
            tmp_path / "two" / "model",
            export_stopped(tmp_path / "two", tmp_path / "again"),
        )
    )
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=0.02), name
        assert torch.allclose(two[name], again[name], atol=1e-3), name
