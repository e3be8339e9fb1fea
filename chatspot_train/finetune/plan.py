"""What a run needs, before any weight is read: `chatspot train --plan FILE`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
)

from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.engine.loading import checkpoint
from chatspot_ros.engine.loading.model_classes import import_classes
from chatspot_ros.errors import ModelLoadError
from chatspot_train.finetune import memory_plan
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.model import (
    IMAGE_TOKEN,
    choose_parts,
    own_strings,
    read_tower_config,
    seen_layer,
)
from chatspot_train.finetune.prepare import with_adapters


def describe(settings: InstructSettings, shape: Path | None = None) -> str:
    """Return a table of what the run needs on each of memory_plan.MACHINES.

    `shape` is a config.json to use instead of the model's. Raises ModelLoadError.
    """
    sizes = memory_plan.sizes_of(meta_model(settings, shape))
    return memory_plan.table(sizes, settings)


def check_fit(settings: InstructSettings) -> None:
    """Raise PlanError where the run does not fit into this machine, or ModelLoadError."""
    machine = memory_plan.here(settings, int(os.environ.get("WORLD_SIZE", "1")))
    memory_plan.check_fit(memory_plan.sizes_of(meta_model(settings)), settings, machine)


def meta_model(settings: InstructSettings, shape: Path | None = None) -> Any:
    """Return the prepared model without memory for its weights. Raises ModelLoadError."""
    config = _config(settings.model, shape)
    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(
            f"the model cannot be built: {error}", value=settings.model.checkpoint or shape,
            remedy="use an image-text-to-text checkpoint that transformers knows",
        ) from error  # fmt: skip
    choose_parts(model, settings.learn)
    if settings.lora is None:
        return model
    rows = range(_new_rows(settings.model))
    return with_adapters(model, settings.lora, settings.learn, rows)


def _new_rows(model: ModelSettings) -> int:
    """Return how many rows of embedding and head learn beside adapters; see own_tokens."""
    spec = model.spec
    if spec is None and model.checkpoint is not None and Path(model.checkpoint).is_dir():
        folder = Path(model.checkpoint)
        spec = find_spec(folder.name, str(checkpoint.read_config(folder)["model_type"]), folder)
    if spec is not None and spec.dialect.name != "chatspot":
        return 0
    return len(set(own_strings(spec)))


def _config_in(folder: Path) -> Any:
    import_classes(checkpoint.read_config(folder))
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _config(model: ModelSettings, shape: Path | None) -> Any:
    try:
        if shape is not None:
            values = json.loads(shape.read_text(encoding="utf-8"))
            return AutoConfig.for_model(**values)
        if model.checkpoint is not None:
            return _config_in(checkpoint.find_folder(model.checkpoint, local_only=False))
        tower = read_tower_config(str(model.vision))
        config = LlavaConfig(
            vision_config=tower,
            text_config=AutoConfig.from_pretrained(str(model.language), trust_remote_code=False),
            **seen_layer(tower),
        )
    except (OSError, ValueError, TypeError, ModelLoadError) as error:
        problem = error.problem if isinstance(error, ModelLoadError) else str(error)
        raise ModelLoadError(
            f"the model's sizes cannot be read: {problem.strip().splitlines()[0]}",
            value=shape or model.checkpoint or f"{model.vision} and {model.language}",
            remedy="give the model's folder; to plan without it, a --shape such as "
            "config/train/chatspot_7b.json",
        ) from error
    text: Any = config.text_config
    text.vocab_size += len({*own_strings(model.spec), IMAGE_TOKEN})
    return config
