"""First stage of chatspot-tiny: a CLIP vision tower that learns patch by patch what is there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import CLIPVisionConfig, CLIPVisionModel

from chatspot_ros.chatspot_tiny.modeling_vision import DetailVisionConfig
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Truth
from chatspot_train.common.labels import IGNORE
from chatspot_train.common.trainer import run_stage
from chatspot_train.data.image_augment import Window, crop, draw_window, recolour
from chatspot_train.tiny.config import TinySettings, VisionShape
from chatspot_train.tiny.cpu_attention import PLAIN
from chatspot_train.tiny.images import printed, resized, to_pixels, window_around
from chatspot_train.tiny.patch_labels import (
    CELLS,
    FIELDS,
    GLYPHS,
    PARTS,
    DenseLabels,
    dense_labels,
    unknown_labels,
)
from chatspot_train.tiny.synthetic_text_pages import draw_page
from chatspot_train.tiny.warm_start import start_tower

# A page has more print than a hundred kitchens; each of its patches counts so much.
PAGE_WEIGHT = 0.15
PAGES_HARDEST = 0.85  # share of the stage after which pages are as hard as they get
FIELD_WEIGHTS = [0.6 if name in ("word", "tens", "ones") else 0.3 for name in FIELDS]


class PatchTeacher(nn.Module):
    """The heads that ask a vector of each patch what stands there; thrown away after the stage."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, len(THING_KINDS) + 1)
        self.fields = nn.Linear(width, sum(FIELDS.values()))
        self.box = nn.Linear(width, 4)
        self.parts = nn.Linear(width, len(PARTS))
        self.place = nn.Linear(width, 2)
        self.row_and_column = nn.Linear(width, 2 * side)
        self.cells = nn.Linear(width, CELLS * CELLS * (len(THING_KINDS) + 1))
        self.glyphs = nn.Linear(width, len(GLYPHS))
        self.middle = nn.Linear(width, 1)

    def ask(
        self, hidden: Tensor, *, kinds: Tensor, fields: Tensor, box: Tensor, parts: Tensor,
        weight: Tensor, cells: Tensor, glyphs: Tensor, middle: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Ask B x P x width vectors for the fields of DenseLabels, given as batched tensors.

        Returns {"loss": ..., "logits": how many of each field were right, and were asked}.
        """
        hidden = self.norm(hidden)
        kind_logits = self.kinds(hidden).float()
        field_logits = self.fields(hidden).float()
        weight = weight / weight.mean()
        loss = -((kinds * kind_logits.log_softmax(-1)).sum(-1) * weight).mean()
        shown = (kinds[..., 0] < 0.5) & (kinds.sum(-1) > 0)
        hits = [kind_logits.argmax(-1).eq(kinds.argmax(-1))[shown]]
        for k, logits in enumerate(field_logits.split(list(FIELDS.values()), dim=-1)):
            target = fields[..., k]
            known = target != IGNORE
            hits.append(logits.argmax(-1).eq(target)[known])
            if bool(known.any()):
                costs = F.cross_entropy(logits[known], target[known], reduction="none")
                loss = loss + FIELD_WEIGHTS[k] * (costs * weight[known]).sum() / weight[known].sum()
        loss = loss + self._box_loss(hidden, box, middle, weight)
        seen = ~parts.isnan().any(-1)
        loss = loss + F.binary_cross_entropy_with_logits(
            self.parts(hidden[seen]).float(), parts[seen], reduction="sum"
        ) / max(1, parts[seen].numel())
        loss = loss + self._cell_loss(hidden, cells, weight)
        read, read_hits = self._glyph_loss(hidden, glyphs, weight)
        loss, hits = loss + read, [*hits, read_hits]
        sums = torch.stack([h.float().sum() for h in hits])
        counts = torch.tensor([float(h.numel()) for h in hits])
        return {"loss": loss, "logits": torch.stack([sums, counts])[None]}

    def _box_loss(self, hidden: Tensor, box: Tensor, middle: Tensor, weight: Tensor) -> Tensor:
        """Where the patch's thing ends, and whether it is the thing's middle patch.

        Both the distance of the edges and the overlap count, small things as much as large ones:
        the mean distance alone leaves small boxes off by a patch.
        """
        here = ~box.isnan().any(-1)
        if not bool(here.any()):
            return hidden.sum() * 0
        shown = hidden[here]
        guess, right, share = self.box(shown).float(), box[here], weight[here]
        share = share / share.sum()
        edges = ((guess - right).abs().mean(-1) * share).sum()
        overlap = (generalised_iou(guess, right) * share).sum()
        middles = F.binary_cross_entropy_with_logits(
            self.middle(shown).float()[..., 0], middle[here], reduction="none"
        )
        return 4.0 * edges + 0.5 * (1 - overlap) + 0.5 * (middles * share).sum()

    def _cell_loss(self, hidden: Tensor, cells: Tensor, weight: Tensor) -> Tensor:
        """What stands in each quarter of a patch: a point may fall beside what fills most of it."""
        scores = self.cells(hidden).float().unflatten(-1, (CELLS * CELLS, -1))
        costs = F.cross_entropy(
            scores.flatten(0, 2), cells.flatten(), ignore_index=IGNORE, reduction="none"
        )
        known = (cells[..., 0] != IGNORE).float() * weight
        return 0.5 * (costs.reshape(cells.shape).mean(-1) * known).sum() / known.sum().clamp(1)

    def _glyph_loss(self, hidden: Tensor, glyphs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Which letters and digits touch a patch: print is read glyph by glyph first.

        Returns besides whether each patch with a single glyph got it right.
        """
        here = glyphs.nan_to_num().sum(-1) > 0
        if not bool(here.any()):
            return hidden.sum() * 0, torch.zeros(0)
        right, share = glyphs[here], weight[here]
        scores = self.glyphs(hidden[here]).float()
        count = right.sum(-1)
        costs = -(right * scores.log_softmax(-1)).sum(-1) / count
        hits = scores.argmax(-1).eq(right.argmax(-1))[count == 1]
        return 0.7 * (costs * share).sum() / share.sum(), hits

    def _place_loss(self, hidden: Tensor) -> Tensor:
        """Where each patch is must stay readable, or a language model cannot look a region up."""
        count = hidden.shape[1]
        side = math.isqrt(count)
        centres = patch_centres(count).to(hidden.device)
        off = (self.place(hidden).float() - centres).abs().mean()
        number = (centres * side).long().T.expand(len(hidden), -1, -1)
        guesses = self.row_and_column(hidden).float().reshape(len(hidden), count, 2, side)
        return 5.0 * off + 0.2 * F.cross_entropy(guesses.permute(0, 3, 2, 1), number)


class VisionTeacher(PatchTeacher):
    """The vision tower with its heads.

    forward takes pixel_values B x 3 x H x W and the fields of DenseLabels as batched tensors.
    """

    def __init__(self, shape: VisionShape) -> None:
        config = vision_config(shape)
        super().__init__(config.hidden_size, shape.image_size // shape.patch_size)
        self.tower = CLIPVisionModel(config)
        start_positions(self.tower, config)

    def forward(self, pixel_values: Tensor, **labels: Tensor) -> dict[str, Tensor]:
        """See `ask`."""
        hidden = self.tower(pixel_values, output_hidden_states=True).hidden_states[-1][:, 1:]
        found = self.ask(hidden, **labels)
        found["loss"] = found["loss"] + self._place_loss(self.norm(hidden))
        return found


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """Generalised IoU of N x 4 boxes x1, y1, x2, y2, in [-1, 1]; a box inside out counts as empty.

    Rezatofighi et al., "Generalized Intersection over Union" (2019).
    """
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(0).prod(-1)
    areas = sum((boxes[:, 2:] - boxes[:, :2]).clamp(0).prod(-1) for boxes in (one, other))
    union = (areas - shared).clamp(1e-9)
    outer_low = torch.minimum(one[:, :2], other[:, :2])
    outer_high = torch.maximum(one[:, 2:], other[:, 2:])
    hull = (outer_high - outer_low).clamp(1e-6).prod(-1)
    return shared / union - (hull - union).clamp(0) / hull


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
    resumes sees the same data. `pages` is the share of pages of print among the pictures, which get
    harder up to PAGES_HARDEST of the items.
    """

    def __init__(
        self, folder: Path, shape: VisionShape, items: int, seed: int, augment: bool,
        pages: float = 0.0,
    ) -> None:  # fmt: skip
        self.kitchens = RenderedKitchens(folder)
        self.size, self.side = shape.image_size, shape.image_size // shape.patch_size
        self.items, self.seed, self.augment, self.pages = items, seed, augment, pages

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        if rng.random() < self.pages:
            return self._page(rng, min(1.0, index / (PAGES_HARDEST * self.items)))
        rgb, labels, truth, window = self._picture(rng, index)
        if self.augment:
            rgb = recolour(rgb, rng)
        return self._item(rgb, dense_labels(truth, labels, self.side, window))

    def _picture(
        self, rng: np.random.Generator, index: int
    ) -> tuple[Any, NDArray[np.uint8], Truth, Window]:
        """A picture of the wanted size in its own colours, its labels and truth, and which part of
        it is shown."""
        k = int(rng.integers(len(self.kitchens))) if self.augment else index % len(self.kitchens)
        rgb, labels, truth = self.kitchens.rgb(k), self.kitchens.labels(k), self.kitchens.truth(k)
        window = (0.0, 0.0, 1.0, 1.0)
        if self.augment:
            chance = rng.random()
            if chance < 0.3:
                rgb, labels, window = crop(rgb, labels, draw_window(rng))
            elif chance < 0.5 and (print_ := printed(truth)):
                box = print_[int(rng.integers(len(print_)))]
                rgb, labels, window = crop(rgb, labels, window_around(box, rng))
        rgb = resized(rgb, self.size)
        size = (self.size, self.size)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        return rgb, labels, truth, window

    def _page(self, rng: np.random.Generator, hardness: float) -> dict[str, Tensor]:
        rgb, glyphs = draw_page(rng, self.size, self.side, hardness)
        found = unknown_labels(self.side)
        found.glyphs[:] = glyphs
        found.weight[:] = PAGE_WEIGHT
        return self._item(rgb, found)

    def _pixels(self, rgb: Any) -> Tensor:
        return to_pixels(rgb)

    def _item(self, rgb: Any, found: DenseLabels) -> dict[str, Tensor]:
        return {
            "pixel_values": self._pixels(rgb),
            "kinds": torch.from_numpy(found.kinds), "fields": torch.from_numpy(found.fields),
            "box": torch.from_numpy(found.box), "parts": torch.from_numpy(found.parts),
            "weight": torch.from_numpy(found.weight), "cells": torch.from_numpy(found.cells),
            "glyphs": torch.from_numpy(found.glyphs), "middle": torch.from_numpy(found.middle),
        }  # fmt: skip


def vision_config(shape: VisionShape) -> CLIPVisionConfig:
    """The tower's transformers configuration; a DetailVisionConfig where it has a detail path."""
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


def hit_rates(prediction: Any) -> dict[str, float]:
    """Share of patches right, for the kind of thing and for every field, from the hit counts."""
    names = ["kind", *FIELDS, "glyph"]
    sums, counts = np.asarray(prediction.predictions).reshape(-1, 2, len(names)).sum(0)
    return {name: float(s / c) for name, s, c in zip(names, sums, counts, strict=True) if c}


def train_vision(settings: TinySettings) -> CLIPVisionModel:
    """Run the stage, or go on with it; returns the trained tower, without a detail path."""
    stage, shape = settings.vision_stage, settings.vision
    torch.manual_seed(stage.seed if stage is not None else 0)
    model = VisionTeacher(shape)
    if settings.start is not None:
        start_tower(model.tower, settings.start)
    if stage is None:
        return model.tower
    data = PatchPictures(
        settings.data.folder / "train", shape, stage.steps * stage.batch, stage.seed, augment=True,
        pages=settings.pages,
    )  # fmt: skip
    val = settings.data.folder / "val"
    held_out = PatchPictures(val, shape, len(RenderedKitchens(val)), stage.seed, augment=False)
    run_stage(model, data, held_out, stage, settings.out / "vision", metrics=hit_rates)
    return model.tower
