"""A row of a table: a value with its interval."""

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
    # Rounding may leave a hair outside.
    low, high = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return {"value": p, "n": n, "low": low, "high": high}
