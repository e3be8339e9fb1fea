"""What alignment learns from: regions of records with a word for what they show."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.models.image_inputs import crop_inputs, image_inputs
from chatspot_ros.engine.models.patches import seen_patches
from chatspot_train.data.augment_images import vary_picture
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import Record, RecordError
from chatspot_train.finetune.dataset import PictureRecords
from chatspot_train.finetune.model import Start

LONGEST_NAME = 3  # words
_NO_NAMES = ("yes", "no", "there", "nothing", "none")
# The question that a name answers; states have their attribute's name.
NAME = ""
# Regions of a picture at a time, where the vision tower learns.
_REGIONS_AT_ONCE = 8
_log = logging.getLogger(__name__)

# (what is asked, the word that answers it), as numbers of Vocabulary
Label = tuple[int, int]


@dataclass
class Vocabulary:
    """The words that answer each question: what a thing is (NAME), or one of its attributes.

    A varied picture's record may have words that no record has (mirrored ones): `complete` says
    that no word is added any more.
    """

    words: dict[str, dict[str, int]] = field(default_factory=lambda: {NAME: {}})
    complete: bool = False

    def label(self, question: str, word: str) -> Label | None:
        """Return the numbers of a question and of a word; None: not among the words."""
        if not self.complete:
            words = self.words.setdefault(question, {})
            words.setdefault(word, len(words))
        known = word in self.words.get(question, ())
        return (list(self.words).index(question), self.words[question][word]) if known else None

    @property
    def contrasts(self) -> list[tuple[int, list[str]]]:
        """The numbers and words of the questions with at least two words."""
        return [(k, list(words)) for k, words in enumerate(self.words.values()) if len(words) > 1]


@dataclass(frozen=True)
class Shown:
    """A region: vectors before the projection, of its cut and of the whole picture inside it
    (vectors x channels, float16), and what is true of it."""

    cut: Tensor
    inside: Tensor
    labels: tuple[Label, ...]


def name_of(answer: str) -> str:
    """Return the name that an answer gives; empty: it is a sentence, a number, or yes or no."""
    words = answer.strip().rstrip(".").lower().split()
    fits = 1 <= len(words) <= LONGEST_NAME and all(
        one.replace("-", "").replace("'", "").isalpha() for one in words
    )
    return " ".join(words) if fits and words[0] not in _NO_NAMES else ""


def states_of(answer: str) -> dict[str, str]:
    """Return the attributes that an answer tells of: `door: open, plug: in`. Empty: none."""
    pairs = [part.split(": ") for part in answer.strip().rstrip(".").lower().split(", ")]
    fits = all(len(pair) == 2 and pair[0] and pair[1].isalpha() for pair in pairs)
    return {pair[0]: pair[1] for pair in pairs} if fits else {}


def labels_of(record: Record, vocabulary: Vocabulary) -> dict[Region, tuple[Label, ...]]:
    """Return what the turns about one region say of it in a word or as a state."""
    found: dict[Region, set[Label]] = {}
    for turn in record.turns:
        if len(turn.regions) != 1:
            continue
        region = turn.regions[0].clipped(record.width, record.height)
        pairs = {NAME: name_of(turn.answer)} if not turn.task else {}
        pairs |= states_of(turn.answer) if turn.task == "state" else {}
        labels = [vocabulary.label(question, word) for question, word in pairs.items() if word]
        if region.points_px and any(labels):
            found.setdefault(region, set()).update(one for one in labels if one is not None)
    return {region: tuple(sorted(labels)) for region, labels in found.items()}


def read_shown(
    record: Record, image_rgb: RgbImage, start: Start, vocabulary: Vocabulary
) -> Iterator[Shown]:
    """Yield the regions of a record, seen once."""
    found = labels_of(record, vocabulary)
    if not found:
        return
    fit, pixels = image_inputs(image_rgb, start.spec, start.image_processor)
    (whole,) = _seen(start, [pixels])
    cuts = _seen(start, _cuts(image_rgb, list(found), start))
    for (region, labels), cut in zip(found.items(), cuts, strict=True):
        yield Shown(cut, _inside(whole, fit.to_unit(region.points_px), pixels), labels)


def draw_batch(
    sources: Sequence[PictureRecords], start: Start, vocabulary: Vocabulary, count: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], list[tuple[Label, ...]]]:  # fmt: skip
    """Return the cuts of about `count` regions of varied pictures as the model's inputs, and their
    labels. Sources are drawn by their weight and size. Raises RecordError where no record has any.
    """
    mass = np.array([len(one) * one.source.weight for one in sources], float)
    cuts: list[dict[str, Any]] = []
    told: list[tuple[Label, ...]] = []
    tries = 0
    while len(cuts) < count:
        tries += 1
        if tries > 100 * count:
            raise RecordError("the records name nothing: alignment needs regions with short names")
        source = sources[int(rng.choice(len(sources), p=mass / mass.sum()))]
        record = source[int(rng.integers(len(source)))]
        try:
            image_rgb = read_picture(source.source.images / record.image)
            image_rgb, record = vary_picture(image_rgb, record, rng)
        except RecordError as error:
            _log.warning("left out %s/%s: %s", record.source, record.id, error)
            continue
        found = list(labels_of(record, vocabulary).items())
        drawn = [found[k] for k in rng.permutation(len(found))[:_REGIONS_AT_ONCE]]
        cuts += _cuts(image_rgb, [region for region, _ in drawn], start)
        told += [labels for _, labels in drawn]
    return {key: torch.cat([one[key] for one in cuts]) for key in cuts[0]}, told


def _cuts(image_rgb: RgbImage, regions: Sequence[Region], start: Start) -> list[dict[str, Any]]:
    return [crop_inputs(image_rgb, one, start.spec, start.image_processor) for one in regions]


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
    with torch.no_grad(), seen_patches(start.model) as found:
        batch = {key: torch.cat([one[key] for one in pictures]) for key in pictures[0]}
        start.model.get_image_features(**batch)
    return [one.half() for one in found[0]]
