"""The types that decoding shares: token callbacks, constraints, decoded answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

# Called with all answer ids so far after each new one.
OnIds = Callable[[list[int]], None]


class Constraint(Protocol):
    """The tokens that may follow in one answer."""

    def allow(self, ids: list[int], bits: torch.Tensor) -> None:
        """Set the bits of the tokens that may follow the answer's `ids`.

        `bits` is int32 (ceil(vocabulary / 32),) on the CPU; token n is bit n % 32 of word n // 32.
        """


@dataclass(frozen=True)
class Decoded:
    """Answer ids without the end token, and the natural log-probability of each.

    `box_scores` are those of the boxes that a grounding head filled in, in their order.
    """

    ids: list[int]
    log_probabilities: list[float]
    truncated: bool
    box_scores: tuple[float, ...] = ()
