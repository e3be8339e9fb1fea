"""The order of training examples: mixing by weight, replay, joined records of one image, batches of
similar length. It depends on the settings and the seed alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from tqdm import tqdm

from chatspot_train.data.augment_images import vary_picture
from chatspot_train.data.augment_text import Synonyms, vary_text
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import PictureError, Record, RecordError, Records, split_of
from chatspot_train.finetune.collator import Encoder
from chatspot_train.finetune.config import AugmentSettings, ReplaySettings, SourceSettings
from chatspot_train.finetune.drops import Drop

MAX_TURNS = 16
MAX_TRIES = 1000
LENGTH_GROUP = 32  # batches; records are sorted by length within each such group
WINDOW = 64  # row groups of records that are shuffled together; GROUPS_KEPT holds them
_log = logging.getLogger(__name__)


class PictureRecords(Sequence[Record]):
    """The records of a source's splits; successive records of one image are joined.

    `lengths` are the approximate numbers of characters, for batches of similar length; `groups` the
    row groups that the records are read with.
    """

    def __init__(self, source: SourceSettings, progress: bool = False) -> None:
        self.source = source
        self._records = Records(source.records)
        self._runs: list[tuple[int, int]] = []
        lengths: list[int] = []
        image, turns = None, 0
        name = f"reading {source.records.name}"
        for k, record in enumerate(tqdm(self._records, desc=name, disable=not progress)):
            if not source.takes(split_of(record.tags)):
                image = None
                continue
            size = sum(len(t.question) + len(t.answer) + 20 * len(t.regions) for t in record.turns)
            if record.image == image and turns + len(record.turns) <= MAX_TURNS:
                self._runs[-1] = (self._runs[-1][0], k + 1)
                lengths[-1] += size
                turns += len(record.turns)
            else:
                self._runs.append((k, k + 1))
                lengths.append(size)
                image, turns = record.image, len(record.turns)
        self.lengths = np.array(lengths, np.int64)
        groups = [self._records.group_of(first) for first, _ in self._runs]
        self.groups = np.array(groups, np.int64)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: Any) -> Any:
        first, end = self._runs[index]
        records = self._records[first:end]
        whole: Record = records[0]
        if len(records) == 1:
            return whole
        turns = tuple(turn for record in records for turn in record.turns)
        return replace(whole, turns=turns, id=f"{whole.id}+{len(records) - 1}")


def draw_epoch(
    sources: Sequence[PictureRecords],
    replayed: Sequence[PictureRecords],
    share: float,
    batch: int,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Return one epoch as (source, record) pairs; replayed sources are numbered after the others.

    The records of each source occur `weight` times, in a new order; replayed ones, drawn by weight,
    are `share` of all. Row groups come in random order, WINDOW of all sources at a time, and within
    a window records of similar length form batches in random order: a worker reads each row group
    once for all its records.
    """
    pairs = [
        (number, int(k))
        for number, source in enumerate(sources)
        for k in _times(len(source), source.source.weight, rng)
    ]
    if replayed and share:
        count = round(len(pairs) * share / (1 - share))
        mass = np.array([len(one) * one.source.weight for one in replayed], float)
        for pick in rng.choice(len(replayed), count, p=mass / mass.sum()):
            pairs.append((len(sources) + int(pick), int(rng.integers(len(replayed[pick])))))
    everything = [*sources, *replayed]
    if not pairs:
        return []
    lengths = np.array([everything[s].lengths[k] for s, k in pairs])
    groups = np.array([(s, everything[s].groups[k]) for s, k in pairs])
    windows = _windows(np.array(pairs), groups, rng)
    rest = np.zeros(0, np.int64)
    order = []
    for number in range(int(windows.max()) + 1):
        found = np.concatenate([rest, np.flatnonzero(windows == number)])
        found = found[by_length(lengths[found], batch, rng)]
        whole = len(found) // batch * batch
        order.append(found[:whole])
        rest = found[whole:]
    return [pairs[k] for k in np.concatenate([*order, rest])]


def _windows(
    pairs: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the window of each pair, WINDOW row groups drawn at random.

    The n-th occurrence of a record counts as of another group than the first: what is learned
    often is spread over the epoch.
    """
    _, same = np.unique(pairs, axis=0, return_inverse=True)
    order = np.argsort(same.ravel(), kind="stable")
    ends = same.ravel()[order]
    occurrence = np.empty(len(pairs), np.int64)
    occurrence[order] = np.arange(len(pairs)) - np.searchsorted(ends, ends)
    keys = np.column_stack([groups, occurrence])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    places = rng.permutation(int(group.max()) + 1)
    return places[group.ravel()] // WINDOW


def _times(count: int, weight: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return about `weight` times as many of the numbers below `count`, in random order."""
    wanted = max(1, round(count * weight)) if count else 0
    rounds = [rng.permutation(count) for _ in range(-(-wanted // count))] if count else []
    return np.concatenate(rounds)[:wanted] if rounds else np.zeros(0, np.int64)


def by_length(
    lengths: NDArray[np.int64], batch: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return an order in which each batch has items of similar length and batches are shuffled.

    transformers' LengthGroupedSampler leaves the batches of a group sorted from long to short.
    """
    order = rng.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for first in range(0, len(order), LENGTH_GROUP * batch):
        group = order[first : first + LENGTH_GROUP * batch]
        group = group[np.argsort(-lengths[group], kind="stable")]
        batches += [group[k : k + batch] for k in range(0, len(group), batch)]
    short = [b for b in batches if len(b) < batch]
    whole = [b for b in batches if len(b) == batch]
    mixed = [whole[k] for k in rng.permutation(len(whole))] + short
    return np.concatenate(mixed) if mixed else np.zeros(0, np.int64)


class ExampleDataset(Dataset[dict[str, Any]]):
    """Item k is training example k of the whole run, so a resumed run sees the same examples.

    An unusable record is logged by name and replaced by the next one, whose item lists it in
    `dropped`. RecordError is raised where MAX_TRIES in a row are unusable.
    """

    def __init__(
        self,
        sources: Sequence[SourceSettings],
        encoder: Encoder,
        *,
        epochs: float = 1.0,
        batch: int = 1,
        replay: ReplaySettings | None = None,
        augment: AugmentSettings | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        trained = [PictureRecords(source, progress) for source in sources]
        replayed = [PictureRecords(s, progress) for s in replay.data] if replay else []
        self.sources = [*trained, *replayed]
        self.encoder, self.augment, self.seed = encoder, augment, seed
        texts = augment.texts if augment is not None else None
        self.synonyms = Synonyms.read(texts) if texts is not None else None
        self._order: list[tuple[int, int]] = []
        for epoch in range(int(np.ceil(epochs))):
            rng = np.random.default_rng([seed, 17, epoch])
            drawn = draw_epoch(trained, replayed, replay.share if replay else 0.0, batch, rng)
            part = min(1.0, epochs - epoch)
            self._order += drawn[: round(part * len(drawn))]
        if not self._order:
            raise RecordError("there is nothing to learn from: all records' folders are empty")

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """Return source and id of the record of item `index`."""
        source, k = self._order[index]
        record = self.sources[source][k]
        return f"{record.source}/{record.id}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        dropped: list[Drop] = []
        for offset in range(min(MAX_TRIES, len(self._order))):
            source, k = self._order[(index + offset) % len(self._order)]
            record = self.sources[source][k]
            try:
                example = self._example(record, self.sources[source].source.images, index)
            except RecordError as error:
                _log.warning("left out %s/%s: %s", record.source, record.id, error)
                picture = record.image if isinstance(error, PictureError) else ""
                name = f"{record.source}/{record.id}"
                dropped.append(Drop(source, name, picture, str(error)))
            else:
                return {**example, "dropped": dropped}
        raise RecordError(
            f"{len(dropped)} records in a row cannot be used, the last: {dropped[-1].reason}"
        )

    def _example(self, record: Record, images: Path, index: int) -> dict[str, Any]:
        rgb = read_picture(images / record.image)
        rng = np.random.default_rng([self.seed, 18, index])
        if self.augment is not None and self.augment.pictures:
            try:
                rgb, record = vary_picture(rgb, record, rng)
            except cv2.error as error:  # a picture of more than 32,767 pixels in a row or column
                raise PictureError(f"{record.image} cannot be varied: {error.err}") from error
        if self.synonyms is not None:
            record = vary_text(record, rng, self.synonyms)
        return self.encoder.example(record, rgb, rng)
