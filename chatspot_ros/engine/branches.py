"""Many questions about one picture at once, as branches over one shared prefix.

The questions stand behind each other in a single sequence under a mask that lets every token see
the prefix and its own branch alone, each counted from the end of the prefix on. So the prefix's
keys and values are there once, whatever the number of questions, and nothing is padded
(docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from chatspot_ros.engine.api import ShouldStop
from chatspot_ros.engine.decoding import Constraint, Decoded, OnIds, check_stop, constrain
from chatspot_ros.engine.failures import ModelFailure
from chatspot_ros.errors import ChatspotError, ModelError

# The mask has rows x columns numbers: longer packs are read in pieces of whole branches.
MAX_PACKED_TOKENS = 2048
# Columns of finished branches are dropped from the cache once they are this share of it.
COMPACT_SHARE = 0.25


@dataclass
class Branch:
    """One question behind the prefix: its ids, and what came of it.

    `error` is set where it was stopped; its answer is then not complete. With a `constraint` the
    answer is the likeliest of those that it allows.
    """

    ids: list[int]
    limit: int
    on_ids: OnIds | None = None
    should_stop: ShouldStop | None = None
    on_done: Callable[[], None] | None = None
    constraint: Constraint | None = None
    answer: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    truncated: bool = False
    done: bool = False
    error: ChatspotError | None = None

    @property
    def decoded(self) -> Decoded:
        """The answer."""
        return Decoded(self.answer, self.log_probabilities, self.truncated)


def decode_branches(
    model: Any, cache: DynamicCache, branches: list[Branch], end_ids: frozenset[int]
) -> None:
    """Answer all branches greedily, in place. `cache` holds the prefix, and grows.

    A stop request ends its branch alone; what other callbacks raise goes through. `on_done` is
    called as each answer is complete.

    Raises:
        ModelError: the model failed, or its numbers are not finite.
    """
    pack = _Pack(model, cache)
    waiting = list(enumerate(branches))
    while waiting:
        piece: list[tuple[int, Branch]] = []
        tokens = 0
        while waiting and (not piece or tokens + len(waiting[0][1].ids) <= MAX_PACKED_TOKENS):
            piece.append(waiting.pop(0))
            tokens += len(piece[-1][1].ids)
        live = [(number, branch) for number, branch in piece if _goes_on(branch)]
        if live:
            _take(live, pack.read(live), end_ids)
    live = [(number, branch) for number, branch in enumerate(branches) if not branch.done]
    while live := [(number, branch) for number, branch in live if _goes_on(branch)]:
        pack.compact({number for number, _ in live})
        _take(live, pack.step(live), end_ids)


def _goes_on(branch: Branch) -> bool:
    if not branch.done:
        try:
            check_stop(branch.should_stop)
        except ChatspotError as error:
            branch.error, branch.done = error, True
    return not branch.done


def _take(live: list[tuple[int, Branch]], logits: torch.Tensor, end_ids: frozenset[int]) -> None:
    """Give every branch its likeliest token, from logits (branches, vocabulary)."""
    with ModelFailure("answer"):
        logits = logits.float()
        allowed = constrain(logits, [(branch.constraint, branch.answer) for _, branch in live])
        best, index = allowed.max(dim=-1)
        # One transfer from the device for all numbers of all branches.
        rows = torch.stack([torch.logsumexp(logits, -1), best, index.to(best.dtype)], 1).tolist()
        if not all(abs(row[0]) < float("inf") and abs(row[1]) < float("inf") for row in rows):
            raise ModelError(
                "the model computed numbers that are not finite",
                value=f"logits up to {max(row[1] for row in rows)}",
                remedy="use dtype bfloat16 or float32; if it stays, the weights are damaged",
            )
    for (_, branch), (total, top, token) in zip(live, rows, strict=True):
        if int(token) in end_ids:
            branch.done = True
        else:
            branch.answer.append(int(token))
            branch.log_probabilities.append(min(0.0, top - total))
            if branch.on_ids is not None:
                branch.on_ids(branch.answer)
            branch.done = branch.truncated = len(branch.answer) >= branch.limit
        if branch.done and branch.on_done is not None:
            branch.on_done()


class _Pack:
    """The sequence behind the prefix: which branch each of its tokens belongs to."""

    def __init__(self, model: Any, cache: DynamicCache) -> None:
        self.model, self.cache = model, cache
        self.prefix = cache.get_seq_length()
        self.owners = torch.zeros(0, dtype=torch.long)
        self.lengths: dict[int, int] = {}
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype

    def read(self, live: list[tuple[int, Branch]]) -> torch.Tensor:
        """Read whole questions; returns the logits behind each, (branches, vocabulary)."""
        lengths = torch.tensor([len(branch.ids) for _, branch in live])
        numbers = torch.tensor([number for number, _ in live])
        positions = torch.cat([torch.arange(len(branch.ids)) for _, branch in live])
        ids = [i for _, branch in live for i in branch.ids]
        return self._forward(
            ids, numbers.repeat_interleave(lengths), positions, lengths.cumsum(0) - 1
        )

    def step(self, live: list[tuple[int, Branch]]) -> torch.Tensor:
        """Read each branch's last token; returns the logits behind it, (branches, vocabulary)."""
        numbers = torch.tensor([number for number, _ in live])
        positions = torch.tensor([self.lengths[number] for number, _ in live])
        ids = [branch.answer[-1] for _, branch in live]
        return self._forward(ids, numbers, positions, torch.arange(len(live)))

    def _forward(
        self, ids: list[int], owners: torch.Tensor, positions: torch.Tensor, last: torch.Tensor
    ) -> torch.Tensor:
        before = len(self.owners)
        self.owners = torch.cat([self.owners, owners])
        own = self.owners[None] == owners[:, None]
        order = torch.arange(len(self.owners))
        seen = own & (order[None] <= (before + torch.arange(len(ids)))[:, None])
        mask = torch.full((len(ids), self.prefix + len(self.owners)), 0.0)
        mask[:, self.prefix :].masked_fill_(~seen, torch.finfo(self.dtype).min)
        for number in owners.tolist():
            self.lengths[number] = self.lengths.get(number, 0) + 1
        with ModelFailure("answer"):
            out = self.model(
                input_ids=torch.tensor([ids], device=self.device),
                attention_mask=mask[None, None].to(self.device, self.dtype),
                position_ids=(self.prefix + positions)[None].to(self.device),
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=last.to(self.device),
            )
        logits: torch.Tensor = out.logits[0]
        return logits

    def compact(self, live: set[int]) -> None:
        """Drop the keys and values of finished branches where they are a large part."""
        kept = torch.tensor([int(number) in live for number in self.owners.tolist()])
        dead = len(kept) - int(kept.sum())
        if dead <= COMPACT_SHARE * (self.prefix + len(kept)):
            return
        index = torch.cat([torch.arange(self.prefix), self.prefix + kept.nonzero()[:, 0]])
        layers: list[Any] = list(self.cache.layers)
        for layer in layers:
            layer.keys = layer.keys.index_select(-2, index.to(layer.keys.device))
            layer.values = layer.values.index_select(-2, index.to(layer.values.device))
        self.owners = self.owners[kept]
