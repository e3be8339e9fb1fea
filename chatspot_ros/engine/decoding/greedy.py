"""Greedy decoding: the likeliest token among the allowed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from chatspot_ros.engine.decoding_types import Constraint


def constrain(
    logits: torch.Tensor, answers: Sequence[tuple[Constraint | None, list[int]]]
) -> torch.Tensor:
    """Return logits (answers, vocabulary) with minus infinity for forbidden tokens.

    `answers` are the constraint of each row, None for free text, and its ids so far.
    """
    held = [row for row, (constraint, _) in enumerate(answers) if constraint is not None]
    if not held:
        return logits
    size = logits.shape[-1]
    bits = torch.empty((len(held), -(-size // 32)), dtype=torch.int32)
    for words, row in zip(bits, held, strict=True):
        constraint, ids = answers[row]
        if constraint is not None:
            constraint.allow(ids, words)
    # Sent to the device packed, a 32nd of the numbers, and unpacked by bytes: the lowest bits
    # first, as in the words.
    packed = bits.view(torch.uint8).to(logits.device)
    places = torch.arange(8, dtype=torch.uint8, device=logits.device)
    forbidden = ((packed[..., None] >> places) & 1).flatten(1)[:, :size] == 0
    if len(held) == len(answers):
        return logits.masked_fill(forbidden, -math.inf)
    allowed = logits.clone()
    allowed[held] = allowed[held].masked_fill_(forbidden, -math.inf)
    return allowed


def likeliest(
    logits: torch.Tensor, answers: Sequence[tuple[Constraint | None, list[int]]]
) -> list[tuple[int, float]]:
    """Return the likeliest token of each answer and its natural log-probability.

    `logits` are (answers, vocabulary), `answers` as for `constrain`. The probability of the chosen
    token is the one among all tokens, so an answer that the constraint forces has a low one. It is
    NaN where a logit is NaN or infinite.
    """
    logits = logits.float()
    best, index = constrain(logits, answers).max(dim=-1)
    # One transfer from the device for all numbers of all answers.
    rows = torch.stack([torch.logsumexp(logits, -1), best, index.to(best.dtype)], 1).tolist()
    return [
        (int(token), min(0.0, top - total) if math.isfinite(top - total) else math.nan)
        for total, top, token in rows
    ]
