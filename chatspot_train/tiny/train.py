"""Train chatspot-tiny from nothing, stage by stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPVisionModel, PreTrainedTokenizerFast

from chatspot_ros.chatspot_tiny.detection_features import DetectorHeads
from chatspot_ros.chatspot_tiny.modeling_vision import (
    DetailNet,
    DetailVisionConfig,
    DetailVisionModel,
)
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_sim.dataset import RenderedKitchens, render
from chatspot_train.common.bf16 import cpu_multiplies_bf16
from chatspot_train.common.trainer import run_stage
from chatspot_train.data.image_augment import crop, recolour
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.measure import measure_suite
from chatspot_train.evaluation.model_card import write_card
from chatspot_train.evaluation.registry import make
from chatspot_train.evaluation.report import print_rows
from chatspot_train.evaluation.runner import PREDICTIONS
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.crops import draw_view
from chatspot_train.tiny.detail_stage import train_detail
from chatspot_train.tiny.dialogue_dataset import (
    Packer,
    PictureDialogues,
    collate,
    draw_turns,
    turn_texts,
)
from chatspot_train.tiny.dialogue_losses import RegionTeacher, hit_rate
from chatspot_train.tiny.export import export
from chatspot_train.tiny.images import resized, to_pixels
from chatspot_train.tiny.model import build_model, feature_layers
from chatspot_train.tiny.text_stage import CoordinateTexts, draw_text
from chatspot_train.tiny.tokenizer import COORDINATES, build_tokenizer
from chatspot_train.tiny.vision_stage import train_vision, vision_config
from chatspot_train.tiny.warm_start import DETAIL, HEADS, scale_residual, start_language

LONGEST = 800


VAL_SEED = 991


AT_ONCE = 256  # pictures


def train(settings: TinySettings) -> Path:
    """Run all stages; returns the folder of the exported model."""
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "settings.json").write_text(settings.model_dump_json(indent=1))
    data = settings.data
    size = settings.vision.image_size
    render(
        data.folder / "train", "train", data.train_kitchens, data.moments, data.side,
        first=data.first_kitchen,
    )  # fmt: skip
    render(data.folder / "val", "val", data.val_kitchens, 1, data.side)
    tower = train_vision(settings)
    if settings.vision.detail_widths is not None:
        tower = with_detail(settings, tower, *train_detail(settings))
    seen = {
        split: features(
            tower, data.folder / split, size, settings.out / f"{split}.features",
            views=settings.views if split == "train" else 0,
        )
        for split in ("train", "val")
    }  # fmt: skip
    # Trained from nothing, the tower's output is an order of magnitude larger than a projection
    # learns well from.
    factors = unit_scale(tower, seen["train"][:200])
    for part in (part for one in seen.values() for part in one.split(AT_ONCE)):
        part.mul_(factors)  # piece by piece: all of them may fill half of the memory
    tokenizer = make_tokenizer(settings)
    whole = build_model(settings, tokenizer, tower)
    if settings.start is not None:
        start_language(whole, settings.start)
    first = int(tokenizer.vocab[COORDINATES[0]])
    model = RegionTeacher(whole, range(first, first + len(COORDINATES)))
    packer = Packer(tokenizer, (size // settings.vision.patch_size) ** 2, LONGEST)
    pad = collate(int(tokenizer.pad_token_id))

    if settings.start is None:
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
            data.folder / split, packer, size, settings.turns, items, seed,
            seen[split],
            settings.views if split == "train" else 1,
        )
        for split, (items, seed) in draws.items()
    }  # fmt: skip
    model.model.model.vision_tower.requires_grad_(False)
    run_stage(
        model, dialogues["train"], dialogues["val"], stage, settings.out / "dialogue", pad, hit_rate
    )
    # The frozen tower, exactly as the features were made, whatever a checkpoint held.
    model.model.model.vision_tower.load_state_dict(tower.state_dict())
    return export(model.model, tokenizer, settings, settings.out / "model")


def with_detail(
    settings: TinySettings, tower: CLIPVisionModel, detail: DetailNet, heads: DetectorHeads | None
) -> DetailVisionModel:
    """The tower, the detail path and a detector's heads, where they are asked for, as one model."""
    whole = DetailVisionModel(cast(DetailVisionConfig, vision_config(settings.vision)))
    state = dict(tower.state_dict())
    for prefix, part in ((DETAIL, detail), (HEADS, heads)):
        if part is not None:
            state.update({f"{prefix}{name}": value for name, value in part.state_dict().items()})
    whole.load_state_dict(state)
    return whole


@torch.no_grad()
def unit_scale(tower: CLIPVisionModel, seen: Tensor) -> Tensor:
    """Scale what the tower gives out, and its detail path, to a deviation of 1 each.

    `seen` are features of N pictures, N x P x width; returns the factors, one for each of width.
    What a detector's heads say stays as it is.
    """
    width = tower.config.hidden_size
    parts = seen.split(width, dim=-1)
    factors = [1 / float(part.float().std()) for part in parts[:2]] + [1.0] * len(parts[2:])
    scale_residual(tower, factors[0])
    if isinstance(tower, DetailVisionModel):
        for parameter in tower.detail.out.parameters():
            parameter.mul_(factors[1])
    return torch.tensor(factors).repeat_interleave(width)


def make_tokenizer(settings: TinySettings) -> PreTrainedTokenizerFast:
    """Learn the tokenizer from drawn dialogues, or read the one this run already has."""
    folder = settings.out / "tokenizer"
    if folder.exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if settings.start is not None:
        return PreTrainedTokenizerFast.from_pretrained(settings.start)
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
def features(tower: CLIPVisionModel, folder: Path, size: int, file: Path, views: int = 0) -> Tensor:
    """The frozen tower's output for every picture, N x P x width bf16, computed once and kept.

    `views`: of so many versions of each picture (chatspot_train.tiny.crops), one behind the other,
    with small changes of light and grain; 0: of the pictures as they are. The tower knows the
    pictures it was trained on better than any other; so changed, they are more like new ones.
    """
    if file.exists():
        saved: Tensor = torch.load(file, weights_only=True)
        return saved
    kitchens = RenderedKitchens(folder)
    tower.eval()
    parts = []
    count = len(kitchens) * max(1, views)
    for first in tqdm(range(0, count, 32), desc=f"features ({folder.name})"):
        indices = range(first, min(first + 32, count))
        if views:
            pictures = [_version(kitchens, *divmod(k, views), size) for k in indices]
        else:
            pictures = [resized(kitchens.rgb(k), size) for k in indices]
        pixels = torch.stack([to_pixels(picture) for picture in pictures])
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_multiplies_bf16()):
            hidden = tower(pixels, output_hidden_states=True).hidden_states
        read = [hidden[layer] for layer in np.atleast_1d(feature_layers(tower.config))]
        parts.append(torch.cat(read, -1)[:, 1:].to(torch.bfloat16))
    found = torch.cat(parts)
    torch.save(found, file)
    return found


def _version(kitchens: RenderedKitchens, index: int, version: int, size: int) -> Any:
    """A version of a picture, recoloured."""
    rgb = kitchens.rgb(index)
    rgb, _, _ = crop(rgb, rgb, draw_view(index, version))
    return recolour(resized(rgb, size), np.random.default_rng([VAL_SEED, index, version]))


def measure(folder: Path, kitchens: int) -> None:
    """Ask the exported model about unseen kitchens; write its results and its card."""
    out = folder.parent / "evaluation"
    (out / PREDICTIONS).unlink(missing_ok=True)
    answerer = EngineAnswerer(load_engine(EngineConfig(model=str(folder))))
    suite = make("kitchen", {"only_kitchen": True})
    found = measure_suite(suite, answerer, out, kitchens, 0, out)
    print_rows(found)
    write_card(folder, found)
