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

from chatspot_ros.engine.detail_detector import DetailDetector, DetectorHeads
from chatspot_ros.engine.vision import DetailNet
from chatspot_sim.asking import clear_things
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_sim.truth import Truth
from chatspot_train.detector import (
    AT_FIRST,
    detector_config,
    detector_loss,
    targets,
    write_detector,
)
from chatspot_train.pictures import recolour, resized, to_pixels
from chatspot_train.suites.precision import average_precision
from chatspot_train.warm_start import load_start

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
    write_detector(detector, options.out)
    for name, row in measure(detector, maps["val"]).items():
        print(f"{name:5s} {row['value']:.3f}  ({row['low']:.3f} to {row['high']:.3f})")


if __name__ == "__main__":
    main()
