"""Qwen2-VL's boxes: whole numbers in [0, 1000) between special tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_grammars import between, literal, locate_in_words
from chatspot_ros.core.dialects.base import BoxesOnly, SpokenRegion, bins_box
from chatspot_ros.core.dialects.thousandths import GRID, NUMBER_RULE, Group, loses_any, spoken_boxes
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point, Region

_OPEN, _CLOSE = "<|object_ref_start|>", "<|object_ref_end|>"
_QWEN_BOX = re.compile(
    r"(?:<\|object_ref_start\|>(?P<ref>[^<]*)<\|object_ref_end\|>\s*)?"
    r"<\|box_start\|>\s*\((\d{1,4}),\s*(\d{1,4})\),\s*\((\d{1,4}),\s*(\d{1,4})\)\s*<\|box_end\|>"
)


@dataclass(frozen=True)
class QwenBoxDialect(BoxesOnly):
    """Qwen2-VL's: `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, numbers in [0, 1000).

    In answers the phrase stands before it, between `<|object_ref_start|>` and
    `<|object_ref_end|>`. Source: arXiv 2409.12191.
    """

    name: str = "qwen_box"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """Return the tags."""
        return ("<|box_start|>", "<|box_end|>", "<|object_ref_start|>", "<|object_ref_end|>")

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, GRID)
        return f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order."""
        return list(spoken_boxes(_groups(text), text, fit))

    def doubts(self, text: str, found: Sequence[SpokenRegion]) -> bool:
        """Return whether regions of a text, of which `found` were read, are lost or doubtful."""
        return super().doubts(text, found) or loses_any(_groups(text), len(found))

    def mentions(self, text: str) -> bool:
        """Return True if the text contains region markup, well-formed or not."""
        return "<|box_start|>" in text or "<|box_end|>" in text

    def locate_grammar(self, none: Sequence[str] = ()) -> str:
        """Return the grammar: a phrase, bare or between its tags, then its boxes; several by
        commas."""
        corner = between("(", ",", ")", [NUMBER_RULE] * 2)
        box = (
            f"{literal('<|box_start|>')} {corner} {literal(',')} {corner} {literal('<|box_end|>')}"
        )
        return locate_in_words(f"({box})+", none, (_OPEN, _CLOSE))

    def say_places(self, places: Sequence[tuple[str, Region]], fit: Fit) -> str:
        """Write the places of an answer, each phrase between its tags."""
        named = (
            (f"{_OPEN}{phrase}{_CLOSE}" if phrase else "", region) for phrase, region in places
        )
        return ", ".join(tags + self.say(region, fit) for tags, region in named)


def _groups(text: str) -> list[Group]:
    return [(match, [[float(word) for word in match.groups()[1:]]])
            for match in _QWEN_BOX.finditer(text)]  # fmt: skip
