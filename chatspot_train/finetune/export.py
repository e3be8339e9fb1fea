"""Export of a trained model as a folder that the node loads.

`chatspot export --run DIR [--out DIR]` exports the last checkpoint of a stopped run; adapters are
merged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from chatspot_ros.core.model_spec import SPEC_FILE, PointingSpec
from chatspot_train.common.whole_checkpoints import whole_folder
from chatspot_train.evaluation.model_card import write_card
from chatspot_train.finetune.model import Start


def export_start(
    start: Start,
    folder: Path,
    training: dict[str, Any],
    dtype: torch.dtype = torch.float16,
    pointing: PointingSpec | None = None,
) -> Path:
    """Write weights in `dtype`, tokenizer, image processor, chat template, chatspot.yaml, the
    run's settings and losses (`training.json`) and the model card; return `folder`. `pointing` are
    the settings of a grounding head that is in the folder.

    The folder gets its name when all of it is written; an earlier one stays until then.
    """
    with whole_folder(folder) as part:
        _write(start, part, training, dtype, pointing)
    return folder


def _write(
    start: Start,
    folder: Path,
    training: dict[str, Any],
    dtype: torch.dtype,
    pointing: PointingSpec | None,
) -> None:
    model = start.model
    model.config.use_cache = True
    precision = str(dtype).removeprefix("torch.")
    state = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict=state)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = precision
    for part in (config, *config.values()):  # folders of this machine
        if isinstance(part, dict):
            part.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    start.tokenizer.chat_template = start.chat_template
    start.tokenizer.save_pretrained(folder)
    start.image_processor.save_pretrained(folder)
    # A calibration and a grounding head belong to the weights that they were made with.
    name = training.get("name") or start.spec.name
    new = start.spec.model_copy(update={"calibration": None, "pointing": pointing, "name": name})
    spec = new.model_dump(mode="json", exclude_defaults=True)
    (folder / SPEC_FILE).write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "training.json").write_text(json.dumps({**training, "name": name}, indent=1) + "\n")
    write_card(folder, {})
