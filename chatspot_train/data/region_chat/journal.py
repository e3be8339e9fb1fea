"""What is written, as it is done: a run that was killed goes on where it stopped.

`dialogues.jsonl` holds the finished pictures, `failed.jsonl` those that have to be asked again,
`dropped.jsonl` turns and annotations that were left out; each line with an `id` and a reason.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from chatspot_ros.errors import ChatspotError

_BLOCK = 1 << 16


class JournalError(ChatspotError):
    """The output folder cannot be gone on with."""


class Journal:
    """The files of one output folder, held by one run at a time; use `contextlib.closing`.

    `done` are the ids of finished pictures. Every line is with the operating system before the
    next one is begun, so a kill leaves at most a half last line, which is cut off here.
    """

    def __init__(self, folder: Path) -> None:
        """Raises JournalError: another run holds the folder, or a line in it is broken."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._dialogues = _open(folder / "dialogues.jsonl")
        try:
            fcntl.flock(self._dialogues, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._dialogues.close()
            raise JournalError(
                "another run writes there",
                value=folder,
                remedy="wait for it, or give another --out",
            ) from error
        self._failed = _open(folder / "failed.jsonl")
        self._dropped = _open(folder / "dropped.jsonl")
        try:
            for file in (self._dialogues, self._failed, self._dropped):
                _cut_half_line(file)
            self.done: set[str] = {line["id"] for line in _lines(self._dialogues)}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files, and so let another run have the folder."""
        for file in (self._dialogues, self._failed, self._dropped):
            file.close()

    def begin(self, ids: Iterable[str]) -> None:
        """Forget what went wrong with pictures that are asked again now."""
        again = set(ids)
        self._failed = _keep(self._failed, lambda line: line["id"] not in again | self.done)
        self._dropped = _keep(self._dropped, lambda line: line["id"] not in again)

    def finish(self, dialogue: dict[str, Any]) -> None:
        """Write a finished picture; `dialogue` has an `id`."""
        _write(self._dialogues, dialogue)
        self.done.add(dialogue["id"])

    def fail(self, picture_id: str, reason: str, detail: str) -> None:
        """Write why a picture has no dialogue; the next run asks again."""
        _write(self._failed, {"id": picture_id, "reason": reason, "detail": detail})

    def drop(self, picture_id: str, where: str, reason: str, detail: str) -> None:
        """Write what was left out of a picture's annotations or dialogue, and why."""
        line = {"id": picture_id, "where": where, "reason": reason, "detail": detail}
        _write(self._dropped, line)


def _open(path: Path) -> BinaryIO:
    return path.open("a+b")


def _write(file: BinaryIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    file.flush()


def _cut_half_line(file: BinaryIO) -> None:
    """Cut off what stands behind the last line end."""
    end = size = file.seek(0, 2)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        file.truncate(end)


def _lines(file: BinaryIO) -> Iterable[dict[str, Any]]:
    file.seek(0)
    for number, raw in enumerate(file, start=1):
        try:
            line = json.loads(raw)
            if not isinstance(line["id"], str):
                raise ValueError("the id is not text")
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(
                f"line {number} of {Path(file.name).name} is broken", value=error,
                remedy="remove that line, and its picture is asked about again",
            ) from error  # fmt: skip
        yield line


def _keep(file: BinaryIO, wanted: Callable[[dict[str, Any]], bool]) -> BinaryIO:
    """Write a file anew with the wanted lines only, whole or not at all; returns it, opened."""
    path = Path(file.name)
    part = path.with_suffix(".part")
    with part.open("wb") as kept:
        for line in _lines(file):
            if wanted(line):
                _write(kept, line)
    file.close()
    part.replace(path)
    return _open(path)
