"""Calibrated confidence from token log-probabilities.

A checkpoint's chatspot.yaml holds what `chatspot calibrate` measured.
Without it the confidence is the geometric mean of the tokens' probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, field_validator

# The map of the tasks without one of their own.
ANY_TASK = "any"
# The threshold of checkpoints without a calibration.
UNCALIBRATED_THRESHOLD = 0.4
Knot = tuple[float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConfidenceMap(_Strict):
    """A piecewise linear, never falling map from an answer's score to its confidence, in [0, 1].

    The score is exp(w * mean + (1 - w) * least) of the tokens' natural log-probabilities, with w
    `mean_weight`: 1 their geometric mean, 0 the least probable token alone. Beyond the outer
    `knots` (score, confidence) the map is constant.
    """

    mean_weight: float = Field(ge=0, le=1)
    knots: tuple[Knot, ...] = Field(min_length=1)

    @field_validator("knots")
    @classmethod
    def _rise(cls, knots: tuple[Knot, ...]) -> tuple[Knot, ...]:
        if not all(0 <= value <= 1 for knot in knots for value in knot):
            raise ValueError("scores and confidences lie between 0 and 1")
        if not all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(knots)):
            raise ValueError("scores must rise from knot to knot, and confidences must not fall")
        return knots

    def __call__(self, log_probabilities: Sequence[float]) -> float:
        """Return the confidence, in [0, 1], of an answer with these tokens; 0 without any."""
        if not log_probabilities:
            return 0.0
        at = score(log_probabilities, self.mean_weight)
        if at <= self.knots[0][0]:
            return self.knots[0][1]
        for (x1, y1), (x2, y2) in pairwise(self.knots):
            if at <= x2:
                return y1 + (y2 - y1) * (at - x1) / (x2 - x1)
        return self.knots[-1][1]


class Calibration(_Strict):
    """The measured calibration of one checkpoint.

    `maps` are by task, `any` for those without one of their own; answers with a confidence below
    `threshold` are uncertain. `choice_temperature` is that of the probabilities of given choices
    (choices.probabilities).
    """

    threshold: float = Field(ge=0, le=1)
    choice_temperature: float = Field(default=1.0, gt=0, le=100)
    maps: dict[str, ConfidenceMap]

    @field_validator("maps")
    @classmethod
    def _for_all(cls, maps: dict[str, ConfidenceMap]) -> dict[str, ConfidenceMap]:
        if ANY_TASK not in maps:
            raise ValueError(f"there must be a map called {ANY_TASK}")
        return maps

    def confidence(self, task: str, log_probabilities: Sequence[float]) -> float:
        """Return the confidence, in [0, 1], of an answer to a task."""
        return self.maps.get(task, self.maps[ANY_TASK])(log_probabilities)


def score(log_probabilities: Sequence[float], mean_weight: float) -> float:
    """Return the score of an answer with at least one token; see ConfidenceMap."""
    mean = sum(log_probabilities) / len(log_probabilities)
    mixed = mean_weight * mean + (1 - mean_weight) * min(log_probabilities)
    return min(1.0, math.exp(mixed))


def confidence_of(
    calibration: Calibration | None, task: str, log_probabilities: Sequence[float]
) -> float:
    """Return the confidence, in [0, 1]: measured, or the geometric mean of the probabilities."""
    if calibration is not None:
        return calibration.confidence(task, log_probabilities)
    return score(log_probabilities, 1.0) if log_probabilities else 0.0


def threshold_of(calibration: Calibration | None) -> float:
    """Return the confidence below which an answer is uncertain."""
    return UNCALIBRATED_THRESHOLD if calibration is None else calibration.threshold
