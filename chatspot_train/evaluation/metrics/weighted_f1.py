"""The mean of the F1 of each label, weighted by how often the label is true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score  # type: ignore[import-untyped]

from chatspot_train.evaluation.metrics.intervals import Row

DRAWS = 1000


def weighted_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weighted F1 of matrices (... x true x said); 0 for an absent label."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    wanted, said = counts.sum(-1), counts.sum(-2)
    found = 2 * hits / np.maximum(wanted + said, 1)
    return np.asarray((found * wanted).sum(-1) / wanted.sum(-1))


def weighted_f1_of(true: Sequence[str], said: Sequence[str]) -> Row:
    """Return the weighted F1 with its 95 % interval, by the bootstrap over questions."""
    value = float(f1_score(list(true), list(said), average="weighted", zero_division=0))
    counts = confusion_matrix(list(true), list(said))
    # To draw questions with replacement is to draw cells of the matrix by their counts.
    cells = counts.ravel() / counts.sum()
    drawn = np.random.default_rng(0).multinomial(len(true), cells, size=DRAWS)
    low, high = np.percentile(weighted_f1(drawn.reshape(DRAWS, *counts.shape)), [2.5, 97.5])
    return {"value": value, "n": len(true), "low": float(low), "high": float(high)}
