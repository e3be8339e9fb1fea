"""The program that reads the text of a PDF, from standard input to JSON on standard output.

It is a process of its own, as a PDF can ask for any time and memory: it ends by its limits.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from io import BytesIO

SECONDS = 30.0
MEGABYTES = 1000
MAX_PAGES = 300
MAX_CHARS = 1_000_000


def pages_of(data: bytes) -> list[str]:
    """Return the text of the pages, at most MAX_PAGES and MAX_CHARS; a broken page is empty."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(BytesIO(data))
    pages: list[str] = []
    left = MAX_CHARS
    for number in range(min(len(reader.pages), MAX_PAGES)):
        try:
            text = reader.pages[number].extract_text()[:left]
        except MemoryError:
            raise
        except Exception:  # a broken page raises nearly anything
            text = ""
        pages.append(text)
        left -= len(text)
        if left <= 0:
            break
    return pages


def main() -> int:
    """Read one PDF; return the exit status."""
    room = MEGABYTES * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        pages = pages_of(sys.stdin.buffer.read())
    except BaseException as error:  # one line for the log, whatever the file does
        print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
        return 1
    json.dump(pages, sys.stdout)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    os._exit(main())
