"""The records that a run could not use: kept in its folder, and bounded by `max_missing`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatspot_train.data.records import RecordError


@dataclass(frozen=True)
class Drop:
    """A record that another one replaced.

    `source` is the place of its source among the run's; `picture` is empty where something else
    than the picture is unusable.
    """

    source: int
    record: str
    picture: str
    reason: str


class DropLog:
    """The drops of one process of a run, one JSON object a line in `dropped-RANK.jsonl`."""

    def __init__(
        self, folder: Path, notes: Sequence[dict[str, Any]], most: float, rank: int = 0
    ) -> None:
        """`notes` are those of the run's sources, `most` the share of a source's pictures that may
        be unusable. Pictures count from this start of the run on: those before may be mended."""
        self._file = folder / f"dropped-{rank}.jsonl"
        self._notes, self._most = notes, most
        self._known = set(read_drops(folder))
        self._pictures: list[set[str]] = [set() for _ in notes]

    def add(self, drop: Drop) -> None:
        """Keep a drop. Raises RecordError where too many pictures of its source are unusable."""
        if drop not in self._known:
            self._known.add(drop)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(drop)) + "\n")
        if not drop.picture:
            return
        broken, note = self._pictures[drop.source], self._notes[drop.source]
        broken.add(drop.picture)
        if len(broken) > self._most * note["pictures"]:
            raise RecordError(
                f"source {note['name']}: {len(broken)} of {note['pictures']} pictures cannot be "
                f"used, more than max_missing {self._most:g}, the last: {drop.reason}: see "
                f"{self._file}, mend or remove them, or raise max_missing"
            )


def read_drops(folder: Path) -> list[Drop]:
    """Return the drops that all processes of a run kept in its folder, each once."""
    found: dict[Drop, None] = {}
    for path in sorted(folder.glob("dropped-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found[Drop(**json.loads(line))] = None
            except (ValueError, TypeError):  # the last line of a killed run
                continue
    return list(found)


def with_drops(notes: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return the notes of a run's sources, each with the number of records `dropped` from it."""
    counts = [0] * len(notes)
    for drop in read_drops(folder):
        if drop.source < len(counts):
            counts[drop.source] += 1
    return [
        {**note, "dropped": count} if count else note
        for note, count in zip(notes, counts, strict=True)
    ]
