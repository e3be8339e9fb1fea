"""Align what the model sees with words, before or between the stages: `recipe: align`.

A projection that starts at random costs the language model thousands of questions until it sees
anything. Here the language model does not run: what the projection makes of a region's cut, and of
the whole picture's vectors inside the region, is drawn towards the embedding of the region's name
and away from those of other names (a contrastive loss, as CLIP's between pictures and texts); the
same for the values of its attributes, as open and closed. The vision tower reads each picture once,
or learns too, from varied pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from chatspot_ros.engine.models.patches import find_projection
from chatspot_train.common.bf16 import use_bf16
from chatspot_train.common.stage_config import StrictModel
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.finetune.align_regions import (
    NAME,
    Label,
    Shown,
    Vocabulary,
    draw_batch,
    labels_of,
    read_shown,
)
from chatspot_train.finetune.config import ModelSettings, SourceSettings, without_folders
from chatspot_train.finetune.dataset import PictureRecords
from chatspot_train.finetune.export import export_start
from chatspot_train.finetune.model import Start, choose_parts, load_start
from chatspot_train.finetune.source_notes import source_note

_log = logging.getLogger(__name__)


class AlignSettings(StrictModel):
    """A run: `out` gets `model/`, the exported folder.

    `learn` names the parts that move; `vision_rate` is the tower's learning rate. While the tower
    stands still, each source's pictures are read once, at most `pictures` of them, evenly spread
    (0: all). A step learns from `batch` regions.
    """

    recipe: Literal["align"]
    out: Path
    name: str = ""
    model: ModelSettings
    data: list[SourceSettings] = Field(min_length=1)
    learn: list[Literal["projection", "vision"]] = Field(["projection"], min_length=1)
    pictures: int = Field(default=0, ge=0)
    steps: int = Field(default=600, gt=0)
    batch: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    vision_rate: float = Field(default=2e-4, gt=0)
    temperature: float = Field(default=0.07, gt=0)
    bf16: bool = True
    seed: int = 7
    progress: bool = True


# What the projection makes of regions, with each region's number for a vector, how many of the
# first vectors are of cuts, and the regions' labels.
Batch = tuple[Tensor, Tensor, int, list[tuple[Label, ...]]]


def run_recipe(values: Any) -> Path:
    """Align as these settings say and return the exported folder. Raises
    pydantic.ValidationError, ModelLoadError, FileNotFoundError or RecordError."""
    settings = AlignSettings.model_validate(values)
    torch.manual_seed(settings.seed)
    start = load_start(settings.model)
    start.model.eval()
    choose_parts(start.model, list(settings.learn))
    vocabulary = Vocabulary()
    sources = [PictureRecords(one, settings.progress) for one in settings.data]
    rng = np.random.default_rng(settings.seed)
    if "vision" in settings.learn:
        start.model.train()
        for record in (record for source in sources for record in source):
            labels_of(record, vocabulary)
        vocabulary.complete = True
        draw = _draw_live(sources, start, vocabulary, settings, rng)
    else:
        shown = [one for each in sources for one in _read(each, start, settings, vocabulary)]
        draw = _draw_seen(shown, start, settings.batch, rng)
    if len(vocabulary.words[NAME]) < 2:
        raise RecordError("the records name nothing: alignment needs regions with short names")
    losses = align(start, draw, vocabulary, settings)
    start.model.eval().requires_grad_(False)
    return export_start(start, settings.out / "model", _note(settings, losses))


def _note(settings: AlignSettings, losses: list[float]) -> dict[str, Any]:
    """Return training.json of the exported model, in the form of a stage of `instruct`."""
    model = settings.model.model_dump(mode="json")
    for part in ("checkpoint", "vision", "language"):
        model[part] = model[part] and without_folders(model[part])
    return {
        "recipe": settings.recipe, "name": settings.name or settings.out.resolve().name,
        "model": model, "learn": settings.learn, "lora": None, "distill": None,
        "optim": {"learning_rate": settings.learning_rate, "epochs": 1, "batch": settings.batch},
        "sources": [source_note(source) for source in settings.data],
        "log": {"steps": settings.steps, "first_loss": losses[0], "last_loss": losses[-1]},
    }  # fmt: skip


def align(
    start: Start, draw: Callable[[], Batch], vocabulary: Vocabulary, settings: AlignSettings
) -> list[float]:
    """Train in place; return the losses, one for each tenth of the steps."""
    contrasts = []
    for number, words in vocabulary.contrasts:
        middle, vectors = name_embeddings(start, words)
        contrasts.append((number, vectors))
    length = float(contrasts[0][1].norm(dim=1).median())
    rates = {"projection": settings.learning_rate, "vision": settings.vision_rate}
    groups: list[dict[str, Any]] = [
        {"params": _weights(start, part), "lr": rates[part]} for part in settings.learn
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=settings.steps
    )
    losses: list[float] = []
    total, tenth = 0.0, max(1, settings.steps // 10)
    for step in tqdm(range(settings.steps), desc="aligning", disable=not settings.progress):
        seen, rows, cuts, told = draw()
        seen = seen - middle
        loss = ((seen.norm(dim=1) / length - 1) ** 2).mean()
        for number, vectors in contrasts:
            loss = loss + _contrast(seen, rows, cuts, _wanted(told, number, len(vectors)),
                                    vectors, settings.temperature)  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if (step + 1) % tenth == 0:
            losses.append(total / tenth)
            total = 0.0
    _log.info("aligned %d words: %.2f, then %.2f", len(vocabulary.words[NAME]), losses[0],
              losses[-1])  # fmt: skip
    return losses


def _weights(start: Start, part: str) -> list[torch.nn.Parameter]:
    if part == "projection":
        return list(find_projection(start.model).float().parameters())
    whole = {id(p) for p in find_projection(start.model).parameters()}
    return [p for p in start.model.parameters() if p.requires_grad and id(p) not in whole]


def _wanted(told: Sequence[tuple[Label, ...]], number: int, words: int) -> Tensor:
    """Return the share of each word in what is true of each region, regions x words; 0: nothing."""
    wanted = torch.zeros(len(told), words)
    for row, labels in enumerate(told):
        mine = [word for question, word in labels if question == number]
        wanted[row, mine] = 1 / max(1, len(mine))
    return wanted


def _contrast(
    seen: Tensor, rows: Tensor, cuts: int, wanted: Tensor, words: Tensor, temperature: float
) -> Tensor:
    """Return the contrastive loss of cuts as a whole and of single vectors, a mean over regions."""
    words = F.normalize(words, dim=1)
    counts = torch.bincount(rows[:cuts], minlength=len(wanted))
    whole = torch.zeros(len(wanted), seen.shape[1]).index_add(0, rows[:cuts], seen[:cuts])
    means = F.normalize(whole / counts[:, None], dim=1)
    return F.cross_entropy(means @ words.T / temperature, wanted) + F.cross_entropy(
        F.normalize(seen, dim=1) @ words.T / temperature, wanted[rows]
    )


def _draw_seen(
    shown: Sequence[Shown], start: Start, batch: int, rng: np.random.Generator
) -> Callable[[], Batch]:
    """Return what draws regions that were seen before."""
    projection = find_projection(start.model)

    def draw() -> Batch:
        drawn = [shown[k] for k in rng.integers(len(shown), size=batch)]
        vectors = [*(one.cut for one in drawn), *(one.inside for one in drawn)]
        counts = torch.tensor([len(one) for one in vectors])
        rows = torch.arange(len(drawn)).repeat(2).repeat_interleave(counts)
        seen = projection(torch.cat(vectors).float())
        return seen, rows, int(counts[: len(drawn)].sum()), [one.labels for one in drawn]

    return draw


def _draw_live(
    sources: Sequence[PictureRecords], start: Start, vocabulary: Vocabulary,
    settings: AlignSettings, rng: np.random.Generator,
) -> Callable[[], Batch]:  # fmt: skip
    """Return what draws regions of varied pictures, which the vision tower sees anew."""
    half = use_bf16(settings.bf16)

    def draw() -> Batch:
        inputs, told = draw_batch(sources, start, vocabulary, settings.batch, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = start.model.get_image_features(**inputs, return_dict=True).pooler_output
        each = [one.float() for one in found]
        rows = torch.arange(len(each)).repeat_interleave(torch.tensor([len(one) for one in each]))
        return torch.cat(each), rows, len(rows), told

    return draw


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


def _read(
    records: PictureRecords, start: Start, settings: AlignSettings, vocabulary: Vocabulary
) -> list[Shown]:
    """Return the regions of a source that have labels."""
    source = records.source
    shown: list[Shown] = []
    step = max(1, len(records) // settings.pictures) if settings.pictures else 1
    title = f"seeing {source.records.name}"
    for number in tqdm(range(0, len(records), step), desc=title, disable=not settings.progress):
        record = records[number]
        try:
            image_rgb = read_picture(source.images / record.image)
        except RecordError as error:
            _log.warning("left out %s/%s: %s", record.source, record.id, error)
            continue
        shown += read_shown(record, image_rgb, start, vocabulary)
    return shown
