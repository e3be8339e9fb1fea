"""First stage of chatspot-tiny: a CLIP vision tower that learns the labels of every patch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionConfig
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.common.trainer import run_stage
from chatspot_train.tiny.config import TinySettings, VisionShape
from chatspot_train.tiny.cpu_attention import PLAIN
from chatspot_train.tiny.patch_dataset import PatchDataset
from chatspot_train.tiny.patch_heads import PatchHeads, hit_rates
from chatspot_train.tiny.warm_start import load_tower


class VisionPretraining(PatchHeads):
    """The vision tower with the heads that train it."""

    def __init__(self, shape: VisionShape) -> None:
        config = vision_config(shape)
        super().__init__(config.hidden_size, shape.image_size // shape.patch_size)
        self.tower = CLIPVisionModel(config)
        init_positions(self.tower, config)

    def forward(self, pixel_values: Tensor, **labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and hits of B x 3 x H x W pixels; `labels` are PatchLabels, batched."""
        hidden = self.tower(pixel_values, output_hidden_states=True).hidden_states[-1][:, 1:]
        found = self.patch_loss(hidden, **labels)
        found["loss"] = found["loss"] + self.position_loss(self.norm(hidden))
        return found


def init_positions(tower: CLIPVisionModel, config: CLIPVisionConfig) -> None:
    """Set the position embeddings of all patches to sines and cosines of row and column."""
    side = int(math.sqrt(tower.embeddings.position_embedding.num_embeddings - 1))
    quarter = config.hidden_size // 4
    rates = torch.pi * 2.0 ** torch.linspace(-1, 3, quarter)
    place = (torch.arange(side) + 0.5) / side
    angles = place[:, None] * rates
    one = torch.cat([angles.sin(), angles.cos()], 1)
    grid = torch.cat(
        [one[None].expand(side, -1, -1), one[:, None].expand(-1, side, -1)], -1
    ).reshape(side * side, -1)
    with torch.no_grad():
        tower.embeddings.position_embedding.weight[1:] = 0.3 * grid


def vision_config(shape: VisionShape) -> CLIPVisionConfig:
    """Return the tower's configuration: a DetailVisionConfig where it has a detail path."""
    plain: dict[str, Any] = {
        "image_size": shape.image_size, "patch_size": shape.patch_size,
        "hidden_size": shape.hidden_size, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "intermediate_size": shape.mlp_size,
        "projection_dim": shape.hidden_size, "hidden_act": "gelu",
    }  # fmt: skip
    config = (
        CLIPVisionConfig(**plain)
        if shape.detail_widths is None
        else DetailVisionConfig(
            **plain,
            detail_widths=list(shape.detail_widths),
            thing_kinds=len(THING_KINDS) if shape.things else 0,
        )
    )
    config._attn_implementation = PLAIN
    return config


def train_vision(settings: TinySettings) -> CLIPVisionModel:
    """Run or resume the stage and return the trained tower, without a detail path."""
    stage, shape = settings.vision_stage, settings.vision
    torch.manual_seed(stage.seed if stage is not None else 0)
    model = VisionPretraining(shape)
    if settings.start is not None:
        load_tower(model.tower, settings.start)
    if stage is None:
        return model.tower
    data = PatchDataset(
        settings.data.folder / "train", shape, stage.steps * stage.batch, stage.seed, augment=True,
        pages=settings.pages,
    )  # fmt: skip
    val = settings.data.folder / "val"
    held_out = PatchDataset(val, shape, len(RenderedKitchens(val)), stage.seed, augment=False)
    run_stage(model, data, held_out, stage, settings.out / "vision", metrics=hit_rates,
              made_from=settings.inputs("vision_stage"))  # fmt: skip
    return model.tower
