"""Answers that name things from left to right, each with its box: `mug <region>, pan <region>`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from chatspot_ros.core.regions import REGION_MARK, Region, RegionKind
from chatspot_train.data.records import RecordTurn

_BETWEEN = ", "


def grounded_answer(things: Iterable[tuple[str, Region]]) -> tuple[str, tuple[Region, ...]]:
    """Return the answer that names things (phrase, box in pixels), with its regions in order."""
    ordered = sorted(things, key=lambda one: _place(one[1]))
    text = _BETWEEN.join(f"{phrase} {REGION_MARK}" for phrase, _ in ordered)
    return text, tuple(region for _, region in ordered)


def in_order(turn: RecordTurn) -> RecordTurn:
    """Return a turn with such an answer in its order again, after its boxes moved; any other turn
    as it is."""
    boxes = turn.answer_regions
    pieces = turn.answer.split(_BETWEEN)
    mark = f" {REGION_MARK}"
    if (
        len(boxes) < 2
        or len(pieces) != len(boxes)
        or any(box.kind is not RegionKind.BOX for box in boxes)
        or not all(piece.endswith(mark) for piece in pieces)
    ):
        return turn
    phrases = [piece.removesuffix(mark) for piece in pieces]
    answer, regions = grounded_answer(zip(phrases, boxes, strict=True))
    return replace(turn, answer=answer, answer_regions=regions)


def _place(box: Region) -> tuple[float, ...]:
    x1, y1, x2, y2 = box.box_xyxy_px
    return x1 + x2, y1 + y2, x1, y1
