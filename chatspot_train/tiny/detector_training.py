"""A detector on chatspot-tiny's detail path: what it shall say, its loss, and its checkpoint."""

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
from chatspot_train.tiny.vision_stage import generalised_iou

SPREAD = 0.12  # of a thing's sides: how wide the bell around its middle is
NARROWEST = 0.6  # the same in steps of the map
CORE = 0.3  # where the bell is higher, the edges are asked for
LEAST_SIDE = 0.02  # of the picture: a smaller thing is nobody's to find
LEAST_SHOWN = 0.35  # of a thing's box, where the window cuts it
UNSURE = 0.9  # so high is the bell of what may be found or not
AT_FIRST = -4.0  # the logit of every kind everywhere: next to nothing is a middle

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 as fractions of what is shown


def targets(
    truth: Truth, side: int, window: Window = (0.0, 0.0, 1.0, 1.0)
) -> tuple[Tensor, Tensor, Tensor]:
    """What the heads shall say at side x side places of the window of a picture.

    Returns the bells around the middles (kinds x side x side, 1 at the middle), the edges of the
    thing whose bell is highest (4 x side x side, relative to the place), and how much they count.
    What is hidden, small or cut too much to be asked about has a bell below 1: whether it is found
    costs nothing.
    """
    bells = torch.zeros(len(THING_KINDS), side, side)
    edges, weight = torch.zeros(4, side, side), torch.zeros(side, side)
    steps = (torch.arange(side) + 0.5) / side
    rows, columns = steps[:, None].expand(side, side), steps[None].expand(side, side)
    clear = {thing.id for thing in clear_things(truth)}
    for thing in truth.things:
        (x1, y1, x2, y2), shown = _shown(thing, truth, window)
        if min(x2 - x1, y2 - y1) < LEAST_SIDE:
            continue
        # The middle is a place, so that the bell reaches 1.
        middle = [
            (int(min(v * side, side - 1)) + 0.5) / side for v in ((x1 + x2) / 2, (y1 + y2) / 2)
        ]
        spread = [max(SPREAD * v, NARROWEST / side) for v in (x2 - x1, y2 - y1)]
        across, down = (
            (-0.5 * ((steps - m) / s) ** 2).exp() for m, s in zip(middle, spread, strict=True)
        )
        bell = down[:, None] * across[None]
        own = bells[THING_KINDS.index(thing.name)]
        if thing.id not in clear or shown < LEAST_SHOWN:
            torch.maximum(own, UNSURE * bell, out=own)
            continue
        torch.maximum(own, bell, out=own)
        core = torch.where(bell > CORE, bell, torch.zeros(()))
        core = core / core.sum()
        mine = core > weight
        weight[mine] = core[mine]
        here = torch.stack([x1 - columns, y1 - rows, x2 - columns, y2 - rows])
        edges[:, mine] = here[:, mine]
    return bells, edges, weight


def _shown(thing: Thing, truth: Truth, window: Window) -> tuple[Box, float]:
    """The thing's box within the window, in fractions of that, and which share of it that is."""
    wx1, wy1, wx2, wy2 = window
    x1, y1, x2, y2 = thing.box_xyxy_px
    x1, x2 = ((v / truth.width - wx1) / (wx2 - wx1) for v in (x1, x2))
    y1, y2 = ((v / truth.height - wy1) / (wy2 - wy1) for v in (y1, y2))
    a, b, c, d = (min(max(v, 0.0), 1.0) for v in (x1, y1, x2, y2))
    return (a, b, c, d), (c - a) * (d - b) / max((x2 - x1) * (y2 - y1), 1e-9)


def detector_loss(
    logits: Tensor, edges: Tensor, bells: Tensor, right: Tensor, weight: Tensor
) -> Tensor:
    """Of B x kinds x h x w scores and B x 4 x h x w edges.

    The focal loss of Law and Deng, "CornerNet" (2018), for the middles; the distance of the edges
    and generalised IoU for the boxes, every thing alike.
    """
    chance = logits.float().sigmoid().clamp(1e-4, 1 - 1e-4)
    peak = bells == 1
    hit = -((1 - chance) ** 2) * chance.log()
    miss = -((1 - bells) ** 4) * chance**2 * (1 - chance).log()
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


def start_heads(heads: DetectorHeads) -> None:
    """Begin with no thing anywhere: what a path that can see already gives is large."""
    nn.init.zeros_(heads.kinds.weight)
    nn.init.zeros_(heads.edges.weight)
    nn.init.constant_(heads.kinds.bias, AT_FIRST)  # type: ignore[arg-type]


def detector_config(vision: Any, detail_of: str) -> DetailDetectorConfig:
    """The configuration of a detector on the detail path of a vision tower."""
    names = dict(enumerate(THING_KINDS))
    return DetailDetectorConfig(
        image_size=vision.image_size, patch_size=vision.patch_size, hidden_size=vision.hidden_size,
        num_attention_heads=vision.num_attention_heads, detail_widths=list(vision.detail_widths),
        detail_blocks=list(vision.detail_blocks), head_width=vision.head_width,
        thing_kinds=vision.thing_kinds,
        id2label=names, label2id={name: k for k, name in names.items()}, detail_of=detail_of,
    )  # fmt: skip


def write_detector(detector: DetailDetector, out: Path) -> None:
    """The checkpoint with its image processor; fp16."""
    detector.half().save_pretrained(out)
    size = int(detector.config.image_size)  # type: ignore[arg-type]
    RTDetrImageProcessor(
        size={"height": size, "width": size}, do_normalize=True, image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(out)  # fmt: skip
    detector.float()
