"""Rows of a table: values with 95 % intervals, from the contribution of each question.

A row's parts hold a numerator and a denominator for each question; the row is the sum of the first
over the sum of the second. Accuracy has (right, 1); precision (right and said, said); F1
(2 * right, said + true). Two models are compared by resampling their parts in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Row = dict[str, float]
Part = Mapping[str, tuple[float, float]]  # unit (a question's key) -> numerator, denominator
Parts = Mapping[str, Part]  # row -> its part
DRAWS = 1000
_AT_A_TIME = 100
_Z = 1.96


def share(hits: Sequence[bool]) -> Row:
    """Return the share of True with Wilson's 95 % interval. Raises ValueError for an empty list."""
    n = len(hits)
    if not n:
        raise ValueError("a share of nothing")
    p = sum(hits) / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    # Rounding may leave [0, 1].
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return {"value": p, "n": n, "low": low, "high": high}


def rows_of(parts: Parts) -> dict[str, Row]:
    """Return every row with its 95 % interval; see `row_of`."""
    return {name: row_of(part) for name, part in parts.items()}


def row_of(part: Part, draws: int = DRAWS, seed: int = 0) -> Row:
    """Return the sum of numerators over that of denominators, with a 95 % interval.

    `n` counts the questions with a denominator; if there are none, the value is 0. A share has
    Wilson's interval, another row the bootstrap's over questions.
    """
    values = np.array(list(part.values()), float).reshape(-1, 2)
    asked = values[values[:, 1] > 0]
    if not len(asked):
        return {"value": 0.0, "n": 0, "low": 0.0, "high": 1.0}
    if np.isin(asked[:, 0], (0, 1)).all() and (asked[:, 1] == 1).all():
        return share([bool(value) for value in asked[:, 0]])
    sums = np.concatenate(list(resampled(values, draws, seed)))
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanpercentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    total = values.sum(0)
    return {
        "value": float(total[0] / total[1]), "n": len(asked), "low": float(low), "high": float(high)
    }  # fmt: skip


def mean_of(parts: Sequence[Part]) -> Part:
    """Return the part of the mean of several rows: each row counts the same, whatever its number
    of questions. Rows without questions are left out; no question is in two of them."""
    sums = [(part, sum(under for _, under in part.values())) for part in parts]
    filled = [(part, total) for part, total in sums if total > 0]
    everything = sum(total for _, total in filled)
    return {
        key: (over * everything / total / len(filled), under * everything / total / len(filled))
        for part, total in filled for key, (over, under) in part.items()
    }  # fmt: skip


def resampled(values: NDArray[np.float64], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Sum `values` (questions x columns) over `draws` bootstrap samples of the questions.

    Yields arrays (some draws x columns). All columns of a draw use the same questions.
    """
    rng = np.random.default_rng(seed)
    count = len(values)
    for first in range(0, draws, _AT_A_TIME):
        some = min(_AT_A_TIME, draws - first)
        yield rng.multinomial(count, np.full(count, 1 / count), size=some) @ values
