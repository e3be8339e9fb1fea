"""Whether a checkpoint fits into a device's memory, without loading a weight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig

from chatspot_ros.engine.loading import memory_estimate
from chatspot_ros.engine.loading.checkpoint import (
    check_weights,
    choose_device,
    choose_dtype,
    read_config,
)
from chatspot_ros.engine.loading.model_classes import import_classes


def check_fit(
    folder: Path, device: str, dtype: str, plan: memory_estimate.Plan
) -> tuple[memory_estimate.Need, torch.device]:
    """Return the memory that a checkpoint needs, and its device; both are named as for the engine.

    Raises:
        ModelLoadError: the checkpoint is broken or does not fit.
    """
    import_classes(read_config(folder))
    weights = memory_estimate.read_shapes(check_weights(folder))
    chosen = choose_device(device)
    plan = replace(plan, dtype=choose_dtype(dtype, chosen))
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return memory_estimate.check_fit(str(folder), weights, config, plan, chosen), chosen
