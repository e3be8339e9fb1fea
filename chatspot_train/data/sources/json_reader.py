"""Reading of JSON annotation files, whose entries are validated one by one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import Entry, Job, SourceError
from chatspot_train.data.sources.conversion_report import SkipError

PICKLE_SUFFIXES = (".p", ".pkl", ".pickle")


class Schema(BaseModel):
    """Base of an entry's schema; other fields are ignored.

    A number is accepted for a text: ids differ between releases.
    """

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, frozen=True)


class XywhBox(Schema):
    """A box as in Visual Genome, in pixels: upper left corner x, y and size w, h."""

    x: float
    y: float
    w: float
    h: float

    def region(self) -> Region:
        """Return the box as a region. Raises SkipError where it has no area."""
        return box_xywh((self.x, self.y, self.w, self.h))


def box_xywh(values: Sequence[float]) -> Region:
    """Return a box from x, y, width, height in pixels. Raises SkipError where it has no area."""
    if len(values) != 4:
        raise SkipError("a box has not four numbers", list(values))
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise SkipError("the box has no area", list(values))
    return Region.box(x, y, x + width, y + height)


def box_xyxy(values: Sequence[float]) -> Region:
    """Return a box from its corners in pixels. Raises SkipError where it has no area."""
    if len(values) != 4:
        raise SkipError("a box has not four numbers", list(values))
    return box_xywh((values[0], values[1], values[2] - values[0], values[3] - values[1]))


def clean(text: str) -> str:
    """Return the text on one line without outer spaces. Raises SkipError where it is empty."""
    words = " ".join(text.split())
    if not words:
        raise SkipError("the text is empty", repr(text))
    return words


def load_json(path: Path) -> Any:
    """Return the content of a JSON file (or `.json.gz`) with any suffix.

    Raises SourceError where the file is missing, a pickle, or not JSON.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"the annotations cannot be read ({error.strerror})", value=path,
            remedy="give the data set's own annotation file with --annotations",
        ) from error  # fmt: skip
    if path.suffix in PICKLE_SUFFIXES or data[:1] == b"\x80":
        raise SourceError(
            "the annotations are a pickle, which may run any code when it is read", value=path,
            remedy="convert it to JSON with a reader that refuses all classes, as docs/data.md "
            "shows, and give the JSON file",
        )  # fmt: skip
    try:
        return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (ValueError, RecursionError, OSError, EOFError) as error:
        raise SourceError(
            f"the annotations are not JSON ({error})", value=path,
            remedy="fetch the file again, or give the right one",
        ) from error  # fmt: skip


def json_lines(job: Job) -> Iterator[Entry]:
    """Yield the objects of a file of JSON lines; report broken lines."""
    try:
        lines = job.annotations.open("rb")
    except OSError as error:
        raise SourceError(
            f"the annotations cannot be read ({error.strerror})", value=job.annotations,
            remedy="give a file of JSON lines with --annotations",
        ) from error  # fmt: skip
    with lines:
        for number, line in enumerate(lines, start=1):
            where = f"line {number}"
            with job.guard(where):
                if line.strip():
                    yield where, _parsed(line)


def _parsed(line: bytes) -> Any:
    """Parse a line. Raises SkipError where it is not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SkipError("the line is not JSON", error) from error


def list_entries(job: Job, key: str = "") -> list[Entry]:
    """Return the entries of a list in a JSON file: the list `key` of an object, or all of it.

    Raises SourceError where there is no such list.
    """
    return items(job.annotations, load_json(job.annotations), key)


def items(path: Path, loaded: Any, key: str = "") -> list[Entry]:
    """Return (`key[k]`, entry) of the list `key` in the content of `path`. Raises SourceError."""
    found = loaded
    if key:
        found = loaded.get(key) if isinstance(loaded, dict) else None
    if not isinstance(found, list):
        what = f"a list {key!r}" if key else "a list"
        raise SourceError(
            f"the annotations do not hold {what}", value=path,
            remedy="give the file that docs/data.md names for this source",
        )  # fmt: skip
    return [(f"{key}[{k}]", entry) for k, entry in enumerate(found)]


def mapping_entries(job: Job) -> list[Entry]:
    """Return (key, (key, value)) for a JSON file that is one object. Raises SourceError."""
    found = load_json(job.annotations)
    if not isinstance(found, dict):
        raise SourceError(
            "the annotations are not one JSON object", value=job.annotations,
            remedy="give the file that docs/data.md names for this source",
        )  # fmt: skip
    return [(f"[{key!r}]", (key, value)) for key, value in found.items()]
