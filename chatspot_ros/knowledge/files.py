"""The files of a folder of notes, read within bounds. No file can stop another from being read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatspot_ros.errors import ChatspotError, one_line, shorten

MAX_FILES = 500
MAX_FOLDERS = 200
MAX_DEPTH = 6
MAX_TEXT_BYTES = 1_000_000
MAX_PDF_BYTES = 30_000_000
MARKDOWN, TEXT, PDF = (".md", ".markdown"), (".txt",), (".pdf",)
_ENDINGS = (*MARKDOWN, *TEXT, *PDF)


class NotesError(ChatspotError):
    """A folder of notes, or a file in it, cannot be used."""

    status = "BAD_REQUEST"


@dataclass(frozen=True)
class NoteFile:
    """A listed file: `name` is its path below the folder, the rest tells changes."""

    name: str
    path: Path
    size: int
    changed_ns: int
    inode: int

    @property
    def ending(self) -> str:
        """The lower-case ending of its name, with its dot."""
        return self.path.suffix.lower()


def list_files(folder: Path) -> tuple[list[NoteFile], list[str]]:
    """Return the notes below a folder, sorted by name, and what was left out.

    Markdown, text and PDF; hidden files and folders are no notes. Links that lead out of the
    folder, and files that are none (pipes, devices), are left out.

    Raises:
        NotesError: there is no such folder, or it cannot be listed.
    """
    root = folder.expanduser()
    try:
        root = root.resolve(strict=True)
        with os.scandir(root):
            pass
    except (OSError, RuntimeError) as error:
        raise NotesError(
            f"the folder of notes cannot be read: {getattr(error, 'strerror', None) or error}",
            value=str(folder), remedy="set the parameter knowledge to a folder, or to nothing",
        ) from error  # fmt: skip
    faults: list[str] = []
    files: list[NoteFile] = []
    for path in _walk(root, faults):
        name = one_line(str(path.relative_to(root)))
        try:
            if not path.resolve(strict=True).is_relative_to(root):
                faults.append(f"{shorten(name)} leads out of the folder")
                continue
            told = path.stat()
        except (OSError, RuntimeError) as error:
            faults.append(f"{shorten(name)}: {getattr(error, 'strerror', None) or error}")
            continue
        if not stat.S_ISREG(told.st_mode):
            faults.append(f"{shorten(name)} is no regular file")
            continue
        if len(files) == MAX_FILES:
            faults.append(f"there are more than {MAX_FILES} files; the others are left out")
            break
        files.append(NoteFile(name, path, told.st_size, told.st_mtime_ns, told.st_ino))
    return files, faults


def _walk(root: Path, faults: list[str]) -> Iterator[Path]:
    """Yield the paths with the ending of a note, folder by folder."""
    for number, (here, below, names) in enumerate(os.walk(root)):
        depth = len(Path(here).relative_to(root).parts)
        below[:] = [] if depth >= MAX_DEPTH else sorted(n for n in below if not n.startswith("."))
        if number == MAX_FOLDERS:
            faults.append(f"there are more than {MAX_FOLDERS} folders; the others are left out")
            return
        for name in sorted(names):
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(here, name)


def read_bytes(file: NoteFile) -> bytes:
    """Return the contents of a file. Raises NotesError: too large, gone, or no regular file."""
    most = MAX_PDF_BYTES if file.ending in PDF else MAX_TEXT_BYTES
    try:
        # What stood there when it was listed may have become a pipe or a link since.
        handle = os.open(
            file.path.resolve(strict=True), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
        )
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _unusable(file, "it is no regular file", "remove it from the notes")
            data = opened.read(most + 1)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unusable(file, reason, "check the file and its permissions") from error
    if len(data) > most:
        raise _unusable(file, f"it has more than {most} bytes", "split it")
    return data


def read_text(file: NoteFile) -> str:
    """Return a Markdown or text file. Raises NotesError: see `read_bytes`, or it is no text."""
    data = read_bytes(file)
    if b"\0" in data:
        raise _unusable(file, "it is no text", "remove it, or save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unusable(file, "it is not UTF-8", "save it as UTF-8") from error


def _unusable(file: NoteFile, reason: str, remedy: str) -> NotesError:
    return NotesError(f"a note cannot be read: {reason}", value=file.name, remedy=remedy)
