"""The effect of replay on forgetting: `python -m benchmarks.replay --json FILE`.

A model that answers questions about whole pictures is trained on questions about regions only,
once without and once with replay of earlier questions. Both runs start from the same weights and
see the region questions in the same order; the loss is measured on unseen kitchens.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from chatspot_train.data.build import build
from chatspot_train.data.records import Record, Records, write_records
from chatspot_train.data.sources import find_source
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import InstructSettings, ModelSettings, SourceSettings
from chatspot_train.finetune.dataset import ExampleDataset
from chatspot_train.finetune.model import load_start
from chatspot_train.finetune.run import run

SHARE = 0.25


def part(records: Records, of_regions: bool, out: Path, images: Path) -> dict[str, str]:
    """Write the records' turns about regions, or those about the whole picture."""

    def cut(record: Record) -> Record:
        turns = tuple(t for t in record.turns if bool(t.regions) == of_regions)
        return replace(record, turns=turns, source=out.name)

    write_records((r for r in map(cut, records) if r.turns), out)
    return {"records": str(out), "images": str(images)}


def kitchens(split: str, count: int, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return (questions about whole pictures, questions about regions) on `count` kitchens."""
    build(find_source("kitchen"), None, None, folder, split=split, limit=count)
    records = Records(folder)
    whole = part(records, False, folder / "whole", folder / "images")
    return whole, part(records, True, folder / "regions", folder / "images")


def loss(model: str, data: dict[str, str]) -> float:
    """Return the mean loss on the answer tokens of all records."""
    start = load_start(ModelSettings(checkpoint=model))
    encoder = Encoder(start, 1024)
    examples = ExampleDataset([SourceSettings.model_validate(data)], encoder)
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in DataLoader(examples, batch_size=4, collate_fn=encoder.collate):
            del batch["names"]
            asked = int((batch["labels"][:, 1:] != -100).sum())
            total += float(start.model(**batch).loss) * asked
            count += asked
    return total / count


def measure(model: str, kitchens_taught: int, steps: int, folder: Path) -> dict[str, Any]:
    """Return the losses before, after, and after with replay."""
    whole, regions = kitchens("train", kitchens_taught, folder / "train")
    held_whole, held_regions = kitchens("val", max(8, kitchens_taught // 4), folder / "val")
    losses = {"before": (loss(model, held_whole), loss(model, held_regions))}
    for name, replay in (("without", None), ("with", {"share": SHARE, "data": [whole]})):
        settings = InstructSettings.model_validate({
            "recipe": "instruct", "out": folder / name, "model": {"checkpoint": model},
            "data": [regions], "replay": replay, "learn": ["projection", "language"],
            "optim": {"learning_rate": 5e-4, "epochs": 100, "steps": steps, "batch": 4,
                      "per_device": 4, "workers": 0, "save_every": 10_000,
                      "gradient_checkpointing": False},
        })  # fmt: skip
        taught = str(run(settings))
        losses[name] = (loss(taught, held_whole), loss(taught, held_regions))
    (whole0, _), (without, _), (with_, _) = losses.values()
    return {
        "rows": {
            "whole_picture_loss_before": whole0,
            "whole_picture_loss_without_replay": without,
            "whole_picture_loss_with_replay": with_,
            "region_loss_before": losses["before"][1],
            "region_loss_without_replay": losses["without"][1],
            "region_loss_with_replay": losses["with"][1],
            "whole_picture_loss_with_over_without": with_ / without,
        },
        "share": SHARE, "steps": steps, "kitchens": kitchens_taught,
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure forgetting with and without replay.")
    parser.add_argument("--model", default="models/chatspot-tiny")
    parser.add_argument("--kitchens", type=int, default=40)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.model, options.kitchens, options.steps, Path(folder))
    for name, value in found["rows"].items():
        print(f"{name:45} {value:.3f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
