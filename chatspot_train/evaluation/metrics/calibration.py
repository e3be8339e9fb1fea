"""Calibration error, risk-coverage curve and threshold of a confidence.

Expected calibration error, as in Guo et al. 2017: answers are in 15 bins of equal width,
](k - 1)/15, k/15], 0 in the first; it is the mean distance between a bin's accuracy and its mean
confidence, weighted by the bin's count. torchmetrics closes its bins on the left and gives a
confidence of 1 a bin of its own.

Risk-coverage: the k of n answers with the highest confidence are accepted (coverage k/n); the risk
is the share of wrong ones among them. The area under the curve is the mean risk over k = 1..n,
averaged exactly over the orders of equal confidences. The threshold for `uncertain` is the lowest
confidence whose risk is within the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
TARGET_RISK = 0.1
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The least accepted confidence, with its `coverage` and `risk`."""

    confidence: float
    coverage: float
    risk: float


def bins(confidence: Values, right: Values) -> tuple[Values, Values, Values]:
    """Return count, mean confidence and accuracy of each of the BINS bins (nan if empty)."""
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(number, minlength=BINS).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        sure = np.bincount(number, confidence, minlength=BINS) / count
        accuracy = np.bincount(number, right, minlength=BINS) / count
    return count, sure, accuracy


def calibration_error(confidence: Values, right: Values) -> float:
    """Return the expected calibration error; `confidence` in [0, 1], `right` 0 or 1."""
    count, sure, accuracy = bins(confidence, right)
    return float(np.nansum(count * np.abs(accuracy - sure)) / count.sum())


def risk_curve(confidence: Values, right: Values) -> tuple[Values, Values, Values]:
    """Return the distinct confidences, descending, with their coverage and risk."""
    distinct, where = np.unique(-confidence, return_inverse=True)
    accepted = np.cumsum(np.bincount(where))
    wrong = np.cumsum(np.bincount(where, 1 - right))
    return -distinct, accepted / len(confidence), wrong / accepted


def risk_area(confidence: Values, right: Values) -> float:
    """Return the area under the risk-coverage curve."""
    distinct, where, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    share_wrong = np.bincount(where, 1 - right, minlength=len(distinct)) / count
    # The k-th answer is wrong with the probability of its ties.
    wrong = np.cumsum(np.repeat(share_wrong, count))
    return float(np.mean(wrong / np.arange(1, len(confidence) + 1)))


def choose_threshold(confidence: Values, right: Values, target: float) -> Threshold | None:
    """Return the lowest threshold with a risk of at most `target`, or None."""
    sure, coverage, risk = risk_curve(confidence, right)
    within = np.nonzero(risk <= target)[0]
    if not len(within):
        return None
    last = within[-1]
    return Threshold(float(sure[last]), float(coverage[last]), float(risk[last]))
