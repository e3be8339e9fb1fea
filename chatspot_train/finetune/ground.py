"""Teach a checkpoint to point: `recipe: ground` trains a grounding head, and nothing else.

The vision tower and the language model stand still and read each picture once; the head learns from
what they computed. See chatspot_ros.engine.models.grounding_head.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import Tensor
from tqdm import tqdm

from chatspot_ros.core.model_spec import PointingSpec
from chatspot_ros.engine.decoding.pointing import Pointing
from chatspot_ros.engine.models.grounding_head import HEAD_FILE, GroundingHead, HeadConfig
from chatspot_train.common.stage_config import StrictModel
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.finetune.config import ModelSettings, SourceSettings, without_folders
from chatspot_train.finetune.dataset import PictureRecords
from chatspot_train.finetune.export import export_start
from chatspot_train.finetune.ground_examples import Looker, Seen, absent_name, names_in, pointed
from chatspot_train.finetune.ground_loss import ground_loss, overlaps
from chatspot_train.finetune.model import Start, load_start
from chatspot_train.finetune.source_notes import source_note

RIGHT = 0.5  # a box is right whose overlap with a true one is above
_log = logging.getLogger(__name__)


class GroundSettings(StrictModel):
    """A run: `out` gets `model/`, the checkpoint with its head.

    The head reads the hidden states at `depths` of the language model's layers (0 to 1). Each
    source's pictures are read once, at most `pictures` of them, evenly spread (0: all), and as
    their mirror images with `mirrors`. A step learns from `batch` pictures with up to `queries`
    boxes each. `held_out` is the share of the pictures that scores are calibrated on.
    """

    recipe: Literal["ground"]
    out: Path
    name: str = ""
    model: ModelSettings
    data: list[SourceSettings] = Field(min_length=1)
    depths: list[float] = Field([0.3, 0.5, 0.6], min_length=1)
    width: int = Field(default=64, ge=8)
    unfold: int = Field(default=4, ge=1, le=16)
    pictures: int = Field(default=0, ge=0)
    mirrors: bool = True
    longest: int = Field(default=1200, gt=0)
    steps: int = Field(default=1500, gt=0)
    batch: int = Field(default=8, gt=0)
    queries: int = Field(default=4, gt=0)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    seed: int = 7
    progress: bool = True


def run_recipe(values: Any) -> Path:
    """Train a head as these settings say and return the exported folder. Raises
    pydantic.ValidationError, ModelLoadError, FileNotFoundError or RecordError."""
    settings = GroundSettings.model_validate(values)
    torch.manual_seed(settings.seed)
    start = load_start(settings.model)
    start.model.eval().requires_grad_(False)
    sources = [(PictureRecords(one, settings.progress), one.weight) for one in settings.data]
    seen = [(one, weight) for each, weight in sources for one in read_all(each, start, settings)]
    rng = np.random.default_rng(settings.seed)
    kept = rng.permutation(len(seen))
    held = max(1, round(settings.held_out * len(seen)))
    taught = [seen[int(k)] for k in kept[held:]]
    if not taught:
        raise RecordError("the records point at nothing: a head needs answers with boxes")
    head = new_head(start, taught[0][0], settings)
    losses = train(head, taught, settings, rng)
    measured = calibrate(head, [seen[int(k)][0] for k in kept[:held]])
    folder = settings.out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    head.save(folder / HEAD_FILE)
    spec = PointingSpec(file=HEAD_FILE, threshold=measured["threshold"])
    note = _note(settings, losses, measured)
    return export_start(start, folder, note, pointing=spec)


def layers_of(start: Start, depths: Sequence[float]) -> tuple[int, ...]:
    """Return the numbers of the hidden states at shares of the language model's layers."""
    count = int(start.model.config.get_text_config().num_hidden_layers)
    return tuple(sorted({min(max(1, round(count * depth)), count) for depth in depths}))


def read_all(records: PictureRecords, start: Start, settings: GroundSettings) -> Iterator[Seen]:
    """Yield the pictures of a source that are pointed at, read once."""
    source = records.source
    layers = layers_of(start, settings.depths)
    # Only to learn which token opens a box; it never points.
    dialect = start.spec.dialect.make()
    opening_id = Pointing.opening_of(dialect, start.tokenizer)
    looker = Looker(start, layers, opening_id, settings.longest)
    rng = np.random.default_rng(settings.seed)
    names = sorted({name for record in records for name in names_in(record)})
    step = max(1, len(records) // settings.pictures) if settings.pictures else 1
    title = f"seeing {source.records.name}"
    for number in tqdm(range(0, len(records), step), desc=title, disable=not settings.progress):
        record = records[number]
        turns = pointed(record, start, absent_name(names, names_in(record), rng))
        if not turns:
            continue
        try:
            image_rgb = read_picture(source.images / record.image)
            yield looker.look(record, image_rgb, turns, settings.mirrors)
        except RecordError as error:
            _log.warning("left out %s/%s: %s", record.source, record.id, error)


def new_head(start: Start, example: Seen, settings: GroundSettings) -> GroundingHead:
    """Return a head that fits the model's patches and states."""
    layers = layers_of(start, settings.depths)
    size = int(start.model.config.get_text_config().hidden_size)
    shape = HeadConfig(example.grids[0].shape[-1], size, layers, settings.width, settings.unfold)
    return GroundingHead(shape)


def train(
    head: GroundingHead, seen: Sequence[tuple[Seen, float]], settings: GroundSettings,
    rng: np.random.Generator,
) -> list[float]:  # fmt: skip
    """Train in place on pictures with their weights; return the losses, one for each tenth of the
    steps."""
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    mass = np.array([weight for _, weight in seen])
    losses: list[float] = []
    total, tenth = 0.0, max(1, settings.steps // 10)
    head.train()
    for step in tqdm(range(settings.steps), desc="pointing", disable=not settings.progress):
        drawn = [
            seen[int(k)][0] for k in rng.choice(len(seen), settings.batch, p=mass / mass.sum())
        ]
        loss = _loss(head, drawn, settings.queries, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if (step + 1) % tenth == 0:
            losses.append(total / tenth)
            total = 0.0
    head.eval()
    _log.info("pointing: %.2f, then %.2f", losses[0], losses[-1])
    return losses


def _loss(
    head: GroundingHead, drawn: Sequence[Seen], queries: int, rng: np.random.Generator
) -> Tensor:
    """Return the loss of some queries of pictures, each as itself or mirrored."""
    drawn = [one for one in drawn if one.grids[0].shape == drawn[0].grids[0].shape]
    views = [int(rng.integers(len(one.grids))) for one in drawn]
    maps = head.maps(torch.stack([one.grids[view] for one, view in zip(drawn, views, strict=True)]))
    pictures, states, right = [], [], []
    for number, (one, view) in enumerate(zip(drawn, views, strict=True)):
        for k in rng.permutation(len(one.queries))[:queries]:
            query = one.queries[int(k)]
            pictures.append(number)
            states.append(query.states)
            right.append(mirrored(query.boxes) if view else query.boxes)
    logits, boxes = head(maps[pictures], torch.stack(states))
    return ground_loss(logits, boxes, right, (maps.shape[2], maps.shape[3]))


def mirrored(boxes: Tensor) -> Tensor:
    """Return boxes (x1, y1, x2, y2 in the unit) as a mirror image has them."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([1 - x2, y1, 1 - x1, y2], 1)


def calibrate(head: GroundingHead, held: Sequence[Seen]) -> dict[str, float]:
    """Fit the probability that a box is right, and the threshold that best tells things that are
    there from others (F1 of what is not there); return it with the rows of pictures held out."""
    tops, rights, theres = [], [], []
    with torch.no_grad():
        for one in held:
            maps = head.maps(one.grids[0][None])
            for query in one.queries:
                logits, boxes = head(maps, query.states[None])
                best = int(logits[0].argmax())
                hits = overlaps(boxes[0, best], query.boxes)[0] > RIGHT
                tops.append(float(logits[0, best]))
                rights.append(bool(hits.any()))
                theres.append(bool(len(query.boxes)))
    top, right, there = np.array(tops), np.array(rights), np.array(theres)
    if 0 < right.sum() < len(right):
        fitted = LogisticRegression(C=100.0).fit(top[:, None], right)
        head.calibration.copy_(torch.tensor([fitted.coef_[0, 0], fitted.intercept_[0]]))
    slope, shift = head.calibration.tolist()
    scores = 1 / (1 + np.exp(-(slope * top + shift)))
    threshold, f1 = best_threshold(scores, there)
    rows = {"threshold": threshold, "absent_f1": f1, "queries": len(top)}
    if there.any():
        rows["right"] = float(right[there].mean())
    _log.info("held out: %s", rows)
    return rows


def best_threshold(scores: Any, there: Any) -> tuple[float, float]:
    """Return the threshold below which a thing is best said not to be there, and its F1."""
    best = (0.0, 0.0)
    for threshold in np.unique(np.round(scores, 3)):
        said = scores < threshold
        both = float((said & ~there).sum())
        f1 = 2 * both / max(1.0, float(said.sum() + (~there).sum()))
        best = max(best, (f1, float(threshold)))
    return best[1], best[0]


def _note(
    settings: GroundSettings, losses: list[float], measured: dict[str, float]
) -> dict[str, Any]:
    """Return training.json of the exported model, in the form of a stage of `instruct`."""
    model = settings.model.model_dump(mode="json")
    for part in ("checkpoint", "vision", "language"):
        model[part] = model[part] and without_folders(model[part])
    return {
        "recipe": settings.recipe, "name": settings.name or settings.out.resolve().name,
        "model": model, "learn": ["pointing"], "lora": None, "distill": None,
        "optim": {"learning_rate": settings.learning_rate, "epochs": 1, "batch": settings.batch},
        "sources": [source_note(source) for source in settings.data],
        "log": {"steps": settings.steps, "first_loss": losses[0], "last_loss": losses[-1],
                "held_out": measured},
    }  # fmt: skip
