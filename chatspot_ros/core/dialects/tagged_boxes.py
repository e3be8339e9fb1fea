"""Boxes as thousandths between tags: Qwen2-VL's and InternVL's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatspot_ros.core.dialects.base import (
    BoxesOnly,
    SpokenRegion,
    bins_box,
    grid_box,
    phrase_before,
    region_from_units,
)
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Point

_GRID = 1000
_QWEN_BOX = re.compile(
    r"(?:<\|object_ref_start\|>(?P<ref>[^<]*)<\|object_ref_end\|>\s*)?"
    r"<\|box_start\|>\s*\((\d{1,4}),\s*(\d{1,4})\),\s*\((\d{1,4}),\s*(\d{1,4})\)\s*<\|box_end\|>"
)
_INTERNVL_BOXES = re.compile(
    r"(?:<ref>(?P<ref>[^<]*)</ref>\s*)?<box>\s*\[(?P<boxes>[\[\]0-9.,\s]+)\]\s*</box>"
)
_FOUR = re.compile(r"\[?\s*(\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*)\s*\]?")


def _spoken(
    groups: Iterator[tuple[re.Match[str], list[list[float]]]], text: str, fit: Fit
) -> Iterator[SpokenRegion]:
    """Regions of matches with a group `ref`, each with the boxes (four numbers) that it says."""
    last_end, phrase = 0, ""
    for match, boxes in groups:
        between = text[last_end : match.start()]
        # A phrase may have several boxes behind each other.
        if match["ref"] is not None:
            phrase = match["ref"].strip()
        elif between.strip():
            phrase = phrase_before(between)
        last_end = match.end()
        for box in boxes:
            if len(box) == 4 and all(number <= _GRID for number in box):
                x1, y1, x2, y2 = (number / _GRID for number in box)
                region = region_from_units([(x1, y1), (x2, y2)], fit, tolerance=1 / _GRID)
                if region is not None:
                    yield SpokenRegion(region, match.start(), match.end(), phrase)


@dataclass(frozen=True)
class QwenBoxDialect(BoxesOnly):
    """Qwen2-VL's: `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, numbers in [0, 1000).

    In answers the phrase stands before it, between `<|object_ref_start|>` and
    `<|object_ref_end|>`. Source: arXiv 2409.12191.
    """

    name: str = "qwen_box"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """The tags."""
        return ("<|box_start|>", "<|box_end|>", "<|object_ref_start|>", "<|object_ref_end|>")

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = bins_box(corners, _GRID)
        return f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order, clipped to the image."""
        groups = (
            (match, [[float(word) for word in match.groups()[1:]]])
            for match in _QWEN_BOX.finditer(text)
        )
        return list(_spoken(groups, text, fit))

    def mentions(self, text: str) -> bool:
        """Whether the text tries to say a region, well-formed or not."""
        return "<|box_start|>" in text or "<|box_end|>" in text


@dataclass(frozen=True)
class InternVLDialect(BoxesOnly):
    """InternVL's: `<box>[[x1, y1, x2, y2]]</box>`, thousandths from 0 to 1000.

    In answers the phrase stands before it, between `<ref>` and `</ref>`; several boxes of one
    phrase share the outer brackets. Source: InternVL's documentation of its chat data format.
    """

    name: str = "internvl"

    @property
    def control_strings(self) -> tuple[str, ...]:
        """The tags."""
        return ("<box>", "</box>", "<ref>", "</ref>")

    def _say_box(self, corners: tuple[Point, Point]) -> str:
        (x1, y1), (x2, y2) = grid_box(corners, (_GRID, _GRID))
        return f"<box>[[{x1}, {y1}, {x2}, {y2}]]</box>"

    def find(self, text: str, fit: Fit) -> list[SpokenRegion]:
        """Read all well-formed boxes of a text, in order, clipped to the image."""
        groups = (
            (match, [[float(word) for word in box.split(",")]
                     for box in _FOUR.findall(match["boxes"])])
            for match in _INTERNVL_BOXES.finditer(text)
        )  # fmt: skip
        return list(_spoken(groups, text, fit))

    def mentions(self, text: str) -> bool:
        """Whether the text tries to say a region, well-formed or not."""
        return "<box>" in text or "</box>" in text
