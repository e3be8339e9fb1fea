"""One question of several that are answered side by side, and the choice of their next tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from chatspot_ros.engine.api import ShouldStop
from chatspot_ros.engine.decoding.greedy import check_stop, likeliest
from chatspot_ros.engine.decoding.kv_cache import TurnCache
from chatspot_ros.engine.decoding_types import Constraint, Decoded, OnIds
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.errors import CancelledError, ModelError


@dataclass(eq=False)
class TokenSequence:
    """One question behind the prefix: its ids, and what came of it.

    `error` is set where it was stopped or failed; its answer is then not complete. With a
    `constraint` the answer is the likeliest of those that it allows. What `past` knows of the ids
    is not read again; with `remember`, `memory` is what the next turn can go on from.
    """

    ids: list[int]
    limit: int
    on_ids: OnIds | None = None
    should_stop: ShouldStop | None = None
    on_done: Callable[[], None] | None = None
    constraint: Constraint | None = None
    past: TurnCache | None = None
    remember: bool = False
    answer: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    truncated: bool = False
    done: bool = False
    error: Exception | None = None
    memory: TurnCache | None = None
    # Which columns of a pack are its own, which it shares, and how many tokens it has there.
    number: int = -1
    stem: int = -1
    read: int = 0

    @property
    def decoded(self) -> Decoded:
        """The answer."""
        return Decoded(self.answer, self.log_probabilities, self.truncated)

    @property
    def unread(self) -> list[int]:
        """The tokens that the model has to read next."""
        return self.ids[self.read :] if self.read < len(self.ids) else self.answer[-1:]

    def fail(self, error: Exception) -> None:
        """End it, unless it has ended."""
        if not self.done:
            self.error, self.done = error, True
            self.on_done = None

    def goes_on(self) -> bool:
        """Whether it has not ended; asks whether it should."""
        if not self.done:
            try:
                check_stop(self.should_stop)
            except Exception as error:
                self.fail(error)
        return not self.done

    def leave(self) -> None:
        """End it because nobody waits for it any more."""
        self.fail(CancelledError("the answer was given up", value="a cancel", remedy="ask again"))

    def append_token(self, token: int, log_probability: float, end_ids: frozenset[int]) -> None:
        """Go on with a token, or end with it."""
        if token in end_ids:
            self.done = True
            return
        self.answer.append(token)
        self.log_probabilities.append(log_probability)
        if self.on_ids is not None:
            self.on_ids(self.answer)
        self.done = self.truncated = len(self.answer) >= self.limit

    def finish(self) -> None:
        """Hand a complete answer on, once; whom it went to, and what he holds, is let go."""
        on_done, self.on_done = self.on_done, None
        if self.error is None and on_done is not None:
            try:
                on_done()
            except Exception as error:
                self.error = error


def take(live: list[TokenSequence], logits: torch.Tensor, end_ids: frozenset[int]) -> None:
    """Give every sequence its likeliest token, from logits (sequences, vocabulary).

    What fails for one sequence (numbers that are not finite, a listener) ends that one alone.
    Raises ModelError where the device fails.
    """
    with ModelFailure("answer"):
        chosen = likeliest(logits, [(sequence.constraint, sequence.answer) for sequence in live])
    for sequence, (token, log_probability) in zip(live, chosen, strict=True):
        if not log_probability <= 0:
            sequence.fail(
                ModelError(
                    "the model computed numbers that are not finite",
                    value=f"a log-probability of {log_probability}",
                    remedy="use dtype bfloat16 or float32; if it stays, the weights are damaged",
                )
            )
            continue
        try:
            sequence.append_token(token, log_probability, end_ids)
        except Exception as error:  # a listener's, which must not end the others
            sequence.fail(error)
