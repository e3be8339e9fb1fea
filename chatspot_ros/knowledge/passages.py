"""Passages: the paragraphs of a note, each with its place and the heading that it stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatspot_ros.errors import one_line

MAX_PASSAGE_CHARS = 1500
MAX_HEADING_CHARS = 120
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"\s{0,3}(=+|-{3,})\s*$")
# Not tabs and line breaks: what no reader sees, and what means something to a terminal.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_LIST = re.compile(r"\s*(?:[-*•+]|\d+[.)])\s+")


@dataclass(frozen=True)
class Passage:
    """A paragraph: `text` of at most MAX_PASSAGE_CHARS characters, its line breaks kept.

    `file` is the path below the folder, `line` its first line, from 1; `page` that of a PDF, from
    1, whose lines are then those of the page; 0: no pages. `heading` is the nearest one above.
    `goes_on`: it was cut, and the next passage is its rest.
    """

    file: str
    line: int
    text: str
    heading: str = ""
    page: int = 0
    goes_on: bool = False

    def place(self, lines_below: int = 0) -> str:
        """Return `fridge.md:12`, or `manual.pdf:p3:12` of a PDF's page 3."""
        page = f"p{self.page}:" if self.page else ""
        return f"{self.file}:{page}{self.line + lines_below}"

    @property
    def shown(self) -> str:
        """The text on one line, control and invisible characters escaped."""
        return one_line(" ".join(self.text.split()))


def passages_of(text: str, file: str, *, markdown: bool, page: int = 0) -> Iterator[Passage]:
    """Yield the paragraphs of a text; blank lines, headings and the items of lists part them.

    A list stays whole with the line above it where that ends in a colon. What is longer than
    MAX_PASSAGE_CHARS is cut between lines, or within a line where it must be.
    """
    lines = [_UNSEEN.sub(" ", line) for line in re.split(r"\r\n|\r|\n", text)]
    heading, begin = "", 0
    block: list[str] = []
    for number, line in enumerate([*lines, ""]):
        under = markdown and len(block) == 1 and bool(_UNDERLINE.match(line))
        named = _HEADING.match(line) if markdown else None
        if under or named or not line.strip():
            if not under and not named and _goes_on(block, lines, number):
                continue
            if under:
                heading, block = block[0].strip()[:MAX_HEADING_CHARS], []
            yield from _cut(block, begin, file, heading, page)
            block = []
            heading = named[1].strip()[:MAX_HEADING_CHARS] if named else heading
            continue
        if block and _LIST.match(line) and not _lists_steps(block, line):
            yield from _cut(block, begin, file, heading, page)
            block = []
        if not block:
            begin = number
        block.append(line)


def _lists_steps(block: list[str], item: str) -> bool:
    """Return whether an item belongs to a line of the block that ends in a colon, with its list."""
    for above in reversed(block):
        if above.rstrip(" *_").endswith(":"):
            return not _LIST.match(above) or _indent(item) > _indent(above)
        if above.strip() and not _LIST.match(above) and not _indent(above):
            return False
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _goes_on(block: list[str], lines: list[str], number: int) -> bool:
    """Return whether the blank line stands between `To do this:` and the list of its steps."""
    follows = lines[number + 1] if number + 1 < len(lines) else ""
    ended = block[-1].rstrip(" *_").endswith(":") if block else False
    if ended and _LIST.match(follows):
        block.append("")  # keeps the count of lines
        return True
    return False


def _cut(block: list[str], begin: int, file: str, heading: str, page: int) -> Iterator[Passage]:
    """Yield a paragraph in pieces of at most MAX_PASSAGE_CHARS characters."""
    piece: list[str] = []
    first, size = begin, 0
    for offset, line in enumerate(block):
        if piece and size + len(line) > MAX_PASSAGE_CHARS:
            yield Passage(file, first + 1, "\n".join(piece), heading, page, True)
            piece, size = [], 0
        while len(line) > MAX_PASSAGE_CHARS:
            yield Passage(file, begin + offset + 1, line[:MAX_PASSAGE_CHARS], heading, page, True)
            line = line[MAX_PASSAGE_CHARS:]
        if not piece:
            first = begin + offset
        piece.append(line)
        size += len(line) + 1
    if any(line.strip() for line in piece):
        yield Passage(file, first + 1, "\n".join(piece), heading, page)
