"""The description of a data source: how the files of one data set become records.

A source lists the entries of its annotation file and converts one at a time. An unusable entry, or
part of one, is reported and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tqdm import tqdm

from chatspot_ros.errors import ChatspotError
from chatspot_train.data.records import Record, RecordTurn, check
from chatspot_train.data.sources.conversion_report import ENTRY_ERRORS, ConversionReport, SkipError
from chatspot_train.data.sources.image_folder import ImageFolder

# An image with more questions becomes several records, which a trainer may mix freely.
TURNS_PER_RECORD = 16
Entry = tuple[str, Any]


class SourceError(ChatspotError):
    """A source cannot be read: a file or an option is missing or of the wrong kind."""


@dataclass(frozen=True)
class Job:
    """One conversion of a data set.

    `annotations` is the data set's own file, `pictures` are its images, `split` is the only split
    to take (empty: all), `limit` the maximum number of records, `out` the output folder. `regions`
    is one of the source's `region_forms`, `blank` the picture of dialogues without one. `first` is
    the number of the first kitchen. `mosaic` is the number of pictures that are laid into one (0:
    none), `classes` a file that names the kinds of folders, `without` are kinds to leave out. With
    another `seed` other questions, words and mosaics are drawn.
    """

    annotations: Path
    pictures: ImageFolder
    out: Path
    report: ConversionReport
    split: str = ""
    limit: int | None = None
    regions: str = ""
    blank: str = ""
    first: int = 0
    mosaic: int = 0
    classes: Path | None = None
    without: tuple[str, ...] = ()
    seed: int = 0

    @property
    def draw_key(self) -> tuple[object, ...]:
        """What a source's keys end with, so that another seed draws anew."""
        return ("seed", self.seed) if self.seed else ()

    @contextmanager
    def guard(self, where: str, file: Path | None = None) -> Iterator[None]:
        """Report an error of the block under `where` and continue after the block."""
        try:
            yield
        except ENTRY_ERRORS as error:
            self.report.drop(file or self.annotations, where, error)


@dataclass(frozen=True)
class Source:
    """One data set.

    `entries` returns (place in the file, entry) pairs; `convert` turns an entry into records and
    raises one of ENTRY_ERRORS for an unusable one. `splits` are the valid values of `--split`.
    `annotations` names the file of the data set that is read; with `needs_annotations` False it may
    be left out. `region_forms` are the valid values of `--regions`, the default first; `takes` are
    the other options that it reads, of blank, first, mosaic, classes, without and seed.
    """

    name: str
    licence: str
    tags: tuple[str, ...]
    annotations: str
    entries: Callable[[Job], Iterable[Entry]]
    convert: Callable[[Any, str, Job], Iterable[Record]]
    splits: tuple[str, ...] = ()
    needs_files: bool = True
    needs_annotations: bool = True
    region_forms: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()

    def record(
        self,
        key: str,
        image: str,
        size: tuple[int, int],
        turns: Sequence[RecordTurn],
        split: str = "",
    ) -> Record:
        """Return a record with the id `key`; `size` is (width, height) in pixels."""
        tags = (*self.tags, f"split: {split}") if split else self.tags
        return Record(self.name, key, image, *size, tuple(turns), tags, self.licence)

    def records(
        self,
        key: str,
        image: str,
        size: tuple[int, int],
        turns: Sequence[RecordTurn],
        split: str = "",
    ) -> Iterator[Record]:
        """Return records of TURNS_PER_RECORD turns each; later ones have the ids `key#1`, ..."""
        for first in range(0, len(turns), TURNS_PER_RECORD):
            part = f"#{first // TURNS_PER_RECORD}" if first else ""
            some = turns[first : first + TURNS_PER_RECORD]
            yield self.record(f"{key}{part}", image, size, some, split)


def read_source(source: Source, job: Job, progress: bool = True) -> Iterator[Record]:
    """Convert entry by entry; yield records that pass `records.check`, at most `job.limit`.

    Raises SourceError where the source cannot be read.
    """
    report = job.report
    entries = source.entries(job)
    total = len(entries) if isinstance(entries, Sized) else job.limit
    with tqdm(total=total, desc=source.name, unit="entry", disable=not progress) as bar:
        for where, raw in entries:
            report.entries += 1
            bar.update()
            before = report.records + report.dropped
            for record in _converted(source, job, where, raw):
                report.keep(record)
                yield record
                if job.limit is not None and report.records >= job.limit:
                    return
            if report.records + report.dropped == before:
                report.drop(job.annotations, where, SkipError("nothing to ask about"))
            bar.set_postfix(records=report.records, dropped=report.dropped, refresh=False)


def _converted(source: Source, job: Job, where: str, raw: Any) -> list[Record]:
    """Return the usable records of an entry and report the errors of the others."""
    kept: list[Record] = []
    with job.guard(where):
        for record in source.convert(raw, where, job):
            with job.guard(where):
                check(record)
                kept.append(record)
    return kept


def draw(choices: Sequence[str], *key: object) -> str:
    """Return one of the texts by a hash of the key: always the same for the same key."""
    return choices[draw_number(len(choices), *key)]


def draw_number(count: int, *key: object) -> int:
    """Return a number from 0 to count - 1 by a hash of the key, the same in every run."""
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count
