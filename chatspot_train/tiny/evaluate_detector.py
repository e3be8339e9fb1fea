"""Evaluate a detector on kitchens: `chatspot evaluate-detector --model DIR --kitchens FOLDER`.

`FOLDER` holds rendered kitchens (chatspot_sim.dataset). `--model` is any checkpoint that
`detector_node` runs and that has the kitchen's kinds of things as labels. `--card` writes the
results into the checkpoint's README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from chatspot_ros.core.boxes import xyxy_to_xywh
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.detector.object_detector import Detected, Detector
from chatspot_ros.util.atomic_write import write_whole
from chatspot_ros.util.command_line import Command
from chatspot_sim.asking import clear_things
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.kitchen import THING_KINDS
from chatspot_train.evaluation.metrics.coco_ap import average_precision
from chatspot_train.evaluation.metrics.intervals import Row

MIN_SCORE = 0.01
CARD = """---
license: apache-2.0
pipeline_tag: object-detection
---
# {name}

A detector for the simulated kitchen of `chatspot_sim`: heads in the manner of CenterNet on the
detail path of the model in `{detail_of}`. {whose} are that model's and lie in its folder
(`chatspot_ros.chatspot_tiny.modeling_detector`). It was taught along with that path, on the same
kitchens (`chatspot_train.tiny.detail_stage`). It knows {kinds} kinds of things and nothing else.

## Measured
COCO's average precision on {pictures} pictures of {split} kitchens, by
`chatspot evaluate-detector`; things too small or hidden to be asked about
count neither for nor against.

| row | value | 95 % |
| --- | --- | --- |
{rows}

## Limits
- a simulated kitchen only; no photographs were seen in training
- without the folder in `detail_of`, with that very path, it cannot be loaded
"""


class DetectorLike(Protocol):
    """The part of a Detector that is measured."""

    def detect(
        self, image_rgb: RgbImage, labels: Any = (), threshold: float = 0.3
    ) -> list[Detected]:
        """See Detector.detect."""


def measure(detector: DetectorLike, kitchens: RenderedKitchens) -> dict[str, Row]:
    """Return COCO's average precision, in pixels of the camera's images.

    Things too small or hidden to ask about count neither for nor against.
    """
    truth: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": k, "name": name} for k, name in enumerate(THING_KINDS, start=1)],
    }  # fmt: skip
    numbers = {one["name"]: one["id"] for one in truth["categories"]}
    found: list[dict[str, Any]] = []
    for k in tqdm(range(len(kitchens)), desc="detecting"):
        rgb, told = kitchens.rgb(k), kitchens.truth(k)
        truth["images"].append({"id": k, "width": told.width, "height": told.height})
        clear = {thing.id for thing in clear_things(told)}
        for thing in told.things:
            box = list(xyxy_to_xywh(thing.box_xyxy_px))
            truth["annotations"].append({
                "image_id": k, "category_id": numbers[thing.name], "bbox": box,
                "area": box[2] * box[3], "iscrowd": int(thing.id not in clear),
            })  # fmt: skip
        across, down = told.width / rgb.shape[1], told.height / rgb.shape[0]
        for one in detector.detect(rgb, threshold=MIN_SCORE):
            x1, y1, x2, y2 = one.box_xyxy_px
            if one.label in numbers:
                found.append({
                    "image_id": k, "category_id": numbers[one.label], "score": one.score,
                    "bbox": list(xyxy_to_xywh((x1 * across, y1 * down, x2 * across, y2 * down))),
                })  # fmt: skip
    return average_precision(truth, found)


def write_card(folder: Path, rows: Mapping[str, Row], kitchens: RenderedKitchens) -> None:
    """Write the README.md of a bundled checkpoint from its configuration and its results."""
    config = json.loads((folder / "config.json").read_text())
    table = [
        f"| {name} | {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} |"
        for name, row in rows.items()
    ]
    whose = (
        "The heads' weights and the path's" if config.get("thing_kinds") else "The path's weights"
    )
    card = CARD.format(
        name=folder.resolve().name, detail_of=config["detail_of"], kinds=len(config["id2label"]),
        pictures=len(kitchens), split=kitchens.truth(0).split, rows="\n".join(table), whose=whose,
    )  # fmt: skip
    write_whole(folder / "README.md", card)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=Path("models/chatspot-tiny-detector"))
    parser.add_argument("--kitchens", type=Path, required=True)
    parser.add_argument("--card", action="store_true", help="write the results into README.md")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all cores")


def _run(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    kitchens = RenderedKitchens(options.kitchens)
    rows = measure(Detector.load(str(options.model)), kitchens)
    if options.card:
        write_card(options.model, rows, kitchens)
    for name, row in rows.items():
        print(f"{name:5s} {row['value']:.3f}  ({row['low']:.3f} to {row['high']:.3f})")


main = Command(
    "evaluate-detector", _add_arguments, _run,
    description="Measure a detector on rendered kitchens.", failed=1,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
