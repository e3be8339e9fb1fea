"""One question's token sequence, and the choice of the next tokens of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from chatspot_ros.engine.api import ShouldStop, check_stop
from chatspot_ros.engine.choice_scores import ChoiceScores
from chatspot_ros.engine.decoding.greedy import likeliest
from chatspot_ros.engine.decoding.kv_cache import TurnCache
from chatspot_ros.engine.decoding.pointing import Pointed, Pointer, WithoutToken
from chatspot_ros.engine.decoding_types import Constraint, Decoded, OnIds
from chatspot_ros.engine.model_errors import ModelFailure
from chatspot_ros.engine.models.base import EncodedImage
from chatspot_ros.errors import CancelledError, ModelError

# Stands for a score of 0, which has no logarithm.
LEAST_SCORE = 1e-6


@dataclass(eq=False)
class TokenSequence:
    """One question's ids behind the prefix, and its answer so far.

    `error` is set when the question was stopped or failed; its answer is then incomplete. With a
    `constraint` only allowed tokens are chosen. Tokens whose keys and values `past` holds are not
    read again; with `remember`, `memory` holds those of this turn for the next one. `cut`
    is the picture of a second look; its image tokens are among `ids`. With a `pointer` the
    coordinates of boxes are the grounding head's (see `point`); `absence` returns the constraint of
    an answer that the thing is not there. With `scores` nothing is said: given answers are scored.
    """

    ids: list[int]
    limit: int
    on_ids: OnIds | None = None
    should_stop: ShouldStop | None = None
    on_done: Callable[[], None] | None = None
    constraint: Constraint | None = None
    past: TurnCache | None = None
    remember: bool = False
    cut: EncodedImage | None = None
    pointer: Pointer | None = None
    absence: Callable[[], Constraint | None] | None = None
    scores: ChoiceScores | None = None
    answer: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    truncated: bool = False
    done: bool = False
    error: Exception | None = None
    memory: TurnCache | None = None
    # The owner numbers of its own and its shared columns in a packed batch, and its tokens there.
    number: int = -1
    stem: int = -1
    read: int = 0
    # The boxes pointed at, the one whose tokens come next, and whether the answer begins anew.
    boxes: list[Pointed] = field(default_factory=list)
    pointed: Pointed | None = None
    begins_anew: bool = False

    @property
    def decoded(self) -> Decoded:
        """The answer as decoded so far."""
        scores = tuple(one.score for one in self.boxes)
        return Decoded(self.answer, self.log_probabilities, self.truncated, scores)

    @property
    def unread(self) -> list[int]:
        """The tokens for the model to read next."""
        behind = self.read - len(self.ids)
        return self.ids[self.read :] if behind < 0 else self.answer[behind:]

    @property
    def opens_box(self) -> bool:
        """Whether the model reads next a token that opens a box, where the head has to point."""
        pointer = self.pointer
        return pointer is not None and self.answer[-1:] == [pointer.opening_id] == self.unread

    @property
    def asks_head(self) -> bool:
        """Whether the answer begins with a box, for the head to say whether the thing is there."""
        return self.pointer is not None and self.pointer.rejects and not self.answer

    def point(self, hidden_states: Sequence[torch.Tensor], token: int) -> None:
        """Let the head say where the box is that a token of a row opened.

        Its coordinates follow. A first box that is too unlikely is withdrawn where the answer may
        be that the thing is not there: the answer begins anew, without boxes.
        """
        pointer = self.pointer
        if pointer is None:
            return
        try:
            states = pointer.states_of(hidden_states, token)
            found = pointer.point(states, [one.box for one in self.boxes])
        except ModelError as error:
            self.fail(error)
            return
        if self.boxes or not pointer.rejects or found.score >= pointer.threshold:
            self.pointed = found
            return
        self.answer, self.log_probabilities, self.read = [], [], 0
        absence = self.absence() if self.absence is not None else None
        self.constraint = absence or WithoutToken(self.constraint, pointer.opening_id)
        self.pointer, self.past, self.begins_anew = None, None, True

    @property
    def scores_next(self) -> bool:
        """Whether it is the turn of given answers: the question has been read."""
        return self.scores is not None and self.scores.begun

    def hear(self, logits: torch.Tensor) -> None:
        """Take the logits of what was read for the scores: (1, vocabulary) behind the question,
        then (tokens, vocabulary) of the planned answers."""
        if self.scores is None:
            return
        if not self.scores.begun:
            self.scores.begin(logits[-1])
        else:
            self.scores.hear(logits)
        if self.scores.failed:
            self.fail(_not_finite("of a choice"))
        self.done |= self.scores.done

    def say_box(self, found: Pointed) -> None:
        """Append the coordinates of a box, each as likely as the box is right."""
        self.pointed = None
        self.boxes.append(found)
        room = self.limit - len(self.answer)
        self.answer += found.ids[:room]
        self.log_probabilities += [math.log(max(found.score, LEAST_SCORE))] * len(found.ids[:room])
        self.done = self.truncated = len(self.answer) >= self.limit
        if self.on_ids is not None:
            self.on_ids(self.answer)

    def fail(self, error: Exception) -> None:
        """End the sequence with an error, unless it has ended."""
        if not self.done:
            self.error, self.done = error, True
            self.on_done = None

    def goes_on(self) -> bool:
        """Return whether the sequence is unfinished, after a call of `should_stop`."""
        if not self.done:
            try:
                check_stop(self.should_stop)
            except Exception as error:
                self.fail(error)
        return not self.done

    def leave(self) -> None:
        """End the sequence because its caller gave it up."""
        self.fail(CancelledError("the answer was given up", value="a cancel", remedy="ask again"))

    def append_token(self, token: int, log_probability: float, end_ids: frozenset[int]) -> None:
        """Append a token to the answer; an end token ends it instead."""
        if token in end_ids:
            self.done = True
            return
        self.answer.append(token)
        self.log_probabilities.append(log_probability)
        # What may be withdrawn is not handed on.
        held = self.pointer is not None and self.pointer.rejects and not self.boxes
        if self.on_ids is not None and not held:
            self.on_ids(self.answer)
        self.done = self.truncated = len(self.answer) >= self.limit

    def finish(self) -> None:
        """Call `on_done` once for a complete answer, and drop the reference to it."""
        on_done, self.on_done = self.on_done, None
        if self.error is None and on_done is not None:
            try:
                on_done()
            except Exception as error:
                self.error = error


def take(live: list[TokenSequence], logits: torch.Tensor, end_ids: frozenset[int]) -> None:
    """Append the likeliest token to every sequence, from logits (sequences, vocabulary).

    A sequence that pointed gets the box's tokens instead, one that begins anew none.

    A failure of one sequence (numbers that are not finite, its callback) ends that one alone.
    Raises ModelError where the device fails.
    """
    settled = [one.pointed is not None or one.begins_anew or one.done for one in live]
    if any(settled):
        logits = logits[[not one for one in settled]]
        say_boxes(live)
        live = [one for one, known in zip(live, settled, strict=True) if not known]
        if not live:
            return
    with ModelFailure("answer"):
        chosen = likeliest(logits, [(sequence.constraint, sequence.answer) for sequence in live])
    for sequence, (token, log_probability) in zip(live, chosen, strict=True):
        if sequence.asks_head and sequence.pointer is not None:
            sequence.append_token(sequence.pointer.opening_id, 0.0, end_ids)
            continue
        if not log_probability <= 0:
            sequence.fail(_not_finite(f"of {log_probability}"))
            continue
        try:
            sequence.append_token(token, log_probability, end_ids)
        except Exception as error:  # of a callback, which must not end the others
            sequence.fail(error)


def _not_finite(what: str) -> ModelError:
    return ModelError(
        "the model computed numbers that are not finite",
        value=f"a log-probability {what}",
        remedy="use dtype bfloat16 or float32; if it stays, the weights are damaged",
    )


def say_boxes(live: list[TokenSequence]) -> None:
    for sequence in live:
        if sequence.pointed is not None:
            try:
                sequence.say_box(sequence.pointed)
            except Exception as error:  # of a callback, which must not end the others
                sequence.fail(error)
