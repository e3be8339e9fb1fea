"""Train chatspot-tiny from random weights, stage by stage."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedTokenizerFast

from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_sim.dataset import RenderedKitchens, render
from chatspot_train.common.kept_settings import read_kept, write_kept
from chatspot_train.common.trainer import run_stage
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.measure import measure_suite
from chatspot_train.evaluation.model_card import write_card
from chatspot_train.evaluation.registry import make
from chatspot_train.evaluation.report import print_rows
from chatspot_train.evaluation.runner import PREDICTIONS
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.detail_stage import train_detail
from chatspot_train.tiny.dialogue_dataset import DialogueDataset, DialogueEncoder, make_collator
from chatspot_train.tiny.dialogue_losses import DialogueLosses, hit_rate
from chatspot_train.tiny.dialogue_sampling import draw_turns, turn_texts
from chatspot_train.tiny.export import export
from chatspot_train.tiny.features import (
    compute_features,
    digest_weights,
    join_detail,
    scale_to_unit,
)
from chatspot_train.tiny.model import build_model
from chatspot_train.tiny.text_stage import CoordinateDataset, draw_text
from chatspot_train.tiny.tokenizer import COORDINATES, build_tokenizer
from chatspot_train.tiny.vision_stage import train_vision
from chatspot_train.tiny.warm_start import load_language

MAX_TOKENS = 800
VAL_SEED = 991
SCALED_AT_ONCE = 256  # images
SPLITS = ("train", "val")


def run_recipe(values: Any) -> Path:
    """Train and measure as these settings say; return the exported folder.

    Raises pydantic.ValidationError for wrong settings.
    """
    settings = TinySettings.model_validate(values)
    folder = train(settings)
    if settings.measured_kitchens:
        measure(folder, settings.measured_kitchens)
    return folder


def train(settings: TinySettings) -> Path:
    """Run all stages and return the folder of the exported model."""
    settings.out.mkdir(parents=True, exist_ok=True)
    _render(settings)
    tower = train_vision(settings)
    if settings.vision.detail_widths is not None:
        tower = join_detail(settings.vision, tower, *train_detail(settings))
    made_from = {"tower": digest_weights(tower)}
    features = _scaled_features(settings, tower)
    tokenizer = make_tokenizer(settings)
    llava = build_model(settings, tokenizer, tower)
    if settings.start is not None:
        load_language(llava, settings.start)
    first = int(tokenizer.vocab[COORDINATES[0]])
    model = DialogueLosses(llava, range(first, first + len(COORDINATES)))
    patches = (settings.vision.image_size // settings.vision.patch_size) ** 2
    encoder = DialogueEncoder(tokenizer, patches, MAX_TOKENS)
    if settings.start is None:
        _train_text(settings, model, encoder)
    _train_dialogues(settings, model, encoder, features, made_from)
    write_kept(settings.out, settings.model_dump(mode="json"))
    # The frozen tower, exactly as it computed the features, whatever a checkpoint held.
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    return export(llava, tokenizer, settings, settings.out / "model")


def _render(settings: TinySettings) -> None:
    """Render the kitchens that are not in the data folder yet."""
    data = settings.data
    render(
        data.folder / "train", "train", data.train_kitchens, data.moments, data.side,
        first=data.first_kitchen,
    )  # fmt: skip
    render(data.folder / "val", "val", data.val_kitchens, 1, data.side)


def _scaled_features(settings: TinySettings, tower: CLIPVisionModel) -> dict[str, Tensor]:
    """Return the tower's features of both splits, and scale them and the tower to unit deviation.

    The output of a tower trained from random weights is ten times larger than a projection learns
    well from.
    """
    features = {
        split: compute_features(
            tower, settings.data.folder / split, settings.vision.image_size,
            settings.out / f"{split}.features", crops=settings.views if split == "train" else 0,
        )
        for split in SPLITS
    }  # fmt: skip
    factors = scale_to_unit(tower, features["train"][:200])
    for part in (part for one in features.values() for part in one.split(SCALED_AT_ONCE)):
        part.mul_(factors)  # in parts: all features may fill half of the memory
    return features


def _train_text(settings: TinySettings, model: DialogueLosses, encoder: DialogueEncoder) -> None:
    """Train the language model on coordinates as text."""
    stage = settings.text_stage
    data = CoordinateDataset(encoder, stage.steps * stage.batch, stage.seed)
    held_out = CoordinateDataset(encoder, 4 * stage.batch, VAL_SEED)
    collate = make_collator(int(encoder.tokenizer.pad_token_id))
    run_stage(model, data, held_out, stage, settings.out / "text", collate, hit_rate,
              {**settings.inputs("text_stage"), "vocabulary": _words(encoder)})  # fmt: skip


def _train_dialogues(
    settings: TinySettings, model: DialogueLosses, encoder: DialogueEncoder,
    features: dict[str, Tensor], made_from: dict[str, str],
) -> None:  # fmt: skip
    """Train the projection and the language model on dialogues; `made_from` is of the tower."""
    stage = settings.dialogue_stage
    draws = {
        "train": (stage.steps * stage.batch, stage.seed, settings.views),
        "val": (min(200, settings.data.val_kitchens), VAL_SEED, 1),
    }
    data = {
        split: DialogueDataset(
            settings.data.folder / split, encoder, settings.vision.image_size, settings.turns,
            items, seed, features[split], crops,
        )
        for split, (items, seed, crops) in draws.items()
    }  # fmt: skip
    model.model.model.vision_tower.requires_grad_(False)
    collate = make_collator(int(encoder.tokenizer.pad_token_id))
    run_stage(
        model, data["train"], data["val"], stage, settings.out / "dialogue", collate, hit_rate,
        {**settings.inputs("dialogue_stage"), **made_from, "vocabulary": _words(encoder)},
    )  # fmt: skip


def make_tokenizer(settings: TinySettings) -> PreTrainedTokenizerFast:
    """Train the tokenizer on drawn dialogues, or read that of this run, if its settings are the
    same, or of its start."""
    folder = settings.out / "tokenizer"
    made_from = settings.inputs("tokenizer")
    if folder.exists() and read_kept(folder) == made_from:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if settings.start is not None:
        return PreTrainedTokenizerFast.from_pretrained(settings.start)
    rng = np.random.default_rng(settings.dialogue_stage.seed)
    kitchens = RenderedKitchens(settings.data.folder / "train")
    texts = [" ".join(draw_text(rng)) for _ in range(100)]
    for _ in range(1500):
        truth = kitchens.truth(int(rng.integers(len(kitchens))))
        geometry = fit(PictureGeometry.STRETCH, (truth.width, truth.height), (224, 224))
        for user, model in turn_texts(draw_turns(truth, None, rng, 6), geometry, ""):
            texts.append(_plain(user) + _plain(model))
    tokenizer = build_tokenizer(texts, settings.language.vocabulary)
    tokenizer.save_pretrained(folder)
    write_kept(folder, made_from)
    return tokenizer


def _words(encoder: DialogueEncoder) -> str:
    """Return a digest of the tokenizer's vocabulary."""
    words = sorted(encoder.tokenizer.get_vocab().items())
    return sha256(repr(words).encode()).hexdigest()[:16]


def _plain(text: str) -> str:
    """Return the words without regions and control words, which have tokens of their own."""
    text = re.sub(r"<box>.*?</box>|</s>|USER:|ASSISTANT:|\[\w+\]", "", text)
    return " " + " ".join(text.split())


def measure(folder: Path, kitchens: int) -> None:
    """Evaluate the exported model on unseen kitchens; write the results and the model card."""
    out = folder.parent / "evaluation"
    (out / PREDICTIONS).unlink(missing_ok=True)
    answerer = EngineAnswerer(load_engine(EngineConfig(model=str(folder))))
    suite = make("kitchen", {"only_kitchen": True})
    found = measure_suite(suite, answerer, out, kitchens, 0, out)
    print_rows(found)
    write_card(folder, {"kitchen": found})
