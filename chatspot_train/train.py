"""Train chatspot-tiny: `python -m chatspot_train.train --config config/train/tiny.yaml`.

Every stage goes on from its last checkpoint, so a run that was killed is started again with the
same command.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPVisionModel, PreTrainedTokenizerFast

from chatspot_ros.geometry import PictureGeometry, fit
from chatspot_sim.dataset import RenderedKitchens, render
from chatspot_train.dialogues import Packer, PictureDialogues, collate, draw_turns, turn_texts
from chatspot_train.export import export
from chatspot_train.settings import TinySettings
from chatspot_train.staging import run_stage
from chatspot_train.text_stage import CoordinateTexts, draw_text
from chatspot_train.tiny_model import RegionTeacher, build_model, hit_rate, scale_residual
from chatspot_train.tokens import build_tokenizer
from chatspot_train.vision_stage import to_pixels, train_vision

LONGEST = 640
VAL_SEED = 991


def train(settings: TinySettings) -> Path:
    """Run all stages; returns the folder of the exported model."""
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "settings.json").write_text(settings.model_dump_json(indent=1))
    data = settings.data
    size = settings.vision.image_size
    render(data.folder / "train", "train", data.train_kitchens, data.moments, size)
    render(data.folder / "val", "val", data.val_kitchens, 1, size)
    tower = train_vision(settings).tower
    seen = {
        split: features(tower, data.folder / split, settings.out / f"{split}.features")
        for split in ("train", "val")
    }
    # Trained from nothing, the tower's output is an order of magnitude larger than a projection
    # learns well from.
    factor = 1 / float(seen["train"][:200].float().std())
    scale_residual(tower, factor)
    tokenizer = make_tokenizer(settings)
    model = RegionTeacher(build_model(settings, tokenizer, tower))
    packer = Packer(tokenizer, (size // settings.vision.patch_size) ** 2, LONGEST)
    pad = collate(int(tokenizer.pad_token_id))

    stage = settings.text_stage
    texts = CoordinateTexts(packer, stage.steps * stage.batch, stage.seed)
    held = CoordinateTexts(packer, 4 * stage.batch, VAL_SEED)
    run_stage(model, texts, held, stage, settings.out / "text", pad, hit_rate)

    stage = settings.dialogue_stage
    draws = {
        "train": (stage.steps * stage.batch, stage.seed),
        "val": (min(200, data.val_kitchens), VAL_SEED),
    }
    dialogues = {
        split: PictureDialogues(
            data.folder / split, packer, size, settings.turns, items, seed, factor * seen[split]
        )
        for split, (items, seed) in draws.items()
    }
    model.model.model.vision_tower.requires_grad_(False)
    run_stage(
        model, dialogues["train"], dialogues["val"], stage, settings.out / "dialogue", pad, hit_rate
    )
    # The frozen tower, exactly as the features were made, whatever a checkpoint held.
    model.model.model.vision_tower.load_state_dict(tower.state_dict())
    return export(model.model, tokenizer, settings, settings.out / "model")


def make_tokenizer(settings: TinySettings) -> PreTrainedTokenizerFast:
    """Learn the tokenizer from drawn dialogues, or read the one this run already has."""
    folder = settings.out / "tokenizer"
    if folder.exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    rng = np.random.default_rng(settings.dialogue_stage.seed)
    kitchens = RenderedKitchens(settings.data.folder / "train")
    texts = [" ".join(draw_text(rng)) for _ in range(100)]
    for _ in range(1500):
        truth = kitchens.truth(int(rng.integers(len(kitchens))))
        geometry = fit(PictureGeometry.STRETCH, (truth.width, truth.height), (224, 224))
        for said, answered in turn_texts(draw_turns(truth, None, rng, 6), geometry, ""):
            texts.append(_plain(said) + _plain(answered))
    tokenizer = build_tokenizer(texts, settings.language.vocabulary)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _plain(text: str) -> str:
    """The words alone: regions and control words have tokens of their own."""
    text = re.sub(r"<box>.*?</box>|</s>|USER:|ASSISTANT:|\[\w+\]", "", text)
    return " " + " ".join(text.split())


@torch.no_grad()
def features(tower: CLIPVisionModel, folder: Path, file: Path) -> Tensor:
    """The frozen tower's output for every picture, N x P x width bf16, computed once and kept."""
    if file.exists():
        saved: Tensor = torch.load(file, weights_only=True)
        return saved
    kitchens = RenderedKitchens(folder)
    tower.eval()
    parts = []
    for first in tqdm(range(0, len(kitchens), 32), desc=f"features ({folder.name})"):
        indices = range(first, min(first + 32, len(kitchens)))
        pixels = torch.stack([to_pixels(kitchens.rgb(k)) for k in indices])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        parts.append(hidden.to(torch.bfloat16))
    found = torch.cat(parts)
    torch.save(found, file)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train chatspot-tiny from nothing.")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    print(f"exported to {train(TinySettings.read(options.config))}")


if __name__ == "__main__":
    main()
