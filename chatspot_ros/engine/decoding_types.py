"""The types that decoding shares: token callbacks, constraints, decoded answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

# Called with all answer ids so far after each new one.
OnIds = Callable[[list[int]], None]


class Constraint(Protocol):
    """Which tokens an answer may go on with. It belongs to one answer."""

    def allow(self, ids: list[int], bits: torch.Tensor) -> None:
        """Write which tokens may follow the answer's `ids` into one row of bits.

        `bits` is int32 (ceil(vocabulary / 32),) on the CPU; token n is bit n % 32 of word n // 32.
        """


@dataclass(frozen=True)
class Decoded:
    """Answer ids without the end token, and the natural log-probability of each."""

    ids: list[int]
    log_probabilities: list[float]
    truncated: bool
