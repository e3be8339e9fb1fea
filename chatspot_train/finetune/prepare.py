"""The model that a run trains: its number format, what of it moves, adapters."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig

from chatspot_ros.engine.models.patches import PROJECTIONS
from chatspot_ros.errors import ModelLoadError
from chatspot_train.common.bf16 import use_bf16
from chatspot_train.finetune.config import InstructSettings, LoraSettings, ModelSettings, Part
from chatspot_train.finetune.model import Start, choose_parts, load_start, own_tokens

# Beside adapters: the modules that are trained entirely, with all that is in them.
WHOLE: dict[Part, tuple[str, ...]] = {
    "projection": PROJECTIONS, "vision": ("vision_tower", "visual"),
}  # fmt: skip


def computes_in_bf16(settings: InstructSettings, on_gpu: bool = False) -> bool:
    """Return whether the run multiplies in bfloat16: where it is fast, or its weights are that.

    `on_gpu`: as on a GPU, whatever is here.
    """
    if settings.base in ("bfloat16", "4bit"):
        return True
    return settings.optim.bf16 if on_gpu else use_bf16(settings.optim.bf16)


def base_of(settings: InstructSettings, on_gpu: bool = False) -> str:
    """Return the format of the weights that do not move: float32, bfloat16 or 4bit.

    By itself bfloat16, but float32 where most weights move or the run multiplies in float32.
    """
    if settings.base != "auto":
        return settings.base
    most_move = "language" in settings.learn and settings.lora is None
    half = computes_in_bf16(settings, on_gpu)
    return "float32" if most_move or not half else "bfloat16"


def load_base(settings: InstructSettings) -> Start:
    """Load the model that a run starts from, with its weights as `base_of` says.

    Where FSDP reads once, only the first process of each machine has them, and the others' are
    empty: accelerate hands them on from the first process of all. Raises ModelLoadError.
    """
    base = base_of(settings)
    packing = four_bits() if base == "4bit" else None
    dtype = torch.float32 if base == "float32" else torch.bfloat16
    others = fsdp_reads_once(settings) and int(os.environ.get("LOCAL_RANK", "0")) > 0
    start = load_start(settings.model, dtype, packing, empty=others)
    if others:
        _give_addresses(start.model)
    return start


def _give_addresses(model: torch.nn.Module) -> None:
    """Replace weights on `meta` by ones whose memory nothing has written to, which takes none.

    accelerate tells a model's weights apart by their addresses.
    """
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.is_meta:
                values = torch.empty_like(weight, device="cpu")
                setattr(module, name, torch.nn.Parameter(values, weight.requires_grad))
    model.tie_weights()  # type: ignore[operator]


def load_teacher(settings: InstructSettings) -> Any:
    """Return the teacher, whole in every process; None: the run has none."""
    if settings.distill is None:
        return None
    dtype = torch.bfloat16 if computes_in_bf16(settings) else torch.float32
    return load_start(ModelSettings(checkpoint=settings.distill.teacher), dtype).model


def four_bits() -> Any:
    """Return transformers' config for frozen weights in 4 bits (QLoRA's NF4, scales packed too).

    Raises ModelLoadError where bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelLoadError(
            "a base in 4 bits needs the package bitsandbytes", value="base: 4bit",
            remedy="pip install bitsandbytes, or set base to bfloat16",
        )  # fmt: skip
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "visual", "lm_head"],
    )  # fmt: skip


def fsdp_reads_once(settings: InstructSettings) -> bool:
    """Return whether one process of a machine reads the weights and FSDP hands them on."""
    if settings.fsdp is None:
        return False
    values = json.loads(settings.fsdp.read_text(encoding="utf-8"))
    return bool(values.get("cpu_ram_efficient_loading"))


def prepare(start: Start, settings: InstructSettings) -> Any:
    """Return the model in which exactly the parts of `settings.learn` are trainable, in float32."""
    choose_parts(start.model, settings.learn)
    model = start.model
    model.config.use_cache = False
    if settings.lora is not None:
        model = with_adapters(model, settings.lora, settings.learn, own_tokens(start))
    for module in model.modules():
        trained = [one for one in module.parameters(recurse=False) if one.requires_grad]
        # With a trained weight also what stands beside it: a batch normalisation's statistics.
        for one in (*trained, *(module.buffers(recurse=False) if trained else ())):
            one.data = one.data.float() if one.is_floating_point() else one.data
    return model


def with_adapters(
    model: Any, lora: LoraSettings, learn: Sequence[Part] = (), tokens: Sequence[int] = ()
) -> PeftModel:
    """Add low-rank adapters to the language model; train the other parts of `learn` entirely.

    `tokens` are ids whose rows of the embedding and of the head are trained. Only these rows get
    gradients and moments, a few MB; the two tables as `modules_to_save` would take 16 bytes for
    each of their numbers, 4 GB for Vicuna's 32,000 rows.
    """
    names = "|".join(lora.targets)
    rows = {table: list(tokens) for table in _tables(model)} if tokens else None
    whole = [name for part in learn for name in WHOLE.get(part, ())]
    kept = [name for name, _ in model.named_modules() if name.split(".")[-1] in whole]
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
            target_modules=rf".*language_model.*\.({names})",
            modules_to_save=kept or None,
            trainable_token_indices=rows,
        ),
    )  # fmt: skip


def _tables(model: Any) -> list[str]:
    """Return the names of the modules that hold a row for each token: the embedding, the head."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name for name, module in model.named_modules() if any(module is t for t in tables)]
