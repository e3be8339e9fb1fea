"""How a suite reads a data set: with the reader of its data source, and all pictures there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from chatspot_train.data.sources.base import Job
from chatspot_train.data.sources.conversion_report import ConversionReport
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.evaluation.suite import MissingDataError

_log = logging.getLogger(__name__)
T = TypeVar("T")


@contextmanager
def reading(annotations: Path, pictures: Path, split: str = "") -> Iterator[Job]:
    """A job for a source's own reader; what cannot be asked about is logged, by reason."""
    with TemporaryDirectory() as folder, closing(ConversionReport(Path(folder))) as report:
        yield Job(annotations, ImageFolder(pictures), Path(folder), report, split)
        for reason, count in report.reasons.most_common():
            _log.warning("%s: %d not asked about: %s", annotations.name, count, reason)


def first_there(data: Path, names: Iterable[str], wants: str) -> Path:
    """The first of these paths under `data` that exists. Raises MissingDataError for none."""
    tried = [data / name for name in names]
    for path in tried:
        if path.exists():
            return path
    raise MissingDataError(
        "a file of the data set is missing", value=" or ".join(map(str, tried)), remedy=wants
    )


def sample(things: Sequence[T], limit: int, seed: int) -> list[T]:
    """At most `limit` of them (0: all), drawn by the seed, in their order."""
    if limit <= 0 or limit >= len(things):
        return list(things)
    drawn = np.random.default_rng(seed).choice(len(things), limit, replace=False)
    return [things[k] for k in sorted(drawn)]
