"""Writes a file completely or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from chatspot_ros.errors import ChatspotError


class OutputError(ChatspotError):
    """A file cannot be written."""


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8); if that fails, the previous contents remain.

    A path that is no regular file (a pipe, `/dev/stdout`) is written to directly.

    Raises:
        OutputError: the disk is full, the folder is missing or may not be written to, ...
    """
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise OutputError(
            f"the file cannot be written: {error.strerror or error}",
            value=str(path),
            remedy="make room, or name a file in a folder that can be written to",
        ) from error


def _replace(path: Path, text: str) -> None:
    """Write a temporary file beside the target and rename it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # A full disk may be noticed only here.
            os.fsync(file.fileno())
        beside.chmod(mode)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
