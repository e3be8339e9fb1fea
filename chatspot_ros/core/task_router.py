"""What a question wants, by its wording alone: a task, or that it is no question at all.

A linear classifier over hashed n-grams, trained by `chatspot train-router` and evaluated here with
numpy. Its probabilities are calibrated; what is not probable enough wants a plain answer. Measured
by the suite `intent` of chatspot_train.evaluate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.intents import FOLLOW_UP, NO_QUESTIONS, SHORT
from chatspot_ros.core.ngrams import hashed

FILE = Path(__file__).with_name("task_router.npz")


@dataclass(frozen=True)
class Intent:
    """What a wording wants: a task of tasks.TASKS ("" is a plain answer) or one of
    intents.NO_QUESTIONS, with its probability in [0, 1]."""

    name: str
    probability: float

    @property
    def is_question(self) -> bool:
        """Whether it wants an answer about the picture."""
        return self.name not in NO_QUESTIONS


@dataclass(frozen=True)
class Router:
    """A trained classifier of wordings.

    `names` are the K intents, `weights` int8 (ngrams.BUCKETS x K) times `scale` (K), `bias` (K)
    and `sharpness` turn the mean weights of a wording's n-grams into calibrated probabilities.
    A task less probable than `min_task` is rejected: a plain answer. A wording is no question if
    intents.NO_QUESTIONS together are at least as probable as `min_no_question`.
    """

    names: tuple[str, ...]
    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    sharpness: float
    min_task: float
    min_no_question: float

    @classmethod
    def read(cls, file: Path = FILE) -> Self:
        """Read a router from a file of `write`."""
        with np.load(file, allow_pickle=False) as kept:
            return cls(
                tuple(map(str, kept["names"])), kept["weights"], kept["scale"], kept["bias"],
                *(float(one) for one in kept["thresholds"]),
            )  # fmt: skip

    def write(self, file: Path) -> None:
        """Write the router as compressed arrays of numpy, without pickle."""
        np.savez_compressed(
            file, names=np.array(self.names), weights=self.weights, scale=self.scale,
            bias=self.bias,
            thresholds=np.array([self.sharpness, self.min_task, self.min_no_question]),
        )  # fmt: skip

    def scores(self, question: str) -> NDArray[np.float32]:
        """Return the score of each of `names`; the higher the more probable."""
        rows = self.weights[hashed(question)]
        norm = np.float32(max(len(rows), 1) ** -0.5)
        scores: NDArray[np.float32] = rows.sum(0, dtype=np.int32) * self.scale * norm + self.bias
        return scores

    def intent(self, question: str, previous: str = "") -> Intent:
        """Return what a question wants; `previous` is the task of the turn before it, which a
        follow-up ("And this one?") wants too."""
        powers = np.exp(self.sharpness * (scores := self.scores(question)) - self.sharpness
                        * scores.max())  # fmt: skip
        probable = dict(zip(self.names, map(float, powers / powers.sum()), strict=True))
        aside = {name: probable.pop(name) for name in NO_QUESTIONS if name in probable}
        if (total := sum(aside.values())) >= self.min_no_question:
            return Intent(max(aside, key=aside.__getitem__), total)
        best = max(probable, key=probable.__getitem__)
        if best == FOLLOW_UP:
            return Intent(previous, probable[best])
        if best == SHORT or probable[best] < self.min_task:
            return Intent("", probable[SHORT])
        return Intent(best, probable[best])


@lru_cache(maxsize=1)
def _shipped() -> Router:
    return Router.read()


def intent_of(question: str, previous: str = "") -> Intent:
    """Return what a question wants, by the shipped router; see Router.intent."""
    return _shipped().intent(question, previous)


def route(question: str, previous: str = "") -> str:
    """Return the name of the task that a question asks for by its wording; "" for a plain answer
    and where the words are no question. `previous` is the task of the turn before it."""
    found = intent_of(question, previous)
    return found.name if found.is_question else ""
