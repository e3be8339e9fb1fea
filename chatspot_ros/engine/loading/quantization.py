"""Weights in 8 or 4 bits, through torchao (docs/adr/0009).

Only the linear layers of the language model's blocks are quantised, nine tenths of a large model;
the vision tower, the embeddings and the last layer keep their precision. The weights are packed on
the device one by one as they are read, so the full model never is in memory.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import TorchAoConfig

from chatspot_ros.errors import ModelLoadError

QUANTISATIONS = ("none", "int8", "int4")
# Numbers of a row that share a scale; the largest that divides the rows is chosen.
_GROUPS = (128, 64, 32)
# torch's int4 kernel for CUDA (tinygemm) pads rows to a multiple of this.
_CUDA_ROW = 1024
_SEES = ("vision", "visual", "image", "projector", "connector", "merger")
_CUDA_CAPABILITY = 8


def takes(name: str, shape: Sequence[int]) -> bool:
    """Return whether a weight with this full name and shape is quantised."""
    parts = name.split(".")
    return (
        len(shape) == 2
        and parts[-1] == "weight"
        and ("layers" in parts or "blocks" in parts)
        and not any(word in part for part in parts for word in _SEES)
    )


def group_size(shapes: Iterable[Sequence[int]]) -> int:
    """Return the largest group of weights under one scale that divides most of these rows."""
    columns = [shape[1] for shape in shapes]
    if not columns:
        return _GROUPS[-1]
    return max(_GROUPS, key=lambda group: (sum(one % group == 0 for one in columns), group))


def weight_bytes(
    shape: Sequence[int], quantisation: str, group: int, dtype: torch.dtype, device: torch.device
) -> int:
    """Return the bytes of a quantised weight (rows, columns) with its scales."""
    rows, columns = shape
    if quantisation == "int8":
        return rows * columns + rows * dtype.itemsize
    if columns % group:
        return rows * columns * dtype.itemsize
    if device.type == "cuda":
        columns = -(-columns // _CUDA_ROW) * _CUDA_ROW
    # Two numbers for each group: its scale and its zero.
    return rows * columns // 2 + rows * (columns // group) * 2 * dtype.itemsize


def is_quantised_already(config: Any) -> bool:
    """Return whether the checkpoint's own configuration quantises its weights."""
    return getattr(config, "quantization_config", None) is not None


def check(quantisation: str, config: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Raise ModelLoadError where weights cannot be quantised this way."""
    if quantisation not in QUANTISATIONS:
        raise ModelLoadError(
            "there is no such quantisation",
            value=quantisation,
            remedy=f"use {', '.join(QUANTISATIONS)}",
        )
    if quantisation == "none":
        return
    if is_quantised_already(config):
        raise ModelLoadError(
            "the checkpoint's weights are quantised already",
            value=quantisation,
            remedy="set quantisation to none",
        )
    if quantisation == "int4" and device.type == "cuda":
        if dtype is not torch.bfloat16:
            raise ModelLoadError(
                "4-bit weights need dtype bfloat16 on CUDA",
                value=dtype,
                remedy="use dtype bfloat16 or auto, or quantisation int8",
            )
        capability = torch.cuda.get_device_capability(device)
        if capability[0] < _CUDA_CAPABILITY:
            raise ModelLoadError(
                "4-bit weights need a GPU of compute capability 8.0 (Ampere, Orin) or newer",
                value=".".join(map(str, capability)),
                remedy="use quantisation int8",
            )


def config_for(quantisation: str, shapes: Iterable[Sequence[int]], device: torch.device) -> Any:
    """Return transformers' quantisation config for weights of these shapes; None for `none`.

    Raises:
        ModelLoadError: torchao is not installed or of an untested version.
    """
    if quantisation == "none":
        return None
    try:
        how = _torchao_config(quantisation, group_size(shapes), device)
        # The names inside the model differ from the file's, so patterns exclude the vision parts
        # and everything outside of the blocks.
        left = [*(rf".*{word}[^.]*" for word in _SEES), r"(?!(?:.*\.)?(?:layers|blocks)\.).*"]
        return TorchAoConfig(how, modules_to_not_convert=left)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ModelLoadError(
            f"quantised weights need the package torchao: {str(error).splitlines()[0]}",
            value=quantisation,
            remedy="pip install 'torchao>=0.18,<0.19' (chatspot_ros[quantised]), or set "
            "quantisation to none",
        ) from error


def _torchao_config(quantisation: str, group: int, device: torch.device) -> Any:
    # torchao warns about kernels for newer data-centre GPUs, which are not used here.
    log = logging.getLogger("torchao")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig

            if quantisation == "int8":
                return Int8WeightOnlyConfig(set_inductor_config=False)
            if device.type == "cuda":
                return Int4WeightOnlyConfig(
                    group_size=group,
                    int4_packing_format="tile_packed_to_4d",
                    set_inductor_config=False,
                )
            from torchao.prototype.quantization.int4.inference_workflow import (
                PrototypeInt4WeightOnlyConfig,
            )

            return PrototypeInt4WeightOnlyConfig(group_size=group, set_inductor_config=False)
    finally:
        log.setLevel(level)
