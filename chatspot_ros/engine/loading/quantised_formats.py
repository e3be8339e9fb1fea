"""Checkpoints whose weights are published quantised: what each format needs to run."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from chatspot_ros.errors import ModelLoadError

# The compute capability from which a GPU multiplies numbers of 8 bits; below, and on a CPU,
# transformers makes bfloat16 of them.
_FP8_CAPABILITY = (8, 9)
_UNQUANTISED = "use the unquantised checkpoint with the parameter quantisation int8 or int4"


class Format(NamedTuple):
    """A format: its name for people, and the packages as (module, name for pip)."""

    name: str
    packages: tuple[tuple[str, str], ...]


# By `quant_method` of config.json, as the quantizers of transformers 5.23 ask for them.
FORMATS = {
    "awq": Format("AWQ", (("gptqmodel", "gptqmodel"),)),
    "gptq": Format("GPTQ", (("optimum", "optimum"), ("gptqmodel", "gptqmodel"))),
    "bitsandbytes": Format("bitsandbytes", (("bitsandbytes", "bitsandbytes"),)),
    "compressed-tensors": Format(
        "compressed-tensors", (("compressed_tensors", "compressed-tensors"),)
    ),
    "fp8": Format("FP8", ()),
    "torchao": Format("torchao", (("torchao", "torchao"),)),
    "hqq": Format("HQQ", (("hqq", "hqq"),)),
    "auto-round": Format("AutoRound", (("auto_round", "auto-round"),)),
    "quanto": Format("Quanto", (("optimum", "optimum-quanto"),)),
    "mxfp4": Format("MXFP4", (("kernels", "kernels"),)),
    "fbgemm_fp8": Format("FBGEMM FP8", (("fbgemm_gpu", "fbgemm-gpu"),)),
}


def method_of(config: Any) -> str:
    """Return the format of a checkpoint's weights, a key of FORMATS or another; empty: plain."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return ""
    settings = found if isinstance(found, Mapping) else vars(found)
    method = settings.get("quant_method")
    if method is None and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        method = "bitsandbytes"
    return str(getattr(method, "value", method) or "unnamed")


def check(folder: Path, config: Any) -> None:
    """Raise ModelLoadError where a format is not known, or its package is not installed."""
    method = method_of(config)
    if not method:
        return
    if method not in FORMATS:
        raise ModelLoadError(
            f"the weights have the format '{method}', which is not known here",
            value=folder,
            remedy=_UNQUANTISED,
        )
    name, packages = FORMATS[method]
    missing = [pip for module, pip in packages if importlib.util.find_spec(module) is None]
    if missing:
        raise ModelLoadError(
            f"the weights have the format {name}, which needs the package {' and '.join(missing)}",
            value=folder,
            remedy=f"pip install {' '.join(missing)}, or {_UNQUANTISED}",
        )


def refuse_gguf(folder: Path) -> None:
    """Raise ModelLoadError for a folder, or a file, of weights in GGUF."""
    files = sorted(folder.glob("*.gguf")) if folder.is_dir() else [folder]
    if any(path.suffix == ".gguf" for path in files):
        raise ModelLoadError(
            "the weights have the format GGUF, which needs the program llama.cpp",
            value=files[0],
            remedy="use the checkpoint in safetensors with the parameter quantisation int8 or int4",
        )


def fp8_stays(config: Any, device: torch.device) -> bool:
    """Return whether weights of 8-bit floats stay such in memory."""
    if not method_of(config) or device.type != "cuda":
        return False
    return tuple(torch.cuda.get_device_capability(device)) >= _FP8_CAPABILITY


def settle(model: Any, config: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a loaded model; where FP8 became plain floats, all its weights are of `dtype`.

    The weights that were not quantised are left by transformers as they are in the files.
    """
    if method_of(config) == "fp8" and not fp8_stays(config, device):
        for weight in model.parameters():
            if weight.is_floating_point():
                weight.data = weight.data.to(dtype)
    return model


def compute_dtype(model: Any, config: Any, dtype: torch.dtype) -> torch.dtype:
    """Return the type of a loaded model's activations: AWQ's kernels want float16, whatever
    `dtype` is."""
    if not method_of(config):
        return dtype
    used: torch.dtype = model.get_input_embeddings().weight.dtype
    return used if used.is_floating_point and used.itemsize > 1 else dtype
