"""Greedy decoding, one token at a time, with what a robot needs around it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from chatspot_ros.engine.api import ShouldStop
from chatspot_ros.engine.failures import ModelFailure
from chatspot_ros.errors import CancelledError, ModelError

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

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, in [0, 1]; 0 when there are none."""
        if not self.ids:
            return 0.0
        return min(1.0, math.exp(sum(self.log_probabilities) / len(self.ids)))


def share_cache(cache: DynamicCache, length: int) -> DynamicCache:
    """Return a cache that goes on from the first `length` tokens of another, which stays as it is.

    Nothing is copied: a dynamic layer replaces its tensors when it grows or is cropped.
    """
    shared = copy.copy(cache)
    shared.layers = [copy.copy(layer) for layer in cache.layers]
    surplus = cache.get_seq_length() - length
    if surplus:
        shared.crop(-surplus)
    return shared


def decode(
    model: Any,
    logits: torch.Tensor,
    cache: DynamicCache,
    *,
    end_ids: frozenset[int],
    max_new_tokens: int,
    on_ids: OnIds | None,
    should_stop: ShouldStop | None,
    constraint: Constraint | None = None,
) -> Decoded:
    """Take the likeliest token again and again, from the logits of the first (vocabulary,).

    `cache` holds everything before, and grows. With a `constraint`, the likeliest that it allows.

    Raises:
        ModelError: NaN or infinite logits, or the model failed.
        CancelledError: `should_stop` returned True; whatever else it raises goes through.
    """
    ids: list[int] = []
    log_probabilities: list[float] = []
    while True:
        check_stop(should_stop)
        # Only the model's own failures: the callbacks' go through.
        with ModelFailure("answer"):
            token, log_probability = likeliest(logits, constraint, ids)
        if token in end_ids:
            return Decoded(ids, log_probabilities, truncated=False)
        ids.append(token)
        log_probabilities.append(log_probability)
        if on_ids is not None:
            on_ids(ids)
        if len(ids) >= max_new_tokens:
            return Decoded(ids, log_probabilities, truncated=True)
        with ModelFailure("answer"):
            logits = model(
                input_ids=torch.tensor([[token]], device=logits.device),
                past_key_values=cache,
                use_cache=True,
            ).logits[0, -1]


def constrain(
    logits: torch.Tensor, answers: Sequence[tuple[Constraint | None, list[int]]]
) -> torch.Tensor:
    """Return logits (answers, vocabulary) with minus infinity for what may not be said.

    `answers` are the constraint of each row, None for free text, and its ids so far.
    """
    if all(constraint is None for constraint, _ in answers):
        return logits
    size = logits.shape[-1]
    bits = torch.full((len(answers), -(-size // 32)), -1, dtype=torch.int32)
    for row, (constraint, ids) in zip(bits, answers, strict=True):
        if constraint is not None:
            constraint.allow(ids, row)
    # Packed on its way to the device: a 32nd of the numbers.
    bits = bits.to(logits.device)
    places = torch.arange(32, dtype=torch.int32, device=logits.device)
    allowed = ((bits[..., None] >> places) & 1).flatten(1)[:, :size].bool()
    return logits.masked_fill(~allowed, -math.inf)


def likeliest(
    logits: torch.Tensor, constraint: Constraint | None = None, ids: Sequence[int] = ()
) -> tuple[int, float]:
    """Return the likeliest token of logits (vocabulary,) and its natural log-probability.

    With a `constraint` it is the likeliest that may follow `ids`. Its probability is still that
    among all tokens, so an answer against the model's will is not a sure one.

    Raises:
        ModelError: NaN or infinite logits.
    """
    logits = logits.float()
    best, index = constrain(logits[None], [(constraint, list(ids))])[0].max(dim=-1)
    # One transfer from the device for all three numbers.
    total, top, token = torch.stack(
        [torch.logsumexp(logits, dim=-1), best, index.to(best.dtype)]
    ).tolist()
    if not (math.isfinite(total) and math.isfinite(top)):
        raise ModelError(
            "the model computed numbers that are not finite",
            value=f"logits up to {top}",
            remedy="use dtype bfloat16 or float32; if it stays, the weights are damaged",
        )
    return int(token), min(0.0, top - total)


def check_stop(should_stop: ShouldStop | None) -> None:
    """Raise CancelledError when the callback says so, or what the callback raises."""
    if should_stop is not None and should_stop():
        raise CancelledError("the answer was stopped", value="a stop request", remedy="ask again")
