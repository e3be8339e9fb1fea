"""The detector on chatspot-tiny's detail path: its targets, its loss and its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import RTDetrImageProcessor

from chatspot_ros.chatspot_tiny.detection_features import DetectorHeads
from chatspot_ros.chatspot_tiny.modeling_detector import (
    DetailDetector,
    DetailDetectorConfig,
)
from chatspot_sim.asking import clear_things
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Thing, Truth
from chatspot_train.data.image_augment import Window
from chatspot_train.tiny.images import MEAN, STD
from chatspot_train.tiny.patch_heads import generalised_iou

SPREAD = 0.12  # of a thing's sides: standard deviation of the Gaussian at its centre
MIN_SPREAD = 0.6  # the same in steps of the map, at least
CORE = 0.3  # the edges are trained where the heatmap is higher
MIN_SIDE = 0.02  # of the image: smaller things are not targets
MIN_SHOWN = 0.35  # of the area of a box that the window cuts
UNSURE = 0.9  # peak of the heatmap of a thing that may be found or not
INITIAL_LOGIT = -4.0  # of every kind everywhere: almost no place is a centre

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 as fractions of the window


def detector_targets(
    truth: Truth, side: int, window: Window = (0.0, 0.0, 1.0, 1.0)
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the targets of the heads on a side x side grid over the window of an image.

    They are the heatmaps (kinds x side x side, 1 at a thing's centre), the edges of the thing with
    the highest heatmap (4 x side x side, relative to the place), and the weights of these. A thing
    too hidden, small or cut to ask about has a heatmap below 1: it costs nothing, found or not.
    """
    heatmaps = torch.zeros(len(THING_KINDS), side, side)
    edges, weight = torch.zeros(4, side, side), torch.zeros(side, side)
    steps = (torch.arange(side) + 0.5) / side
    rows, columns = steps[:, None].expand(side, side), steps[None].expand(side, side)
    clear = {thing.id for thing in clear_things(truth)}
    for thing in truth.things:
        (x1, y1, x2, y2), shown = _shown(thing, truth, window)
        if min(x2 - x1, y2 - y1) < MIN_SIDE:
            continue
        # The centre is a place of the grid, so that the heatmap reaches 1.
        middle = [
            (int(min(v * side, side - 1)) + 0.5) / side for v in ((x1 + x2) / 2, (y1 + y2) / 2)
        ]
        spread = [max(SPREAD * v, MIN_SPREAD / side) for v in (x2 - x1, y2 - y1)]
        across, down = (
            (-0.5 * ((steps - m) / s) ** 2).exp() for m, s in zip(middle, spread, strict=True)
        )
        heatmap = down[:, None] * across[None]
        own = heatmaps[THING_KINDS.index(thing.name)]
        if thing.id not in clear or shown < MIN_SHOWN:
            torch.maximum(own, UNSURE * heatmap, out=own)
            continue
        torch.maximum(own, heatmap, out=own)
        core = torch.where(heatmap > CORE, heatmap, torch.zeros(()))
        core = core / core.sum()
        mine = core > weight
        weight[mine] = core[mine]
        here = torch.stack([x1 - columns, y1 - rows, x2 - columns, y2 - rows])
        edges[:, mine] = here[:, mine]
    return heatmaps, edges, weight


def _shown(thing: Thing, truth: Truth, window: Window) -> tuple[Box, float]:
    """Return the box within the window, as fractions of it, and the share of its area left."""
    wx1, wy1, wx2, wy2 = window
    x1, y1, x2, y2 = thing.box_xyxy_px
    x1, x2 = ((v / truth.width - wx1) / (wx2 - wx1) for v in (x1, x2))
    y1, y2 = ((v / truth.height - wy1) / (wy2 - wy1) for v in (y1, y2))
    a, b, c, d = (min(max(v, 0.0), 1.0) for v in (x1, y1, x2, y2))
    return (a, b, c, d), (c - a) * (d - b) / max((x2 - x1) * (y2 - y1), 1e-9)


def detector_loss(
    logits: Tensor, edges: Tensor, heatmaps: Tensor, right: Tensor, weight: Tensor
) -> Tensor:
    """Return the loss of B x kinds x h x w scores and B x 4 x h x w edges.

    It is the focal loss of Law and Deng, "CornerNet" (2018), for the centres, and the distance of
    the edges and the generalised IoU for the boxes, where every thing has the same weight.
    """
    chance = logits.float().sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = heatmaps == 1
    hit = -((1 - chance) ** 2) * chance.log()
    miss = -((1 - heatmaps) ** 4) * chance**2 * (1 - chance).log()
    things = peak.sum().clamp(1)
    middles = torch.where(peak, hit, miss).sum() / things
    here = weight > 0
    if not bool(here.any()):
        return middles
    guess = edges.float().permute(0, 2, 3, 1)[here]
    true, share = right.permute(0, 2, 3, 1)[here], weight[here] / weight.sum()
    off = ((guess - true).abs().mean(-1) * share).sum()
    overlap = (generalised_iou(guess, true) * share).sum()
    return middles + 4 * off + 2 * (1 - overlap)


def init_heads(heads: DetectorHeads) -> None:
    """Initialise the heads to find no thing anywhere: a trained path's outputs are large."""
    nn.init.zeros_(heads.kinds.weight)
    nn.init.zeros_(heads.edges.weight)
    nn.init.constant_(heads.kinds.bias, INITIAL_LOGIT)  # type: ignore[arg-type]


def detector_config(vision: Any, detail_of: str) -> DetailDetectorConfig:
    """Return the configuration of a detector on the detail path of a vision tower."""
    names = dict(enumerate(THING_KINDS))
    return DetailDetectorConfig(
        image_size=vision.image_size, patch_size=vision.patch_size, hidden_size=vision.hidden_size,
        num_attention_heads=vision.num_attention_heads, detail_widths=list(vision.detail_widths),
        detail_blocks=list(vision.detail_blocks), head_width=vision.head_width,
        thing_kinds=vision.thing_kinds,
        id2label=names, label2id={name: k for k, name in names.items()}, detail_of=detail_of,
    )  # fmt: skip


def write_detector(detector: DetailDetector, out: Path) -> None:
    """Write the checkpoint in fp16, with its image processor."""
    detector.half().save_pretrained(out)
    size = int(detector.config.image_size)  # type: ignore[arg-type]
    RTDetrImageProcessor(
        size={"height": size, "width": size}, do_normalize=True, image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(out)  # fmt: skip
    detector.float()
