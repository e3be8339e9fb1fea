"""A detector on chatspot-tiny's detail path: its heads alone learn, on maps computed once.

`python -m chatspot_train.detector_stage --kitchens FOLDER --out DIR` trains it on rendered kitchens
(`FOLDER/train`, `FOLDER/val` of chatspot_sim.dataset), writes a checkpoint that `detector_node`
loads, and prints its average precision on those of validation.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import RTDetrImageProcessor

from chatspot_ros.engine.detail_detector import (
    DetailDetector,
    DetailDetectorConfig,
    DetectorHeads,
)
from chatspot_ros.engine.vision import DetailNet
from chatspot_sim.asking import clear_things
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Truth
from chatspot_train.pictures import MEAN, STD, recolour, resized, to_pixels
from chatspot_train.suites.precision import average_precision
from chatspot_train.vision_stage import generalised_iou
from chatspot_train.warm_start import load_start

SPREAD = 0.12  # of a thing's sides: how wide the bell around its middle is
NARROWEST = 0.6  # the same in steps of the map
CORE = 0.3  # where the bell is higher, the edges are asked for
LEAST_SIDE = 0.02  # of the picture: a smaller thing is nobody's to find
AT_FIRST = -4.0  # the logit of every kind everywhere: next to nothing is a middle
SEED = 23


@dataclass(frozen=True)
class Maps:
    """What the path gives for some pictures, fp16, with each one's truth."""

    fine: Tensor
    coarse: Tensor
    truths: list[Truth]


@torch.inference_mode()
def compute_maps(net: DetailNet, kitchens: RenderedKitchens, size: int, recoloured: bool) -> Maps:
    """The path's last two maps of every picture."""
    fine, coarse = [], []
    for first in tqdm(range(0, len(kitchens), 16), desc="maps"):
        pictures = []
        for k in range(first, min(first + 16, len(kitchens))):
            rgb = resized(kitchens.rgb(k), size)
            if recoloured:
                rgb = recolour(rgb, np.random.default_rng([SEED, k]))
            pictures.append(to_pixels(rgb))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net.maps(torch.stack(pictures))
        fine.append(found[-2].to(torch.bfloat16))
        coarse.append(found[-1].to(torch.bfloat16))
    truths = [kitchens.truth(k) for k in range(len(kitchens))]
    return Maps(torch.cat(fine), torch.cat(coarse), truths)


def targets(truth: Truth, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the heads shall say of a picture at side x side places.

    Returns the bells around the middles (kinds x side x side, 1 at the middle), the edges of the
    thing whose bell is highest (4 x side x side, relative to the place), and how much they count.
    """
    bells = torch.zeros(len(THING_KINDS), side, side)
    edges, weight = torch.zeros(4, side, side), torch.zeros(side, side)
    steps = (torch.arange(side) + 0.5) / side
    for thing in truth.things:
        x1, y1, x2, y2 = (
            v / size
            for v, size in zip(thing.box_xyxy_px, (truth.width, truth.height) * 2, strict=True)
        )
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
        torch.maximum(own, bell, out=own)
        core = torch.where(bell > CORE, bell, torch.zeros(()))
        core = core / core.sum()
        mine = core > weight
        weight[mine] = core[mine]
        rows, columns = steps[:, None].expand(side, side), steps[None].expand(side, side)
        here = torch.stack([x1 - columns, y1 - rows, x2 - columns, y2 - rows])
        edges[:, mine] = here[:, mine]
    return bells, edges, weight


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


def batches(maps: Maps, steps: int, batch: int) -> Iterator[tuple[Tensor, ...]]:
    """Random pictures' maps and targets."""
    rng = np.random.default_rng(SEED)
    side = maps.fine.shape[-1]
    known = [targets(truth, side) for truth in tqdm(maps.truths, desc="targets")]
    for _ in range(steps):
        chosen = rng.integers(len(known), size=batch)
        wanted = [torch.stack(part) for part in zip(*(known[k] for k in chosen), strict=True)]
        index = torch.from_numpy(chosen)
        yield maps.fine[index].float(), maps.coarse[index].float(), *wanted


def train_heads(heads: DetectorHeads, maps: Maps, steps: int, batch: int, rate: float) -> None:
    """Teach the heads in place; prints the mean loss now and then."""
    torch.nn.init.constant_(heads.kinds.bias, AT_FIRST)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(heads.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    recent: list[float] = []
    bar = tqdm(batches(maps, steps, batch), total=steps, desc="heads")
    for step, (fine, coarse, *wanted) in enumerate(bar):
        loss = detector_loss(*heads(fine, coarse), *wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(float(loss.detach()))
        if step % 50 == 49:
            bar.set_postfix(loss=f"{np.mean(recent[-50:]):.3f}")


def detector_config(vision: Any, detail_of: str) -> DetailDetectorConfig:
    """The configuration of a detector on the detail path of a vision tower."""
    names = dict(enumerate(THING_KINDS))
    return DetailDetectorConfig(
        image_size=vision.image_size, patch_size=vision.patch_size, hidden_size=vision.hidden_size,
        num_attention_heads=vision.num_attention_heads, detail_widths=vision.detail_widths,
        detail_blocks=vision.detail_blocks,
        id2label=names, label2id={name: k for k, name in names.items()}, detail_of=detail_of,
    )  # fmt: skip


def make_detector(model: Path, detail_of: str) -> DetailDetector:
    """A detector with fresh heads on the path of a model.

    Raises ValueError where the model has none.
    """
    tower: Any = load_start(model).model.vision_tower
    if not hasattr(tower, "detail"):
        raise ValueError(f"the model in {model} has no detail path; give one that has")
    detector = DetailDetector(detector_config(tower.config, detail_of))
    detector.net.load_state_dict(tower.detail.state_dict())
    return detector.eval()


def write(detector: DetailDetector, out: Path) -> None:
    """The checkpoint with its image processor; fp16."""
    detector.half().save_pretrained(out)
    size = int(detector.config.image_size)  # type: ignore[arg-type]
    RTDetrImageProcessor(
        size={"height": size, "width": size}, do_normalize=True, image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(out)  # fmt: skip
    detector.float()


@torch.inference_mode()
def measure(detector: DetailDetector, maps: Maps) -> dict[str, Any]:
    """COCO's average precision on pictures whose maps are known; things too small or hidden to be
    asked about count neither for nor against."""
    truth: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(THING_KINDS)],
    }  # fmt: skip
    found: list[dict[str, Any]] = []
    for k, told in enumerate(maps.truths):
        truth["images"].append({"id": k, "width": told.width, "height": told.height})
        clear = {thing.id for thing in clear_things(told)}
        for thing in told.things:
            x1, y1, x2, y2 = thing.box_xyxy_px
            truth["annotations"].append({
                "image_id": k, "category_id": THING_KINDS.index(thing.name) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
                "iscrowd": int(thing.id not in clear),
            })  # fmt: skip
        logits, edges = detector.heads(maps.fine[k][None].float(), maps.coarse[k][None].float())
        scores, boxes = detector.things(logits[0], edges[0])
        best, kinds = scores.sigmoid().max(-1)
        for score, kind, (x, y, w, h) in zip(
            best.tolist(), kinds.tolist(), boxes.tolist(), strict=True
        ):
            if score > 0.01:
                box = [(x - w / 2) * told.width, (y - h / 2) * told.height,
                       w * told.width, h * told.height]  # fmt: skip
                found.append({"image_id": k, "category_id": kind + 1, "bbox": box, "score": score})
    return dict(average_precision(truth, found))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train a detector on chatspot-tiny's detail path.")
    parser.add_argument("--model", type=Path, default=Path("models/chatspot-tiny"))
    parser.add_argument("--kitchens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    options.out.mkdir(parents=True, exist_ok=True)
    detector = make_detector(options.model, os.path.relpath(options.model, options.out))
    size = int(detector.config.image_size)  # type: ignore[arg-type]
    maps = {
        split: compute_maps(
            detector.net, RenderedKitchens(options.kitchens / split), size, split == "train"
        )
        for split in ("train", "val")
    }
    train_heads(detector.heads, maps["train"], options.steps, options.batch, options.learning_rate)
    write(detector, options.out)
    for name, row in measure(detector, maps["val"]).items():
        print(f"{name:5s} {row['value']:.3f}  ({row['low']:.3f} to {row['high']:.3f})")


if __name__ == "__main__":
    main()
