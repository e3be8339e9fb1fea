"""How much each factor changes the share of unhappy answers, adjusted by the causal graph.

A linear probability model (statsmodels' OLS with errors robust to unequal variance, HC1): its
coefficients are differences of shares, and there is one for each factor. Adjusted numbers enter
with their square, adjusted names by level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.stats import pearsonr
from statsmodels.regression.linear_model import OLS

from chatspot_train.feedback.graph import FACTORS, adjustment_set, make_graph
from chatspot_train.feedback.log_table import Flags, Numbers, Table

LEAST_ANSWERS = 50
LEAST_OF_EACH = 10  # unhappy answers, and others
SIGNIFICANT = 0.05
_ENDS = (10, 90)  # percentiles of a number, from its low to its high end


@dataclass(frozen=True)
class Effect:
    """The change of the share of unhappy answers when a factor changes.

    A number goes from its 10th percentile (`ends[0]`, in its own unit) to its 90th; for a name,
    answers of `level` are compared with all others. `change` has the 95 % interval `low` to `high`;
    `plain` is the same without any adjustment and `correlation` Pearson's r. `share` is the part of
    all answers that would not be unhappy if the factor were at its better end. `p` and `plain_p`
    are corrected for the number of effects (Holm).
    """

    factor: str
    level: str
    change: float
    low: float
    high: float
    p: float
    share: float
    plain: float
    correlation: float
    plain_p: float
    ends: tuple[float, float] = (0.0, 1.0)

    @property
    def significant(self) -> bool:
        """Whether it is told from nothing."""
        return self.p < SIGNIFICANT


def is_enough(outcome: Flags) -> bool:
    """Return whether effects on an outcome can be estimated at all."""
    unhappy = int(outcome.sum())
    return len(outcome) >= LEAST_ANSWERS and min(unhappy, len(outcome) - unhappy) >= LEAST_OF_EACH


def effects(table: Table, outcome: Flags, factors: Iterable[str] = FACTORS) -> list[Effect]:
    """Return the effects of all factors that vary, the one with the largest `share` first."""
    found = [
        one for factor in factors if varies(table, factor)
        for one in factor_effects(table, outcome, factor)
    ]  # fmt: skip
    if not found:
        return []
    holm = [corrected([getattr(one, name) for one in found]) for name in ("p", "plain_p")]
    found = [
        replace(one, p=float(p), plain_p=float(plain_p))
        for one, p, plain_p in zip(found, *holm, strict=True)
    ]
    return sorted(found, key=lambda one: -one.share)


def corrected(p: Sequence[float]) -> Numbers:
    """Return p-values corrected for their number (Holm, 1979)."""
    values = np.asarray(p, float)
    order = np.argsort(values)
    found = np.empty_like(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return found


def varies(table: Table, factor: str) -> bool:
    """Return whether a factor has more than one value."""
    if factor in table.numbers:
        low, high = np.percentile(table.numbers[factor], _ENDS)
        return bool(high - low > 1e-9)
    return len(np.unique(table.names[factor])) > 1


def factor_effects(table: Table, outcome: Flags, factor: str) -> list[Effect]:
    """Return the effect of one number, or one of each level of a name; `p` is not corrected.

    Adjusted for `graph.adjustment_set`; raises NotIdentifiedError where that is not enough.
    """
    y = outcome.astype(float)
    design = _design(table, factor)
    plain = OLS(y, np.column_stack([design.x, np.ones(len(y))])).fit()
    fitted = OLS(y, np.column_stack([design.x, design.others])).fit(cov_type="HC1", use_t=True)
    nothing = np.zeros(design.others.shape[1])
    found = []
    for level, column, contrast in zip(
        design.levels, design.columns, design.contrasts, strict=True
    ):
        told = fitted.t_test(np.concatenate([contrast, nothing]))
        change = float(np.ravel(told.effect)[0])
        low, high = (float(end) for end in np.ravel(told.conf_int()))
        reach = float(column.mean() if change > 0 else 1 - column.mean())
        r = pearsonr(column, y)
        found.append(
            Effect(
                factor, level, change, low, high, float(np.ravel(told.pvalue)[0]),
                abs(change) * reach, float(contrast @ plain.params[:-1]),
                float(r.statistic), float(r.pvalue), design.ends,
            )
        )  # fmt: skip
    return found


def change_of(table: Table, outcome: Flags, factor: str, level: str) -> float:
    """Return `Effect.change` of one effect alone, quickly; 0 if its level is not there."""
    design = _design(table, factor)
    if level not in design.levels:
        return 0.0
    whole = np.column_stack([design.x, design.others])
    # The normal equations by least squares: columns may depend on each other in a part of a log.
    solved = np.linalg.lstsq(whole.T @ whole, whole.T @ outcome.astype(float), rcond=None)[0]
    return float(design.contrasts[design.levels.index(level)] @ solved[: design.x.shape[1]])


@cache
def _adjusted_for(factor: str) -> frozenset[str]:
    return adjustment_set(make_graph(), factor)


def blamed_by_correlation(found: Sequence[Effect]) -> str:
    """Return the factor that correlates most with unhappiness, the baseline; empty: none does."""
    told = [one for one in found if one.plain_p < SIGNIFICANT]
    return max(told, key=lambda one: abs(one.correlation)).factor if told else ""


@dataclass(frozen=True)
class _Design:
    """The columns of a regression. The effect of `levels[k]` is `contrasts[k]` times the
    coefficients of `x`; `columns[k]` is the factor itself, 0 to 1 from end to end."""

    x: Numbers
    others: Numbers
    levels: list[str]
    columns: list[Numbers]
    contrasts: list[Numbers]
    ends: tuple[float, float]


def _design(table: Table, factor: str) -> _Design:
    others = _columns(table, sorted(_adjusted_for(factor)))
    if factor in table.numbers:
        x, ends = _from_low_to_high(table.numbers[factor])
        return _Design(x[:, None], others, [""], [x], [np.ones(1)], ends)
    levels, number = np.unique(table.names[factor], return_inverse=True)
    flags = (number[:, None] == np.arange(len(levels))).astype(float)
    part, contrasts = flags.mean(0), []
    for k in range(len(levels)):
        # The first level's coefficient is 0; each level is compared with the mean of the others.
        mine = np.arange(len(levels)) == k
        rest = np.where(mine, 0.0, part) / max(1 - part[k], 1e-9)
        contrasts.append((mine - rest)[1:])
    named = [str(level) for level in levels]
    return _Design(flags[:, 1:], others, named, list(flags.T), contrasts, (0.0, 1.0))


def _columns(table: Table, names: Sequence[str]) -> Numbers:
    """Return the columns to adjust for (answers x columns), a constant one among them."""
    columns = [np.ones(len(table.rating))]
    for name in names:
        if not varies(table, name):
            continue
        if name in table.numbers:
            x = table.numbers[name]
            x = np.clip((x - x.mean()) / x.std(), -3, 3)
            columns += [x, x**2]
        else:
            columns += [(table.names[name] == level).astype(float)
                        for level in np.unique(table.names[name])[1:]]  # fmt: skip
    return np.column_stack(columns)


def _from_low_to_high(x: Numbers) -> tuple[Numbers, tuple[float, float]]:
    """Return a number as 0 at its 10th and 1 at its 90th percentile, and these, beyond them cut
    off."""
    low, high = np.percentile(x, _ENDS)
    scaled = (x - low) / max(high - low, 1e-9)
    return np.clip(scaled, -0.5, 1.5), (float(low), float(high))
