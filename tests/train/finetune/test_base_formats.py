"""What the frozen weights are held in: bfloat16 where hardware is fast in it, 4 bits if asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from chatspot_ros.errors import ModelLoadError
from chatspot_train.common import bf16
from chatspot_train.finetune import prepare as preparing
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.model import load_start, part_of
from chatspot_train.finetune.prepare import base_of, load_base, prepare
from chatspot_train.finetune.run import run

Painted = Callable[..., dict[str, str]]
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


def settings(model: dict[str, Any], data: Any = None, **more: Any) -> InstructSettings:
    optim = {"learning_rate": 2e-2, "batch": 2, "per_device": 2, "workers": 0, "progress": False,
             "gradient_checkpointing": False, **more.pop("optim", {})}  # fmt: skip
    return InstructSettings.model_validate({
        "recipe": "instruct", "out": "out", "model": model, "optim": optim,
        "data": [data or {"records": "r", "images": "i"}], "learn": ["projection"],
        **more})  # fmt: skip


@pytest.mark.parametrize(
    ("more", "fast", "base"),
    [
        ({}, True, "bfloat16"),
        ({}, False, "float32"),
        ({"learn": ["projection", "language"]}, True, "float32"),
        ({"learn": ["projection", "language"], "lora": LORA}, True, "bfloat16"),
        ({"learn": ["projection", "language"], "lora": LORA}, False, "float32"),
        ({"base": "float32"}, True, "float32"),
        ({"base": "bfloat16"}, False, "bfloat16"),
        ({"optim": {"bf16": False}}, True, "float32"),
    ],
)
def test_the_base_is_half_where_little_moves_on_fast_hardware(
    more: dict[str, Any], fast: bool, base: str, parts: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bf16, "multiplies_bf16", lambda: fast)
    made = settings(parts, **more)
    assert base_of(made) == base
    model = prepare(load_base(made), made)
    kinds = {p.requires_grad: set() for p in model.parameters()}  # type: ignore[var-annotated]
    for parameter in model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds[True] == {torch.float32}
    half = torch.bfloat16 if base == "bfloat16" else torch.float32
    assert kinds[False] == {half}


@pytest.mark.parametrize("lora", [None, LORA])
def test_frozen_weights_are_exported_as_they_were_published(
    lora: dict[str, Any] | None, parts: dict[str, Any], painted: Painted, tmp_path: Path
) -> None:
    """A run in bfloat16 would else round every frozen weight to eight bits."""
    learn = ["projection", "language"] if lora else ["projection"]
    made = settings(parts, painted(4), base="bfloat16", lora=lora, learn=learn,
                    out=str(tmp_path / "out"))  # fmt: skip
    folder = run(made)
    start = load_start(ModelSettings.model_validate(parts))
    before = {name: p.detach().half() for name, p in start.model.named_parameters()}
    after = dict(load_start(ModelSettings(checkpoint=str(folder)), torch.float16)
                 .model.named_parameters())  # fmt: skip
    moved = {
        part_of(name) for name in before
        # Rounded to bfloat16 a weight of 0.02 changes by up to 6e-5.
        if not torch.allclose(before[name].float(), after[name].float(), atol=1e-5, rtol=0)
    }  # fmt: skip
    assert moved == set(learn)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118


def test_four_bits_without_the_package_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda name: None)
    made = settings({"checkpoint": str(tmp_path)}, base="4bit", lora=LORA,
                    learn=["projection", "language"])  # fmt: skip
    with pytest.raises(ModelLoadError, match="pip install bitsandbytes") as caught:
        load_base(made)
    assert "\n" not in str(caught.value)


def test_four_bits_leave_the_vision_parts_and_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing.importlib.util, "find_spec", lambda name: object())
    config = preparing.four_bits()
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert {"vision_tower", "multi_modal_projector", "lm_head"} < set(config.llm_int8_skip_modules)


def test_four_bits_are_for_adapters_alone() -> None:
    with pytest.raises(ValueError, match="4bit is for lora"):
        settings({"checkpoint": "m"}, base="4bit")
