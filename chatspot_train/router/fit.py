"""The fit of the router: linear scores, calibrated out of fold, with weights of one byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score  # type: ignore[import-untyped]
from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

from chatspot_ros.core.intents import NO_QUESTIONS, SHORT
from chatspot_ros.core.ngrams import BUCKETS, hashed
from chatspot_ros.core.task_router import Router
from chatspot_train.router.examples import Example

C = 3.0  # inverse strength of the regularisation; chosen out of fold among 0.3, 1, 3 and 10
FOLDS = 4
# The share of real questions that may be taken for no question.
MOST_REFUSED = 0.005
# How much weighted F1 may be given for plain answers in the place of doubtful tasks.
PRICE_OF_DOUBT = 0.002
_STEPS = np.linspace(0.0, 0.95, 20)


@dataclass(frozen=True)
class OutOfFold:
    """Intents and their calibrated probabilities (N x K) by fits that did not see the pattern;
    `f1` is the weighted F1 of the most probable ones."""

    intents: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    sharpness: float
    f1: float


def features(texts: Sequence[str]) -> csr_matrix:
    """Return the n-grams of texts as rows of length 1 (N x ngrams.BUCKETS)."""
    rows = [hashed(text) for text in texts]
    counts = [len(row) for row in rows]
    values = np.concatenate([np.full(n, max(n, 1) ** -0.5) for n in counts])
    ends = np.cumsum([0, *counts])
    return csr_matrix((values, np.concatenate(rows), ends), shape=(len(rows), BUCKETS))


def fit(examples: Sequence[Example]) -> tuple[Router, OutOfFold]:
    """Return a router of the examples, and how its fits did on patterns that they had not seen."""
    x = features([one.text for one in examples])
    y = np.array([one.intent for one in examples])
    weight = np.array([one.weight for one in examples])
    groups = np.array([one.pattern for one in examples])
    names = np.unique(y)
    scores = np.empty((len(y), len(names)))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    for learnt, left in folds.split(x, y, groups):
        scores[left] = _svm(x[learnt], y[learnt], weight[learnt]).decision_function(x[left])
    found = _calibrated(scores, y, weight, names)
    least = _min_no_question(found, names)
    router = replace(
        _quantised(_svm(x, y, weight)), sharpness=found.sharpness, min_no_question=least,
        min_task=_min_task(found, names, weight, least),
    )  # fmt: skip
    return router, found


def _svm(x: csr_matrix, y: NDArray[np.str_], weight: NDArray[np.float64]) -> LinearSVC:
    return LinearSVC(C=C, tol=1e-3, random_state=0).fit(x, y, sample_weight=weight)


def _calibrated(
    scores: NDArray[np.float64],
    y: NDArray[np.str_],
    weight: NDArray[np.float64],
    names: NDArray[np.str_],
) -> OutOfFold:
    """Find the sharpness that makes the true intents most probable."""
    true = np.searchsorted(names, y)

    def loss(log_sharpness: float) -> float:
        likely = log_softmax(np.exp(log_sharpness) * scores, axis=1)[np.arange(len(y)), true]
        return -float(np.average(likely, weights=weight))

    sharpness = float(np.exp(minimize_scalar(loss, bounds=(-2, 4), method="bounded").x))
    f1 = f1_score(y, names[scores.argmax(1)], average="weighted", sample_weight=weight)
    return OutOfFold(y, softmax(sharpness * scores, axis=1), sharpness, float(f1))


def _min_no_question(found: OutOfFold, names: NDArray[np.str_]) -> float:
    """Return the least probability that takes at most MOST_REFUSED of the questions for none."""
    aside = found.probabilities[:, np.isin(names, NO_QUESTIONS)].sum(1)
    real = aside[~np.isin(found.intents, NO_QUESTIONS)]
    return float(np.quantile(real, 1 - MOST_REFUSED))


def _min_task(
    found: OutOfFold, names: NDArray[np.str_], weight: NDArray[np.float64], least: float
) -> float:
    """Return the highest least probability of a task that costs at most PRICE_OF_DOUBT."""
    asides = np.isin(names, NO_QUESTIONS)
    asked = ~np.isin(found.intents, NO_QUESTIONS)
    asked &= found.probabilities[:, asides].sum(1) < least
    probable = np.where(asides, 0.0, found.probabilities)[asked]
    best, names_of = probable.max(1), names[probable.argmax(1)]
    scores = [
        f1_score(found.intents[asked], np.where(best < step, SHORT, names_of), average="weighted",
                 sample_weight=weight[asked], zero_division=0)
        for step in _STEPS
    ]  # fmt: skip
    return float(_STEPS[np.array(scores) >= max(scores) - PRICE_OF_DOUBT].max())


def _quantised(svm: LinearSVC) -> Router:
    """Return the classifier with weights of one byte, without thresholds."""
    scale = np.abs(svm.coef_).max(1) / 127
    weights = np.rint(svm.coef_ / scale[:, None]).astype(np.int8).T
    return Router(
        tuple(map(str, svm.classes_)), np.ascontiguousarray(weights),
        scale.astype(np.float32), svm.intercept_.astype(np.float32), 1.0, 0.0, 1.0,
    )  # fmt: skip
