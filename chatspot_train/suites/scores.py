"""Shares and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Row = dict[str, float]
_Z = 1.96


def share(hits: Sequence[bool]) -> Row:
    """Share of True with Wilson's 95 % interval. Raises ValueError for none."""
    n = len(hits)
    if not n:
        raise ValueError("a share of nothing")
    p = sum(hits) / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n)) / (1 + _Z**2 / n)
    return {"value": p, "n": n, "low": float(middle - half), "high": float(middle + half)}


def drop(before: Sequence[bool], after: Sequence[bool]) -> Row:
    """How much of the share is lost between two askings of the same things, in pairs."""
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} and {len(after)} answers are not pairs")
    lost = np.array(before, float) - np.array(after, float)
    error = _Z * float(lost.std()) / np.sqrt(len(lost))
    value = float(lost.mean())
    return {"value": value, "n": len(lost), "low": value - error, "high": value + error}


def f1(said: Sequence[bool], true: Sequence[bool], seed: int = 0, draws: int = 500) -> Row:
    """F1 of saying True where it is, with a bootstrap 95 % interval."""
    if len(said) != len(true) or not said:
        raise ValueError(f"{len(said)} answers for {len(true)} truths")
    a, b = np.array(said, bool), np.array(true, bool)

    def value(index: np.ndarray) -> float:
        both = float((a[index] & b[index]).sum())
        return 2 * both / max(1.0, float(a[index].sum() + b[index].sum()))

    rng = np.random.default_rng(seed)
    drawn = [value(rng.integers(len(a), size=len(a))) for _ in range(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": value(np.arange(len(a))), "n": len(a), "low": float(low), "high": float(high)}
