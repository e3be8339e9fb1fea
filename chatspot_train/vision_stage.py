"""First stage of chatspot-tiny: a CLIP vision tower that learns patch by patch what is there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import CLIPVisionConfig, CLIPVisionModel

from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.dense_labels import FIELDS, IGNORE, PARTS, DenseLabels, dense_labels
from chatspot_train.settings import TinySettings, VisionShape
from chatspot_train.staging import run_stage

MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)


class VisionTeacher(nn.Module):
    """The vision tower with heads that are thrown away after this stage.

    forward takes pixel_values B x 3 x H x W and the fields of DenseLabels as batched tensors;
    returns {"loss": ..., "logits": P-wise kind and field scores}.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.tower = CLIPVisionModel(config)
        start_positions(self.tower, config)
        width = config.hidden_size
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, len(THING_KINDS) + 1)
        self.fields = nn.Linear(width, sum(FIELDS.values()))
        self.box = nn.Linear(width, 4)
        self.parts = nn.Linear(width, len(PARTS))
        self.place = nn.Linear(width, 2)

    def forward(
        self, pixel_values: Tensor, kinds: Tensor, fields: Tensor, box: Tensor, parts: Tensor
    ) -> dict[str, Tensor]:
        hidden = self.tower(pixel_values, output_hidden_states=True).hidden_states[-1][:, 1:]
        hidden = self.norm(hidden)
        kind_logits = self.kinds(hidden).float()
        field_logits = self.fields(hidden).float()
        loss = -(kinds * kind_logits.log_softmax(-1)).sum(-1).mean()
        hits = [kind_logits.argmax(-1).eq(kinds.argmax(-1))[kinds[..., 0] < 0.5]]
        for k, logits in enumerate(field_logits.split(list(FIELDS.values()), dim=-1)):
            target = fields[..., k]
            known = target != IGNORE
            hits.append(logits.argmax(-1).eq(target)[known])
            if bool(known.any()):
                loss = loss + 0.3 * F.cross_entropy(logits[known], target[known])
        here = ~box.isnan().any(-1)
        # Where each patch is must stay readable, or a language model cannot look a region up.
        place = self.place(hidden).float()
        loss = loss + 5.0 * (place - patch_centres(place.shape[1])).abs().mean()
        if bool(here.any()):
            loss = loss + 2.0 * (self.box(hidden).float()[here] - box[here]).abs().mean()
        loss = loss + F.binary_cross_entropy_with_logits(self.parts(hidden).float(), parts)
        sums = torch.stack([h.float().sum() for h in hits])
        counts = torch.tensor([float(h.numel()) for h in hits])
        return {"loss": loss, "logits": torch.stack([sums, counts])[None]}


def patch_centres(patches: int) -> Tensor:
    """x, y of the middle of each of a square grid's patches as fractions, row by row; P x 2."""
    side = math.isqrt(patches)
    middle = (torch.arange(side) + 0.5) / side
    rows, columns = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([columns, rows], -1).reshape(-1, 2)


def start_positions(tower: CLIPVisionModel, config: CLIPVisionConfig) -> None:
    """Start the position table from sines and cosines of row and column; CLS keeps its own."""
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


class PatchPictures(Dataset[dict[str, Tensor]]):
    """Rendered kitchens with their patch labels; draws a crop and colours anew for each item.

    Item k is picture k modulo their number, drawn from the random stream (seed, k), so a run that
    resumes sees the same data.
    """

    def __init__(self, folder: Path, side: int, items: int, seed: int, augment: bool) -> None:
        self.kitchens = RenderedKitchens(folder)
        self.side, self.items, self.seed, self.augment = side, items, seed, augment

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        k = int(rng.integers(len(self.kitchens))) if self.augment else index % len(self.kitchens)
        rgb, labels, truth = self.kitchens.rgb(k), self.kitchens.labels(k), self.kitchens.truth(k)
        window = (0.0, 0.0, 1.0, 1.0)
        if self.augment:
            if rng.random() < 0.6:
                rgb, labels, window = crop(rgb, labels, rng)
            rgb = recolour(rgb, rng)
        found: DenseLabels = dense_labels(truth, labels, self.side, window)
        return {
            "pixel_values": to_pixels(rgb),
            "kinds": torch.from_numpy(found.kinds), "fields": torch.from_numpy(found.fields),
            "box": torch.from_numpy(found.box), "parts": torch.from_numpy(found.parts),
        }  # fmt: skip


def to_pixels(rgb: Any) -> Tensor:
    """uint8 H x W x 3 RGB to normalised float 3 x H x W, as the model's processor does."""
    values = (np.asarray(rgb, np.float32) / 255.0 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32))


def crop(rgb: Any, labels: Any, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """A window of 60 to 100 % of the picture, stretched back to the full size."""
    side = rgb.shape[0]
    w, h = (int(v) for v in side * rng.uniform(0.6, 1.0, 2))
    x, y = int(rng.integers(side - w + 1)), int(rng.integers(side - h + 1))
    rgb = cv2.resize(rgb[y : y + h, x : x + w], (side, side), interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(
        labels[y : y + h, x : x + w], (side, side), interpolation=cv2.INTER_NEAREST
    )  # fmt: skip
    return rgb, labels, (x / side, y / side, (x + w) / side, (y + h) / side)


def recolour(rgb: Any, rng: np.random.Generator) -> Any:
    """Small changes of brightness, contrast and white balance, and grain."""
    gain = rng.normal(1.0, 0.10) * rng.normal(1.0, 0.03, 3)
    values = np.asarray(rgb, np.float32) * gain.astype(np.float32) + np.float32(rng.normal(0, 8))
    if rng.random() < 0.3:
        values += rng.normal(0, rng.uniform(1, 6), values.shape).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.uint8)


def vision_config(shape: VisionShape) -> CLIPVisionConfig:
    """The tower's transformers configuration."""
    config = CLIPVisionConfig(
        image_size=shape.image_size, patch_size=shape.patch_size, hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        intermediate_size=shape.mlp_size, projection_dim=shape.hidden_size,
        hidden_act="gelu",
    )  # fmt: skip
    # Its backward pass on a CPU is faster than that of the fused attention.
    config._attn_implementation = "eager"
    return config


def hit_rates(prediction: Any) -> dict[str, float]:
    """Share of patches right, for the kind of thing and for every field, from the hit counts."""
    sums, counts = np.asarray(prediction.predictions).reshape(-1, 2, len(FIELDS) + 1).sum(0)
    names = ["kind", *FIELDS]
    return {name: float(s / c) for name, s, c in zip(names, sums, counts, strict=True) if c}


def train_vision(settings: TinySettings) -> VisionTeacher:
    """Run the stage, or go on with it; returns the trained tower with its heads."""
    torch.manual_seed(settings.vision_stage.seed)
    stage, shape = settings.vision_stage, settings.vision
    model = VisionTeacher(vision_config(shape))
    side = shape.image_size // shape.patch_size
    data = PatchPictures(
        settings.data.folder / "train", side, stage.steps * stage.batch, stage.seed, augment=True
    )
    val = settings.data.folder / "val"
    held_out = PatchPictures(val, side, len(RenderedKitchens(val)), stage.seed, augment=False)
    run_stage(model, data, held_out, stage, settings.out / "vision", metrics=hit_rates)
    return model
