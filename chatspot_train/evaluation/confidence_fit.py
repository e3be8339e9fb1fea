"""Fit a confidence: maps from token log-probabilities to the share of right answers.

Candidates are Platt's logistic curve (Platt 1999) and isotonic regression (Zadrozny and Elkan
2002), on scores between the tokens' mean and least log-probability, with one map for all tasks or
one for each. Each is judged on kitchens that were held out of its fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from chatspot_ros.core.confidence import ANY_TASK, Calibration, ConfidenceMap
from chatspot_train.evaluation.metrics.calibration import (
    Threshold,
    Values,
    calibration_error,
    choose_threshold,
    risk_area,
)

MEAN_WEIGHTS = (1.0, 0.5, 0.0)
FOLDS = 5
KNOTS = 24
# A task with fewer answers shares the common map.
MIN_ANSWERS = 60
# Ways with a task error this close to the least are equal; the one with the least risk-coverage
# area is taken, or a constant map would win.
EQUAL_ERROR = 0.01
_DIGITS = 4
_STRENGTH = 100.0


@dataclass(frozen=True)
class Answers:
    """n judged answers; `group` is the kitchen, which is never split between folds.

    `mean` and `least` are natural log-probabilities of the tokens, `right` is 0 or 1, `task` the
    one that the engine used.
    """

    group: NDArray[np.int64]
    task: NDArray[np.str_]
    mean: Values
    least: Values
    right: Values

    def __len__(self) -> int:
        return len(self.right)

    def __getitem__(self, which: NDArray[np.bool_]) -> Answers:
        return Answers(self.group[which], self.task[which], self.mean[which], self.least[which],
                       self.right[which])  # fmt: skip

    def score(self, mean_weight: float) -> Values:
        """Return the scores, as core.confidence computes them."""
        return np.exp(mean_weight * self.mean + (1 - mean_weight) * self.least)


@dataclass(frozen=True)
class Way:
    """One way to fit, with its measures on held-out kitchens.

    `error` is the calibration error of all answers, `task_error` the mean of each task's own: over
    all answers an overconfident and an underconfident task cancel out.
    """

    curve: str
    mean_weight: float
    by_task: bool
    error: float = float("nan")
    task_error: float = float("nan")
    area: float = float("nan")

    def __str__(self) -> str:
        maps = "a map for each task" if self.by_task else "one map"
        return f"{self.curve}, weight {self.mean_weight:g} on the mean, {maps}"


@dataclass(frozen=True)
class Fitted:
    """The best fit. `held_out` are confidences by maps fitted to other kitchens; the threshold is
    chosen on them, None if no risk is low enough."""

    calibration: Calibration
    way: Way
    tried: tuple[Way, ...]
    held_out: Values
    threshold: Threshold | None


def fit(answers: Answers, target_risk: float) -> Fitted:
    """Fit all ways and return the best. Raises ValueError for fewer than 2 kitchens."""
    if len(np.unique(answers.group)) < 2:
        raise ValueError("a calibration needs the answers about at least 2 kitchens")
    tried, held_out = [], {}
    for way in _ways():
        confidence = _held_out(answers, way)
        error = calibration_error(confidence, answers.right)
        judged = replace(
            way, error=error, task_error=_task_error(confidence, answers),
            area=risk_area(confidence, answers.right),
        )  # fmt: skip
        tried.append(judged)
        held_out[judged] = confidence
    least = min(way.task_error for way in tried)
    equal = [way for way in tried if way.task_error <= least + EQUAL_ERROR]
    best = min(equal, key=lambda way: way.area)
    chosen = choose_threshold(held_out[best], answers.right, target_risk)
    # Without a threshold all answers are uncertain.
    threshold = 1.0 if chosen is None else float(round(chosen.confidence, _DIGITS))
    calibration = Calibration(threshold=threshold, maps=fit_maps(answers, best))
    return Fitted(calibration, best, tuple(tried), held_out[best], chosen)


def _task_error(confidence: Values, answers: Answers) -> float:
    """Return the mean over the answers of their task's calibration error."""
    errors = np.zeros(len(answers))
    for task in set(answers.task.tolist()):
        which = answers.task == task
        errors[which] = calibration_error(confidence[which], answers.right[which])
    return float(errors.mean())


def fit_maps(answers: Answers, way: Way) -> dict[str, ConfidenceMap]:
    """Return the maps by task, fitted to all these answers."""
    maps = {ANY_TASK: _fit_map(answers, way)}
    if way.by_task:
        for task in sorted(set(answers.task.tolist()) - {""}):
            own = answers[answers.task == task]
            if len(own) >= MIN_ANSWERS:
                maps[task] = _fit_map(own, way)
        # Tasks without a map of their own differ from those with one.
        rest = answers[~np.isin(answers.task, list(maps))]
        if len(rest) >= MIN_ANSWERS:
            maps[ANY_TASK] = _fit_map(rest, way)
    return maps


def apply(maps: dict[str, ConfidenceMap], answers: Answers) -> Values:
    """Return the confidences of answers, as `Calibration.confidence` does."""
    found = np.zeros(len(answers))
    for task in set(answers.task.tolist()):
        which = answers.task == task
        line = maps.get(task, maps[ANY_TASK])
        x, y = np.array(line.knots).T
        found[which] = np.interp(answers[which].score(line.mean_weight), x, y)
    return found


def _ways() -> Iterator[Way]:
    for curve, weight, by_task in itertools.product(
        ("logistic", "isotonic"), MEAN_WEIGHTS, (False, True)
    ):
        yield Way(curve, weight, by_task)


def _held_out(answers: Answers, way: Way) -> Values:
    confidence = np.zeros(len(answers))
    groups = np.unique(answers.group)
    fold = np.searchsorted(groups, answers.group) % min(FOLDS, len(groups))
    for number in np.unique(fold):
        inside = fold == number
        confidence[inside] = apply(fit_maps(answers[~inside], way), answers[inside])
    return confidence


def _fit_map(answers: Answers, way: Way) -> ConfidenceMap:
    x, right = answers.score(way.mean_weight), answers.right
    if len(np.unique(right)) < 2 or len(np.unique(x)) < 2:
        knots = [(1.0, (right.sum() + 1) / (len(right) + 2))]
    elif way.curve == "logistic":
        knots = _logistic(x, right)
    else:
        knots = _isotonic(x, right)
    return ConfidenceMap(mean_weight=way.mean_weight, knots=_rounded(knots))


def _logistic(x: Values, right: Values) -> list[tuple[float, float]]:
    """Fit over the logarithm of the score; constant if the curve would fall."""
    log_score = np.log(np.maximum(x, 1e-12))[:, None]
    model = LogisticRegression(C=_STRENGTH, max_iter=1000).fit(log_score, right)
    if model.coef_[0, 0] <= 0:
        return [(1.0, float(right.mean()))]
    at = np.quantile(x, np.linspace(0, 1, KNOTS))
    said = model.predict_proba(np.log(np.maximum(at, 1e-12))[:, None])[:, 1]
    return list(zip(at.tolist(), said.tolist(), strict=True))


def _isotonic(x: Values, right: Values) -> list[tuple[float, float]]:
    """Fit within the open interval (0, 1): the next answer may be an exception."""
    edge = 1 / (len(x) + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(x, right)
    xs, ys = model.X_thresholds_, model.y_thresholds_
    kept = np.unique(np.linspace(0, len(xs) - 1, KNOTS).round().astype(int))
    return list(zip(xs[kept].tolist(), ys[kept].tolist(), strict=True))


def _rounded(knots: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the knots rounded, with strictly rising scores."""
    found: dict[float, float] = {}
    for x, y in knots:
        found[round(float(x), _DIGITS)] = round(float(y), _DIGITS)
    return tuple(sorted(found.items()))
