"""A folder of notes with its index, built once and again when files change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from chatspot_ros.errors import shorten
from chatspot_ros.knowledge.files import MARKDOWN, PDF, NoteFile, NotesError, list_files, read_text
from chatspot_ros.knowledge.index import Embed, NoteIndex
from chatspot_ros.knowledge.passages import Passage, passages_of
from chatspot_ros.knowledge.pdf import read_pages

MAX_PASSAGES = 5000
# A folder is listed again after this time.
LOOK_AGAIN_S = 1.0
# The longest wait for the first index, which PDFs may make slow.
FIRST_WAIT_S = 20.0
_SLICE_S = 0.05
_SHOWN_FAULTS = 20

_log = logging.getLogger(__name__)


class NotesFolder:
    """Reads a folder in a thread of its own; a question gets the newest complete index.

    Files that cannot be used are named in the log, once, and left out.
    """

    # How long a question waits for what has changed, in s.
    _wait_s = 1.0

    def __init__(self, folder: str, embed: Embed | None = None) -> None:
        """`folder` need not exist yet; `embed` as for NoteIndex."""
        self.folder = Path(folder)
        self._embed = embed
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_s = float("-inf")
        self._index: NoteIndex | None = None
        self._error: NotesError | None = None
        self._read: dict[NoteFile, tuple[Passage, ...]] = {}
        self._said: set[str] = set()

    def index(self, check: Callable[[], object] | None = None) -> NoteIndex:
        """Return the index of the folder as it is now, or as it was where reading takes longer.

        `check` is called while it waits and may raise.

        Raises:
            NotesError: the folder cannot be read, or was not read in time for the first time.
        """
        thread = self._look()
        until = time.monotonic() + (FIRST_WAIT_S if self._index is None else self._wait_s)
        while thread is not None and thread.is_alive() and time.monotonic() < until:
            thread.join(_SLICE_S)
            if check is not None:
                check()
        if self._error is not None:
            raise self._error
        if self._index is None:
            raise NotesError(
                f"the notes were not read within {FIRST_WAIT_S:g} s", value=str(self.folder),
                remedy="ask again; fewer or smaller PDFs are read faster",
            )  # fmt: skip
        return self._index

    def _look(self) -> threading.Thread | None:
        """Start to look for changes, unless that was just done; return the thread that does."""
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if not busy and time.monotonic() - self._looked_s >= LOOK_AGAIN_S:
                self._looked_s = time.monotonic()
                self._thread = threading.Thread(target=self._refresh, name="notes", daemon=True)
                self._thread.start()
            return self._thread

    def _refresh(self) -> None:
        try:
            self._refresh_files()
        except NotesError as error:
            self._index, self._read, self._error = None, {}, error
            self._warn([str(error)])
        except Exception as error:  # the thread must not end silently
            _log.exception("the notes could not be read")
            self._error = NotesError(
                "the notes could not be read", value=shorten(repr(error)),
                remedy="see the log and report this",
            )  # fmt: skip

    def _refresh_files(self) -> None:
        files, faults = list_files(self.folder)
        if self._index is not None and self._error is None and set(files) == set(self._read):
            return
        read: dict[NoteFile, tuple[Passage, ...]] = {}
        passages: list[Passage] = []
        for file in files:
            known = self._read.get(file)
            room = MAX_PASSAGES - len(passages)
            try:
                read[file] = tuple(islice(_passages(file), room)) if known is None else known
            except NotesError as error:
                read[file] = ()
                faults.append(str(error))
            passages += read[file][:room]
        if len(passages) == MAX_PASSAGES:
            faults.append(f"there are {MAX_PASSAGES} passages or more; the rest is left out")
        if faults and not passages:
            raise NotesError(
                f"none of the notes can be read: {faults[0]}", value=str(self.folder),
                remedy="see the log, and mend them",
            )  # fmt: skip
        index = NoteIndex(passages, self._embed)
        self._read, self._index, self._error = read, index, None
        self._warn(faults)
        _log.info("%s: %d passages, %d rules in %d notes", shorten(self.folder),
                  len(index.passages), len(index.rules), len(files))  # fmt: skip

    def _warn(self, faults: list[str]) -> None:
        for fault in faults[:_SHOWN_FAULTS]:
            if fault not in self._said:
                _log.warning("notes: %s", fault)
        self._said = set(faults)


def _passages(file: NoteFile) -> Iterator[Passage]:
    """Yield the passages of a file. Raises NotesError."""
    if file.ending in PDF:
        for number, text in enumerate(read_pages(file), start=1):
            yield from passages_of(text, file.name, markdown=False, page=number)
        return
    yield from passages_of(read_text(file), file.name, markdown=file.ending in MARKDOWN)
