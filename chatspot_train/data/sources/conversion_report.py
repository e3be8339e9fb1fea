"""The report of a conversion: counts of kept entries, and each dropped one with its reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RegionError, shorten
from chatspot_train.data.records import Record, RecordError

EXAMPLES_PER_REASON = 3
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class SkipError(ValueError):
    """An unusable entry. `reason` is the same text for all of its kind, `detail` its own."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail != "" else reason)
        self.reason, self.detail = reason, shorten(detail)


# Errors of one entry, which say nothing about the others.
ENTRY_ERRORS = (
    SkipError, ValidationError, RegionError, RecordError, UnicodeError, OverflowError,
    RecursionError,
)  # fmt: skip


@dataclass(frozen=True)
class Drop:
    """A dropped entry. `where` is its place in `file`, as `annotations[7]` or `line 3`."""

    file: str
    where: str
    reason: str
    detail: str


class ConversionReport:
    """Counts kept records and writes every drop as a line of `drops.jsonl` in `folder`.

    The file replaces an older one in `publish`. Counts and a few examples of each reason stay in
    memory. Use with `contextlib.closing`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._part = folder / "drops.part"
        self._lines: TextIO = self._part.open("w", encoding="utf-8", errors="backslashreplace")
        self.entries = self.records = self.turns = 0
        self.reasons: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.regions: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.examples: dict[str, list[Drop]] = {}

    def close(self) -> None:
        """Close the file of drops, and remove it unless it was published."""
        self._lines.close()
        self._part.unlink(missing_ok=True)

    def publish(self) -> None:
        """Give the file of drops its name."""
        self._lines.flush()
        self._part.replace(self._part.with_name("drops.jsonl"))

    @property
    def dropped(self) -> int:
        """The number of drops."""
        return self.reasons.total()

    def keep(self, record: Record) -> None:
        """Count a kept record."""
        self.records += 1
        self.turns += len(record.turns)
        self.tags.update(record.tags)
        for turn in record.turns:
            self.tasks[turn.task or "short"] += 1
            self.regions.update(_kind(r) for r in (*turn.regions, *turn.answer_regions))

    def drop(self, file: Path | None, where: str, error: Exception) -> None:
        """Write a drop and its reason. `error` is one of ENTRY_ERRORS."""
        reason, detail = explain(error)
        drop = Drop(str(file or ""), where, reason, detail)
        self._lines.write(json.dumps(asdict(drop), ensure_ascii=False) + "\n")
        self.reasons[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_PER_REASON:
            examples.append(drop)

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values, the most frequent reason first."""
        return {
            "entries": self.entries, "records": self.records, "turns": self.turns,
            "dropped": self.dropped,
            "tasks": dict(self.tasks.most_common()),
            "regions": dict(self.regions.most_common()),
            "tags": dict(self.tags.most_common()),
            "drops": [
                {"reason": reason, "count": count,
                 "examples": [asdict(drop) for drop in self.examples[reason]]}
                for reason, count in self.reasons.most_common()
            ],
        }  # fmt: skip


def explain(error: Exception) -> tuple[str, str]:
    """Return the reason of a drop, the same text for all of its kind, and its own detail."""
    if isinstance(error, SkipError):
        return error.reason, error.detail
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join("[]" if isinstance(p, int) else str(p) for p in first["loc"])
        return f"{place or 'entry'}: {first['msg']}", shorten(repr(first["input"]))
    if isinstance(error, RegionError):
        return _alike(error.problem), shorten(error.value)
    return _alike(str(error)), shorten(error)


def _alike(text: str) -> str:
    """Replace numbers and quoted words, so that messages of one kind are the same text."""
    return shorten(_NUMBERS.sub("N", _QUOTED.sub("'..'", text)))


def _kind(region: Region) -> str:
    return str(region.kind)
