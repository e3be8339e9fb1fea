"""Align the projection with words, before or between the stages: `recipe: align`.

A projection that starts at random costs the language model thousands of questions until it sees
anything. Here the language model does not run: what the projection makes of a region's cut, and of
the whole picture's vectors inside the region, is drawn towards the embedding of the region's name
and away from those of other names (a contrastive loss, as CLIP's between pictures and texts). The
vision tower reads each picture once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.models.image_inputs import crop_inputs, image_inputs
from chatspot_train.common.stage_config import StrictModel
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import Record, RecordError
from chatspot_train.finetune.config import ModelSettings, SourceSettings, without_folders
from chatspot_train.finetune.dataset import PictureRecords
from chatspot_train.finetune.export import export_start
from chatspot_train.finetune.model import Start, load_start
from chatspot_train.finetune.prepare import PROJECTIONS
from chatspot_train.finetune.source_notes import source_note

LONGEST_NAME = 3  # words
_NO_NAMES = ("yes", "no", "there", "nothing", "none")
_log = logging.getLogger(__name__)


class AlignSettings(StrictModel):
    """A run: `out` gets `model/`, the exported folder.

    Of each source at most `pictures` pictures are read, evenly spread; 0: all. A step learns from
    `batch` regions.
    """

    recipe: Literal["align"]
    out: Path
    name: str = ""
    model: ModelSettings
    data: list[SourceSettings] = Field(min_length=1)
    pictures: int = Field(default=0, ge=0)
    steps: int = Field(default=600, gt=0)
    batch: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    temperature: float = Field(default=0.07, gt=0)
    seed: int = 7
    progress: bool = True


@dataclass(frozen=True)
class Named:
    """A region's vectors before the projection: of its cut, and of the whole picture inside it
    (vectors x channels, float16), with its names as numbers."""

    cut: Tensor
    inside: Tensor
    names: tuple[int, ...]


def run_recipe(values: Any) -> Path:
    """Align as these settings say and return the exported folder. Raises
    pydantic.ValidationError, ModelLoadError, FileNotFoundError or RecordError."""
    settings = AlignSettings.model_validate(values)
    torch.manual_seed(settings.seed)
    start = load_start(settings.model)
    start.model.eval().requires_grad_(False)
    names: dict[str, int] = {}
    regions = [one for source in settings.data for one in _read(source, start, settings, names)]
    if len(names) < 2:
        raise RecordError("the records name nothing: alignment needs regions with short names")
    losses = align(start, regions, list(names), settings)
    return export_start(start, settings.out / "model", _note(settings, losses))


def _note(settings: AlignSettings, losses: list[float]) -> dict[str, Any]:
    """Return training.json of the exported model, in the form of a stage of `instruct`."""
    model = settings.model.model_dump(mode="json")
    for part in ("checkpoint", "vision", "language"):
        model[part] = model[part] and without_folders(model[part])
    return {
        "recipe": settings.recipe, "name": settings.name or settings.out.resolve().name,
        "model": model, "learn": ["projection"], "lora": None, "distill": None,
        "optim": {"learning_rate": settings.learning_rate, "epochs": 1, "batch": settings.batch},
        "sources": [source_note(source) for source in settings.data],
        "log": {"steps": settings.steps, "first_loss": losses[0], "last_loss": losses[-1]},
    }  # fmt: skip


def align(
    start: Start, regions: list[Named], names: list[str], settings: AlignSettings
) -> list[float]:
    """Train the projection in place; return the losses, one for each tenth of the steps."""
    projection = find_projection(start.model).float()
    projection.requires_grad_(True)
    middle, words = name_embeddings(start, names)
    length = float(words.norm(dim=1).median())
    words = F.normalize(words, dim=1)
    optimizer = torch.optim.AdamW(projection.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps
    )
    rng = np.random.default_rng(settings.seed)
    losses: list[float] = []
    total, tenth = 0.0, max(1, settings.steps // 10)
    for step in tqdm(range(settings.steps), desc="aligning", disable=not settings.progress):
        drawn = [regions[k] for k in rng.integers(len(regions), size=settings.batch)]
        loss = _loss(projection, drawn, middle, words, length, settings.temperature)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if (step + 1) % tenth == 0:
            losses.append(total / tenth)
            total = 0.0
    projection.requires_grad_(False)
    _log.info("aligned %d regions of %d names: %.2f, then %.2f", len(regions), len(names),
              losses[0], losses[-1])  # fmt: skip
    return losses


def _loss(
    projection: torch.nn.Module, drawn: list[Named], middle: Tensor, words: Tensor, length: float,
    temperature: float,
) -> Tensor:  # fmt: skip
    """Return the contrastive loss of cuts as a whole and of single vectors, and of their length."""
    wanted = torch.zeros(len(drawn), len(words))
    for row, one in enumerate(drawn):
        wanted[row, list(one.names)] = 1 / len(one.names)
    counts = torch.tensor([len(one.cut) for one in drawn])
    insides = torch.tensor([len(one.inside) for one in drawn])
    vectors = torch.cat([*(one.cut for one in drawn), *(one.inside for one in drawn)]).float()
    seen = projection(vectors) - middle
    cuts = seen[: int(counts.sum())]
    rows = torch.arange(len(drawn)).repeat_interleave(counts)
    whole = torch.zeros(len(drawn), seen.shape[1]).index_add(0, rows, cuts) / counts[:, None]
    each = torch.cat([rows, torch.arange(len(drawn)).repeat_interleave(insides)])
    return (
        F.cross_entropy(F.normalize(whole, dim=1) @ words.T / temperature, wanted)
        + F.cross_entropy(F.normalize(seen, dim=1) @ words.T / temperature, wanted[each])
        + ((seen.norm(dim=1) / length - 1) ** 2).mean()
    )


def name_embeddings(start: Start, names: list[str]) -> tuple[Tensor, Tensor]:
    """Return the mean of the language model's embeddings, and those of names less the mean.

    A name's is the mean over its tokens, at the beginning of a text and behind a space.
    """
    table = start.model.get_input_embeddings().weight.float()
    middle = table.mean(0)
    rows = []
    for name in names:
        ids = [i for text in (name, f" {name}")
               for i in start.tokenizer.encode(text, add_special_tokens=False)]  # fmt: skip
        rows.append(table[ids].mean(0) - middle)
    return middle, torch.stack(rows)


def find_projection(model: torch.nn.Module) -> torch.nn.Module:
    """Return the module between the vision tower and the language model. Raises LookupError."""
    found = [one for name, one in model.named_modules() if name.split(".")[-1] in PROJECTIONS]
    if len(found) != 1:
        raise LookupError(f"the model has {len(found)} projections, alignment needs one")
    return found[0]


def name_of(answer: str) -> str:
    """Return the name that an answer gives; empty: it is a sentence, a number, or yes or no."""
    words = answer.strip().rstrip(".").lower().split()
    fits = 1 <= len(words) <= LONGEST_NAME and all(
        one.replace("-", "").replace("'", "").isalpha() for one in words
    )
    return " ".join(words) if fits and words[0] not in _NO_NAMES else ""


def _read(
    source: SourceSettings, start: Start, settings: AlignSettings, names: dict[str, int]
) -> Iterator[Named]:
    """Yield the named regions of a source; new names are added to `names`."""
    records = PictureRecords(source)
    step = max(1, len(records) // settings.pictures) if settings.pictures else 1
    title = f"seeing {source.records.name}"
    for number in tqdm(range(0, len(records), step), desc=title, disable=not settings.progress):
        record = records[number]
        try:
            image_rgb = read_picture(source.images / record.image)
        except RecordError as error:
            _log.warning("left out %s/%s: %s", record.source, record.id, error)
            continue
        yield from _named(record, image_rgb, start, names)


def _named(
    record: Record, image_rgb: RgbImage, start: Start, names: dict[str, int]
) -> Iterator[Named]:
    by_region: dict[Any, set[int]] = {}
    for turn in record.turns:
        name = name_of(turn.answer)
        if turn.task or len(turn.regions) != 1 or not name:
            continue
        region = turn.regions[0].clipped(record.width, record.height)
        if region.points_px:
            by_region.setdefault(region, set()).add(names.setdefault(name, len(names)))
    if not by_region:
        return
    fit, pixels = image_inputs(image_rgb, start.spec, start.image_processor)
    (whole,) = _seen(start, [pixels])
    cuts = [crop_inputs(image_rgb, one, start.spec, start.image_processor) for one in by_region]
    for (region, told), cut in zip(by_region.items(), _seen(start, cuts), strict=True):
        inside = _inside(whole, fit.to_unit(region.points_px), pixels)
        yield Named(cut, inside, tuple(sorted(told)))


def _inside(whole: Tensor, points_unit: Any, pixels: dict[str, Any]) -> Tensor:
    """Return the whole picture's vectors whose middles lie in the bounds of points (fractions)."""
    height, width = torch.as_tensor(pixels["pixel_values"]).shape[-2:]
    columns = max(1, round((len(whole) * width / height) ** 0.5))
    rows = len(whole) // columns
    if rows * columns != len(whole):
        return whole[:0]
    xs, ys = zip(*points_unit, strict=True)
    across = (torch.arange(columns) + 0.5) / columns
    down = (torch.arange(rows) + 0.5) / rows
    kept = ((down >= min(ys)) & (down <= max(ys)))[:, None] & (
        (across >= min(xs)) & (across <= max(xs))
    )
    return whole[kept.flatten()]


def _seen(start: Start, pictures: list[dict[str, Any]]) -> list[Tensor]:
    """Return what the projection would get of each picture, vectors x channels in float16."""
    found: list[Tensor] = []
    handle = find_projection(start.model).register_forward_pre_hook(
        lambda _, inputs: found.append(inputs[0])
    )
    try:
        with torch.no_grad():
            batch = {key: torch.cat([one[key] for one in pictures]) for key in pictures[0]}
            start.model.get_image_features(**batch)
    finally:
        handle.remove()
    return [one.half() for one in found[0]]
