"""The trained model of a run as a plain one: gathered from all processes, adapters merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from torch import Tensor

from chatspot_train.finetune.config import InstructSettings
from chatspot_train.finetune.model import Start, load_start
from chatspot_train.finetune.prepare import prepare
from chatspot_train.finetune.trainer import InstructTrainer

# What wrappers put into the names of parameters.
_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")


def gather(trainer: InstructTrainer) -> dict[str, Tensor] | None:
    """Return the weights of a model that is spread over processes, whole in the first one.

    None where each process has all of them. Every process must call this: gathering is the work of
    all of them.
    """
    if trainer.is_deepspeed_enabled:
        return dict(trainer.accelerator.get_state_dict(trainer.model_wrapped) or {})
    if trainer.is_fsdp_enabled:
        return dict(trainer.accelerator.get_state_dict(trainer.model))
    return None


def finish(
    start: Start,
    trainer: InstructTrainer,
    settings: InstructSettings,
    gathered: dict[str, Tensor] | None,
) -> Start:
    """Return the trained model as a plain one; `gathered` is what `gather` returned here."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if gathered is None and all(p.dtype is torch.float32 for p in model.parameters()):
        return replace(start, model=merged(model))
    everything = model.state_dict() if gathered is None else gathered
    taught = {_plain(name) for name, p in model.named_parameters() if p.requires_grad}
    return taught_anew(settings, {name: w for name, w in everything.items() if name in taught})


def taught_anew(settings: InstructSettings, taught: dict[str, Tensor] | Path) -> Start:
    """Return the model that the run started from, in float16, with what it learned.

    `taught` are the trained weights by their names in the prepared model, or a checkpoint. A frozen
    weight is exported as it was published, not as the bfloat16 or the 4 bits it was trained with.
    """
    torch.manual_seed(settings.optim.seed)  # a projection that did not move is made anew
    start = load_start(settings.model, torch.float16)
    model = prepare(start, settings)
    if isinstance(taught, Path):
        _read(model, taught)
    else:
        unknown = model.load_state_dict(taught, strict=False).unexpected_keys
        if unknown:
            raise RuntimeError(f"{len(unknown)} trained weights have no place, as {unknown[0]}")
    return replace(start, model=merged(model))


def _read(model: Any, checkpoint: Path) -> None:
    """Read a checkpoint's weights. They have the hub's names, which from_pretrained knows."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))
    else:
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
        model.load_state_dict(saved.state_dict())


def merged(model: Any) -> Any:
    """Return the plain model, with adapters merged into its weights."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name
