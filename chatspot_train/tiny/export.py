"""Export of a trained chatspot-tiny as a folder that the node loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.tokenizer import DECIMALS, build_processor


def export(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    settings: TinySettings,
    folder: Path,
) -> Path:
    """Write the model in fp16, tokenizer, processor, chatspot.yaml and the settings of the run.

    Returns `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.to(torch.float16) for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float16"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shape = settings.vision
    build_processor(tokenizer, shape.image_size, shape.patch_size).save_pretrained(folder)
    spec = {
        "name": "chatspot-tiny",
        "dialect": {"name": "chatspot", "decimals": DECIMALS, "separator": " ", "lead": " ",
                    "max_vertices": 8},
        "geometry": {"mode": "stretch", "width": shape.image_size, "height": shape.image_size},
        "prompt_style": "tags",
        "max_new_tokens": 96,
    }  # fmt: skip
    (folder / "chatspot.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    public = settings.model_dump(mode="json", exclude={"out": True, "data": {"folder"}})
    if settings.detector is not None:
        public["detector"] = settings.detector.name
    if settings.start is not None:
        public["start"] = settings.start.name
        known = settings.start / "training.json"
        if known.is_file():
            public["before"] = json.loads(known.read_text(encoding="utf-8"))
    (folder / "training.json").write_text(json.dumps(public, indent=1) + "\n")
    return folder
