"""Boxes that a grounding head fills in: what follows the token that opens a box.

The head's best sub-cell gives the box and, as the probability of its coordinates, how sure it is
that the thing is there. A box that the answer gave already is not given again, and one that nearly
is a box of an earlier turn becomes that box: the dialogue names one thing by one box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chatspot_ros.core.boxes import iou
from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import BoxXyxy, Point, Region, RegionKind
from chatspot_ros.core.tasks.locate import LOCATE
from chatspot_ros.engine.decoding_types import Constraint
from chatspot_ros.engine.models.grounding_head import GroundingHead
from chatspot_ros.errors import ModelError, ModelLoadError

# The overlap from which on two boxes are one thing's.
SAME = 0.6
# No side of a box is less than this share of the picture, or its numbers would leave no area.
LEAST_SIDE = 0.011


@dataclass(frozen=True)
class Pointed:
    """A box as the tokens behind the one that opened it, and how sure the head is, 0 to 1."""

    ids: list[int]
    score: float
    box: BoxXyxy


class Pointer:
    """Points for one question about one picture.

    `opening_id` is the token that opens a box. `maps` are the head's of the picture, `say` writes a
    box (x1, y1, x2, y2 in the picture's unit) as the tokens behind the opening one; `known` are the
    boxes of earlier turns, `bounds` those of the image in the picture. Where it `rejects`, the
    answer begins with a box; one below `threshold` is withdrawn, and the model then has to answer
    without a box.
    """

    def __init__(
        self,
        head: GroundingHead,
        maps: Tensor,
        opening_id: int,
        say: Callable[[BoxXyxy], list[int]],
        known: Sequence[BoxXyxy] = (),
        bounds: BoxXyxy = (0.0, 0.0, 1.0, 1.0),
        threshold: float = 0.0,
        rejects: bool = False,
    ) -> None:
        self.opening_id, self.threshold, self.rejects = opening_id, threshold, rejects
        self._head, self._maps, self._say = head, maps, say
        self._known, self._bounds = tuple(known), bounds

    def states_of(self, hidden_states: Sequence[Tensor], token: int) -> Tensor:
        """Return the states that the head reads at one token of a row, layers x state_size."""
        return torch.stack([hidden_states[k][0, token] for k in self._head.config.layers])

    def point(self, states: Tensor, given: Sequence[BoxXyxy]) -> Pointed:
        """Return where the thing is; `given` are the answer's boxes before.

        Raises ModelError where the head computes numbers that are not finite.
        """
        scores, boxes = self._head.scored(self._maps, states[None])
        sure, found = scores[0].tolist(), [tuple(one) for one in boxes[0].tolist()]
        if not all(map(math.isfinite, sure)):
            raise ModelError(
                "the grounding head computed numbers that are not finite",
                value=f"a score of {next(one for one in sure if not math.isfinite(one))}",
                remedy="use dtype bfloat16 or float32; if it stays, train the head again",
            )
        order = sorted(range(len(sure)), key=lambda cell: -sure[cell])
        fresh = (k for k in order if all(iou(found[k], one) < SAME for one in given))
        cell = next(fresh, order[0])
        box = _inside(found[cell], self._bounds)
        near = max(self._known, key=lambda one: iou(box, one), default=None)
        if near is not None and iou(box, near) >= SAME:
            box = near
        return Pointed(self._say(box), float(sure[cell]), box)


class Pointing:
    """Makes the pointers of one checkpoint with a grounding head."""

    def __init__(
        self, head: GroundingHead, threshold: float, dialect: Dialect, tokenizer: Any
    ) -> None:
        """Raises ModelLoadError unless one token of its own opens each box of the dialect."""
        self._head, self._threshold = head, threshold
        self._dialect, self._tokenizer = dialect, tokenizer
        self.opening_id = self.opening_of(dialect, tokenizer)

    @staticmethod
    def opening_of(dialect: Dialect, tokenizer: Any) -> int:
        """Return the token that opens a box. Raises ModelLoadError where there is none."""
        opening = str(getattr(dialect, "opening", ""))
        ids = tokenizer.encode(opening, add_special_tokens=False) if opening else []
        if len(ids) != 1:
            raise ModelLoadError(
                "a grounding head needs one token that opens a box, and this dialect has "
                f"{len(ids)}",
                value=f"{dialect.name} {opening}".strip(),
                remedy="take `pointing` out of chatspot.yaml, or use the dialect chatspot",
            )
        return int(ids[0])

    def pointer(
        self, maps: Tensor, fit: Fit, task: str, answers: Sequence[str], reasons: bool = False
    ) -> Pointer:
        """Return what points for a question of a task; `answers` are those of earlier turns. Before
        an answer that `reasons` first nothing is known to be there or not."""
        bounds = _bounds(fit.to_unit([(0.0, 0.0), fit.image_wh]))
        known = [
            _bounds(fit.to_unit(one.region_px.points_px))
            for text in answers for one in self._dialect.find(text, fit)
            if one.region_px.kind is RegionKind.BOX
        ]  # fmt: skip

        def say(box: BoxXyxy) -> list[int]:
            corners = fit.to_px([box[:2], box[2:]])
            return self._ids(self._dialect.say(Region(corners).clipped(*fit.image_wh), fit))[1:]

        return Pointer(self._head, maps, self.opening_id, say, known, bounds, self._threshold,
                       rejects=task == LOCATE.name and not reasons)  # fmt: skip

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


class WithoutToken:
    """A constraint under which one token may not come."""

    def __init__(self, inner: Constraint | None, token: int) -> None:
        self._inner, self._word = inner, token // 32
        bit = 1 << token % 32
        # As the signed number that an int32 holds.
        self._kept = ~(bit - (bit >> 31 << 32))

    def allow(self, ids: list[int], bits: Tensor) -> None:
        """Write the tokens that may follow `ids`; see `decoding_types.Constraint`."""
        if self._inner is None:
            bits[:] = -1
        else:
            self._inner.allow(ids, bits)
        bits[self._word] &= self._kept


def _bounds(points: Sequence[Point]) -> BoxXyxy:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _inside(box: BoxXyxy, bounds: BoxXyxy) -> BoxXyxy:
    x1, x2 = _apart(box[0], box[2], bounds[0], bounds[2])
    y1, y2 = _apart(box[1], box[3], bounds[1], bounds[3])
    return x1, y1, x2, y2


def _apart(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """Return two ends inside the bounds, moved apart where they are closer than LEAST_SIDE."""
    more = max(0.0, LEAST_SIDE - (high - low)) / 2
    low = min(max(least, low - more), most - LEAST_SIDE)
    return low, min(most, max(high + more, low + LEAST_SIDE))
