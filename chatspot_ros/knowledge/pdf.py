"""The text of PDFs, by pypdf in a process of its own, bounded in time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from chatspot_ros.errors import shorten
from chatspot_ros.knowledge.files import NoteFile, NotesError, read_bytes
from chatspot_ros.knowledge.pdf_program import MEGABYTES, SECONDS

_PROGRAM = Path(__file__).with_name("pdf_program.py")
# Within which the process must have started, on a busy machine.
_START_SECONDS = 60.0


def read_pages(file: NoteFile) -> list[str]:
    """Return the text of a PDF's pages.

    Raises:
        NotesError: it cannot be read, is broken or encrypted, or takes more than SECONDS or
            MEGABYTES.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(_PROGRAM)], input=read_bytes(file), capture_output=True,
            timeout=SECONDS + _START_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise _unusable(file, shorten(error)) from error
    if done.returncode == -signal.SIGALRM:
        raise _unusable(file, f"reading takes more than {SECONDS:g} s")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        said = f"it takes more than {MEGABYTES} MB" if "MemoryError" in said else shorten(said)
        raise _unusable(file, said or f"exit status {done.returncode}")
    pages: list[str] = json.loads(done.stdout)
    if not any(page.strip() for page in pages):
        raise _unusable(file, "it has no text, only pictures")
    return pages


def _unusable(file: NoteFile, reason: str) -> NotesError:
    return NotesError(
        f"a note cannot be read: {reason}", value=file.name,
        remedy="print it to a plain PDF, or save its text as .md or .txt",
    )  # fmt: skip
