"""A tower of another kind than CLIP, joined to a language model and trained with cuts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.chatspot_small.modeling_vision import (
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
)
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_train.finetune.config import InstructSettings, ModelSettings
from chatspot_train.finetune.model import Start, load_start
from chatspot_train.finetune.run import run

SPEC = {
    "name": "joined",
    "dialect": {"name": "chatspot", "lead": " ", "number_tokens": True},
    "geometry": {"mode": "stretch", "width": 128, "height": 64},
    "crop": {"width": 64, "height": 64, "context": 0.3},
    "prompt_style": "tags",
}


@pytest.fixture(scope="module")
def joined(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a small EfficientNet-Lite and a tiny Llama."""
    folder = tmp_path_factory.mktemp("lite")
    torch.manual_seed(3)
    config = EfficientNetLiteConfig(
        image_size=64, stem_width=8, widths=[8, 8, 8, 8, 8, 8, 8], depths=[1] * 7,
        expansions=[1, 2, 2, 2, 2, 2, 2],
    )  # fmt: skip
    EfficientNetLiteModel(config).save_pretrained(folder)
    preparation = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False,
                   "size": {"height": 64, "width": 64}}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return {"vision": str(folder), "language": parts["language"], "spec": SPEC}


@pytest.fixture(scope="module")
def start(joined: dict[str, Any]) -> Start:
    return load_start(ModelSettings.model_validate(joined))


def test_near_numbers_begin_alike(start: Start) -> None:
    numbers = start.spec.dialect.number_strings()
    rows = [start.tokenizer.vocab[one] for one in numbers]
    table = start.model.get_input_embeddings().weight.detach()[rows].float()
    apart = torch.cdist(table, table)
    assert len(rows) > 100
    middle = len(rows) // 2
    near, far = apart[middle, middle + 1], apart[middle, middle + 3 :]
    assert near < far.min()
    assert near > 0


@pytest.mark.parametrize("base", ["float32", "bfloat16"])
def test_what_a_joined_tower_learned_is_served(
    base: str, joined: dict[str, Any], painted: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    tower = EfficientNetLiteModel.from_pretrained(joined["vision"])
    before = {k: v.clone() for k, v in tower.state_dict().items()}
    settings = InstructSettings.model_validate({
        "recipe": "instruct", "out": tmp_path / "run", "model": joined, "data": [painted(6)],
        "learn": ["projection", "language", "vision"], "packed": True, "look_twice": 1.0,
        "base": base,
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.0},
        "optim": {"learning_rate": 1e-2, "projection_rate": 2e-2, "batch": 2, "per_device": 2,
                  "epochs": 2, "workers": 0, "bf16": False, "progress": False, "warmup": 0.0,
                  "gradient_checkpointing": False},
    })  # fmt: skip
    folder = run(settings)
    after = load_start(ModelSettings(checkpoint=str(folder))).model.model.vision_tower.state_dict()
    moved = {k for k, v in after.items() if not torch.allclose(v, before[k], atol=1e-3)}
    assert moved
    # The statistics stay ImageNet's; bfloat16 rounds them.
    statistics = [name for name in after if "running" in name]
    assert all(torch.allclose(after[k], before[k], rtol=1e-2, atol=1e-2) for k in statistics)
    engine = Engine.load(str(folder), device="cpu")
    picture = np.random.default_rng(2).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    for shape, vectors in (((90, 160, 3), 2), ((160, 90, 3), 2)):
        scene = engine.prepare(np.resize(picture, shape))
        assert scene.image_tokens == vectors
    reply = engine.answer(scene, Question("What is this?", (Region.box(3, 5, 60, 80),)))
    assert reply.looked_twice
