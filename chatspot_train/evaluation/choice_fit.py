"""Fit the temperature of choices' probabilities (Guo et al. 2017, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.confidence import Calibration
from chatspot_train.evaluation.metrics.calibration import Values

LEAST, MOST, TRIED = 0.2, 20.0, 400
FOLDS = 5
# Stands for a probability that is too small for a number.
_TINY = 1e-300


def temperature_of(calibration: Calibration | None) -> float:
    """Return the temperature of a checkpoint's choices; 1 where it has no calibration."""
    return 1.0 if calibration is None else calibration.choice_temperature


def log_scores(probabilities: Sequence[Sequence[float]], temperature: float) -> list[Values]:
    """Return the scores, up to a constant, of which a temperature made these probabilities."""
    return [temperature * np.log(np.maximum(np.array(one), _TINY)) for one in probabilities]


def at_temperature(scores: Values, temperature: float) -> Values:
    """Return the probabilities, together 1, of some log-probabilities."""
    softened = scores / temperature
    powers = np.exp(softened - softened.max())
    found: Values = powers / powers.sum()
    return found


def fit_temperature(scores: Sequence[Values], true: Sequence[int]) -> float:
    """Return the temperature with the least mean negative log-likelihood of the true choices.

    Raises ValueError without questions.
    """
    if not scores:
        raise ValueError("there are no questions with choices")
    tried = np.geomspace(LEAST, MOST, TRIED)
    return round(float(min(tried, key=lambda one: _loss(scores, true, float(one)))), 3)


def _loss(scores: Sequence[Values], true: Sequence[int], temperature: float) -> float:
    said = [at_temperature(one, temperature)[k] for one, k in zip(scores, true, strict=True)]
    return float(-np.log(np.maximum(said, _TINY)).mean())


def held_out(
    scores: Sequence[Values], true: Sequence[int], group: NDArray[np.int64]
) -> list[Values]:
    """Return the probabilities of each question by the temperature of the other folds' kitchens."""
    groups = np.unique(group)
    fold = np.searchsorted(groups, group) % min(FOLDS, len(groups))
    found: dict[int, Values] = {}
    for number in np.unique(fold):
        others = [k for k in range(len(scores)) if fold[k] != number]
        warmth = fit_temperature([scores[k] for k in others], [true[k] for k in others])
        found |= {k: at_temperature(scores[k], warmth)
                  for k in range(len(scores)) if fold[k] == number}  # fmt: skip
    return [found[k] for k in range(len(scores))]
