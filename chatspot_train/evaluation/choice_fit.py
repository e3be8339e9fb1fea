"""Fit the probabilities of choices: a temperature (Guo et al. 2017, section 4.2) and the share of
questions that are answered by chance.

The second is for wordings that a model misreads: it is as sure of those answers as of the others,
which no temperature mends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.confidence import Calibration
from chatspot_train.evaluation.metrics.calibration import Values

TEMPERATURES = np.geomspace(0.25, 16.0, 61)
GUESSED = np.concatenate([[0.0], np.geomspace(0.002, 0.6, 60)])
FOLDS = 5
# Stands for a probability that is too small for a number.
_TINY = 1e-300


@dataclass(frozen=True)
class ChoiceFit:
    """How log-probabilities of choices become probabilities; see choices.probabilities."""

    temperature: float = 1.0
    guessed: float = 0.0

    @classmethod
    def of(cls, calibration: Calibration | None) -> ChoiceFit:
        """Return the one of a checkpoint; the plain one where it has none."""
        if calibration is None:
            return cls()
        return cls(calibration.choice_temperature, calibration.choice_guessed)

    def __call__(self, scores: Values) -> Values:
        """Return the probabilities, together 1, of some log-probabilities."""
        softened = scores / self.temperature
        powers = np.exp(softened - softened.max())
        found: Values = (1 - self.guessed) * powers / powers.sum() + self.guessed / len(scores)
        return found

    def scores(self, probabilities: Sequence[float]) -> Values:
        """Return the scores, up to a constant, of which this one made the probabilities."""
        said = np.array(probabilities, float)
        bare = (said - self.guessed / len(said)) / (1 - self.guessed)
        found: Values = self.temperature * np.log(np.maximum(bare, _TINY))
        return found


def fit_choices(scores: Sequence[Values], true: Sequence[int]) -> ChoiceFit:
    """Return the fit with the least mean negative log-likelihood of the true choices.

    Raises ValueError without questions.
    """
    if not scores:
        raise ValueError("there are no questions with choices")
    chance = np.array([1 / len(one) for one in scores])
    best, least = ChoiceFit(), np.inf
    for temperature in TEMPERATURES:
        plain = ChoiceFit(float(temperature))
        said = np.array([plain(one)[k] for one, k in zip(scores, true, strict=True)])
        mixed = (1 - GUESSED[:, None]) * said + GUESSED[:, None] * chance
        losses = -np.log(np.maximum(mixed, _TINY)).mean(1)
        if losses.min() < least:
            least = losses.min()
            guessed = float(GUESSED[int(losses.argmin())])
            best = ChoiceFit(round(float(temperature), 3), round(guessed, 4))
    return best


def held_out(
    scores: Sequence[Values], true: Sequence[int], group: NDArray[np.int64]
) -> list[Values]:
    """Return the probabilities of each question by the fit to the other folds' kitchens."""
    groups = np.unique(group)
    fold = np.searchsorted(groups, group) % min(FOLDS, len(groups))
    found: dict[int, Values] = {}
    for number in np.unique(fold):
        others = [k for k in range(len(scores)) if fold[k] != number]
        fitted = fit_choices([scores[k] for k in others], [true[k] for k in others])
        found |= {k: fitted(scores[k]) for k in range(len(scores)) if fold[k] == number}
    return [found[k] for k in range(len(scores))]
