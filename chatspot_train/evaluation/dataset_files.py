"""Read a data set's files: by the reader of its data source, or entry by entry."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from chatspot_ros.errors import ChatspotError, shorten
from chatspot_train.data.sources.base import Job
from chatspot_train.data.sources.conversion_report import ConversionReport
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.evaluation.suite import MissingDataError, need

_REASONS = 3  # in an error
KITCHEN_DETECTIONS = "detections.json"  # the simulated detector's results on the kitchen
_log = logging.getLogger(__name__)
T = TypeVar("T")


class MalformedDataError(ChatspotError):
    """A data set's file has another layout than its suite reads."""


@contextmanager
def reading(annotations: Path, pictures: Path, split: str = "") -> Iterator[Job]:
    """Open a job for a source's own reader; log the number of skipped entries by reason."""
    with TemporaryDirectory() as folder, closing(ConversionReport(Path(folder))) as report:
        yield Job(annotations, ImageFolder(pictures), Path(folder), report, split)
        for reason, count in report.reasons.most_common():
            _log.warning("%s: %d not asked about: %s", annotations.name, count, reason)


def first_there(data: Path, names: Iterable[str], wants: str) -> Path:
    """Return the first existing path under `data`. Raises MissingDataError for none."""
    tried = [data / name for name in names]
    for path in tried:
        if path.exists():
            return path
    raise MissingDataError(
        "a file of the data set is missing", value=" or ".join(map(str, tried)), remedy=wants
    )


def sample(things: Sequence[T], limit: int, seed: int) -> list[T]:
    """Draw at most `limit` things (0: all) by the seed; keep their order."""
    if limit <= 0 or limit >= len(things):
        return list(things)
    drawn = np.random.default_rng(seed).choice(len(things), limit, replace=False)
    return [things[k] for k in sorted(drawn)]


def need_some(found: Sequence[object], file: Path, wants: str, job: Job | None = None) -> None:
    """Raise MissingDataError, with the reasons for the job's drops, if nothing was found."""
    if found:
        return
    reasons = job.report.reasons.most_common(_REASONS) if job else ()
    why = (
        "; ".join(f"{count} x {reason}" for reason, count in reasons)
        or "no entry that could be asked about"
    )
    raise MissingDataError(f"there is nothing to ask about ({why})", value=file, remedy=wants)


def read_text(path: Path, wants: str) -> str:
    """Read a file in UTF-8, with or without a byte order mark.

    Raises MissingDataError or MalformedDataError.
    """
    try:
        return need(path, wants).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed(path, f"it is not in UTF-8: {error}", wants) from error


def read_json(path: Path, wants: str) -> Any:
    """Read a JSON file. Raises MissingDataError or MalformedDataError."""
    text = read_text(path, wants)
    try:
        return json.loads(text)
    except ValueError as error:
        raise malformed(path, str(error), wants) from error


def read_json_lines(path: Path, wants: str) -> list[Any]:
    """Read one JSON value a line. Raises MissingDataError or MalformedDataError, with the line."""
    text = read_text(path, wants)
    found = []
    # Not splitlines(): a JSON string may contain U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                found.append(json.loads(line))
        except ValueError as error:
            raise malformed(path, f"line {number}: {error}", wants) from error
    return found


def malformed(path: Path, problem: str, wants: str) -> MalformedDataError:
    """Return the error for a file in another layout."""
    return MalformedDataError(
        f"a file of the data set is not as it should be: {problem}", value=path, remedy=wants
    )


def checked(entry: Any, names: Sequence[str], path: Path, wants: str) -> dict[str, Any]:
    """Return the entry. Raises MalformedDataError unless it is an object with all fields."""
    missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
    if missing:
        raise malformed(path, f"no {', '.join(missing)} in {shorten(entry)}", wants)
    found: dict[str, Any] = entry
    return found


def grouped_by_image(entries: Iterable[tuple[str, T]]) -> Iterator[T]:
    """Yield the entries grouped by image (the text before each)."""
    groups: dict[str, list[T]] = {}
    for picture, entry in entries:
        groups.setdefault(picture, []).append(entry)
    for group in groups.values():
        yield from group
