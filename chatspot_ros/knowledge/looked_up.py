"""What was looked up for one question."""

from __future__ import annotations

from dataclasses import dataclass

from chatspot_ros.knowledge.index import NoteIndex
from chatspot_ros.knowledge.passages import Passage


@dataclass(frozen=True)
class LookedUp:
    """The index at that moment, and the passages about what was asked, best first.

    `fault` is why the notes could not be read; empty: they were.
    """

    index: NoteIndex
    passages: tuple[Passage, ...] = ()
    fault: str = ""
