"""The memory that a checkpoint needs, estimated before any weight is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from chatspot_ros.engine.loading import host_resources, quantised_formats, quantization
from chatspot_ros.errors import ModelLoadError

_FLOATS = {"F64", "F32", "F16", "BF16"}
_FP8 = {"F8_E4M3", "F8_E5M2"}
_FILE_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16,
              "BF16": 16, "I16": 16, "U16": 16}  # fmt: skip
MB = 1_000_000
GB = 1_000_000_000


@dataclass(frozen=True)
class Weight:
    """A weight of a checkpoint: its name, its shape and its safetensors type."""

    name: str
    shape: tuple[int, ...]
    kind: str


@dataclass(frozen=True)
class Plan:
    """The storage of a checkpoint in memory.

    `quantisation` is one of quantization.QUANTISATIONS; the loader sets `dtype`. `cache_tokens` are
    the tokens whose keys and values must fit besides the weights: the picture, the questions about
    it and their answers. `reserve_bytes` are for the forward passes, the pictures and CUDA's own
    context.
    """

    quantisation: str = "none"
    cache_tokens: int = 4096
    reserve_bytes: int = 512 * MB
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Need:
    """The memory that a checkpoint needs, in bytes."""

    weights: int
    cache: int
    reserve: int

    @property
    def total(self) -> int:
        """The sum, in bytes."""
        return self.weights + self.cache + self.reserve

    def __str__(self) -> str:
        return (
            f"{in_gb(self.total)} (weights {in_gb(self.weights)}, keys and values "
            f"{in_gb(self.cache)}, reserve {in_gb(self.reserve)})"
        )


def in_gb(size: float) -> str:
    """Return a number of bytes as text in GB (10^9 bytes)."""
    return f"{size / GB:.2f} GB"


def read_shapes(files: Iterable[Path]) -> list[Weight]:
    """Return every weight in the headers of safetensors files, without loading any."""
    weights = []
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                weights.append(Weight(name, tuple(part.get_shape()), part.get_dtype()))
    return weights


def need(weights: Sequence[Weight], config: Any, plan: Plan, device: torch.device) -> Need:
    """Return the memory that a checkpoint will need. `config` is its transformers configuration."""
    return Need(
        weights=_weights(weights, config, plan, device),
        cache=cache_bytes(config, plan.cache_tokens, plan.dtype),
        reserve=plan.reserve_bytes,
    )


def cache_bytes(config: Any, tokens: int, dtype: torch.dtype) -> int:
    """Return the bytes of the keys and values of `tokens`, at most the model's longest context.

    Every layer counts as one that attends to all tokens.
    """
    text = config.get_text_config()
    layers = [_kept_numbers(layer) for layer in text.per_layer_config]
    tokens = min(tokens, int(getattr(text, "max_position_embeddings", 0) or tokens))
    return 2 * sum(layers) * tokens * dtype.itemsize


def _kept_numbers(layer: Any) -> int:
    """Return how many keys (or values) of a token a layer keeps; layers may differ (Gemma 4)."""
    heads = int(getattr(layer, "num_attention_heads", 0) or 0)
    size = getattr(layer, "head_dim", None) or getattr(layer, "hidden_size", 0) // max(1, heads)
    return int(getattr(layer, "num_key_value_heads", None) or heads) * int(size)


def check_fit(
    name: str, weights: Sequence[Weight], config: Any, plan: Plan, device: torch.device
) -> Need:
    """Return the memory that a checkpoint will need.

    Raises:
        ModelLoadError: more than is free on the device; it names both, and a plan that fits.
    """
    needed, free = need(weights, config, plan, device), host_resources.free_memory(device)
    if needed.total <= free:
        return needed
    fitting = [
        f"{how} (needs {in_gb(other.total)})"
        for how, other in _alternatives(weights, config, plan, device)
        if other.total <= free
    ]
    raise ModelLoadError(
        f"the model needs {needed}, and {in_gb(free)} are free on {device}",
        value=name,
        remedy=f"use {' or '.join(fitting)}"
        if fitting
        else "use a smaller model or another device, or end other programs that hold this memory",
    )


def _alternatives(
    weights: Sequence[Weight], config: Any, plan: Plan, device: torch.device
) -> Iterator[tuple[str, Need]]:
    """Yield smaller plans for the same checkpoint, each with its need."""
    if plan.dtype.itemsize > 2:
        half = replace(plan, dtype=torch.bfloat16)
        yield "dtype bfloat16", need(weights, config, half, device)
    if plan.quantisation == "none" and not quantization.is_quantised_already(config):
        for quantisation in quantization.QUANTISATIONS[1:]:
            small = replace(plan, quantisation=quantisation)
            yield f"quantisation {quantisation}", need(weights, config, small, device)


def _weights(weights: Sequence[Weight], config: Any, plan: Plan, device: torch.device) -> int:
    as_stored = quantization.is_quantised_already(config)
    fp8_stays = quantised_formats.fp8_stays(config, device)
    packed = plan.quantisation != "none"
    group = quantization.group_size(
        one.shape for one in weights if quantization.takes(one.name, one.shape)
    )
    total = 0
    for one in weights:
        if one.kind in _FP8 and not fp8_stays:
            total += math.prod(one.shape) * plan.dtype.itemsize
        elif as_stored or one.kind not in _FLOATS:
            total += math.prod(one.shape) * _FILE_BITS.get(one.kind, 8) // 8
        elif packed and quantization.takes(one.name, one.shape):
            total += quantization.weight_bytes(
                one.shape, plan.quantisation, group, plan.dtype, device
            )
        else:
            total += math.prod(one.shape) * plan.dtype.itemsize
    return total
