"""The output files of a run, written line by line, so that a killed run can resume.

`dialogues.jsonl` holds the finished images, `failed.jsonl` those to retry, `dropped.jsonl` the
turns and annotations that were left out; each line has an `id` and a reason.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from chatspot_ros.errors import ChatspotError
from chatspot_train.common.kept_settings import check_unchanged, read_kept, write_kept

_BLOCK = 1 << 16


class JournalError(ChatspotError):
    """The output folder cannot be resumed."""


class Journal:
    """The files of one output folder, held by one run at a time; use `contextlib.closing`.

    `done` are the ids of finished images. Each line is flushed before the next one, so a killed
    run leaves at most one incomplete last line, which is removed here.
    """

    def __init__(self, folder: Path) -> None:
        """Open the files. Raises JournalError where another run holds them or a line is broken."""
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

    def check_maker(self, about: dict[str, Any]) -> None:
        """Keep what writes the dialogues, as the model and its instructions.

        Raises ChangedSettingsError where dialogues are there of another one.
        """
        kept = read_kept(self.folder)
        if kept is not None and self.done:
            check_unchanged(self.folder, kept, about)
        write_kept(self.folder, about)

    def close(self) -> None:
        """Close the files and release the folder."""
        for file in (self._dialogues, self._failed, self._dropped):
            file.close()

    def begin(self, ids: Iterable[str]) -> None:
        """Remove the failures and drops of images that are retried now."""
        again = set(ids)
        self._failed = _keep(self._failed, lambda line: line["id"] not in again | self.done)
        self._dropped = _keep(self._dropped, lambda line: line["id"] not in again)

    def finish(self, dialogue: dict[str, Any]) -> None:
        """Write the dialogue, with its `id`, of a finished image."""
        _write(self._dialogues, dialogue)
        self.done.add(dialogue["id"])

    def fail(self, picture_id: str, reason: str, detail: str) -> None:
        """Write why an image has no dialogue; the next run retries it."""
        _write(self._failed, {"id": picture_id, "reason": reason, "detail": detail})

    def drop(self, picture_id: str, where: str, reason: str, detail: str) -> None:
        """Write what was left out of an image's annotations or dialogue, and why."""
        line = {"id": picture_id, "where": where, "reason": reason, "detail": detail}
        _write(self._dropped, line)


def _open(path: Path) -> BinaryIO:
    return path.open("a+b")


def _write(file: BinaryIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    file.flush()


def _cut_half_line(file: BinaryIO) -> None:
    """Remove the text after the last line end."""
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
    """Yield the parsed lines. Raises JournalError for a broken one."""
    file.seek(0)
    for number, raw in enumerate(file, start=1):
        try:
            line = json.loads(raw)
            if not isinstance(line["id"], str):
                raise ValueError("the id is not text")
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(
                f"line {number} of {Path(file.name).name} is broken", value=error,
                remedy="remove that line; its image is then retried",
            ) from error  # fmt: skip
        yield line


def _keep(file: BinaryIO, wanted: Callable[[dict[str, Any]], bool]) -> BinaryIO:
    """Replace a file, atomically, by one with the wanted lines only; return it opened."""
    path = Path(file.name)
    part = path.with_suffix(".part")
    with part.open("wb") as kept:
        for line in _lines(file):
            if wanted(line):
                _write(kept, line)
    file.close()
    part.replace(path)
    return _open(path)
