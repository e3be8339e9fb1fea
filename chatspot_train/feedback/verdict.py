"""Names the factor that drives unhappiness, if it withstands attempts to refute it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chatspot_train.feedback.effects import (
    Effect,
    blamed_by_correlation,
    change_of,
    effects,
    is_enough,
)
from chatspot_train.feedback.log_table import Flags, Table

DRAWS = 20
SUBSET = 0.7  # of the answers
_MOST_MISSES = 1  # of DRAWS


@dataclass(frozen=True)
class Refutation:
    """Attempts to refute an effect.

    `placebo` is the largest change, either way, in 20 tries with the factor's values dealt out
    anew among the answers: it should be near 0. `same_sign` counts the random subsets (70 % of the
    answers) of 20 in which the effect points the same way. `passed`: the effect is beyond the
    placebos, and at most one subset disagrees.
    """

    placebo: float
    same_sign: int
    passed: bool


@dataclass(frozen=True)
class Analysis:
    """Effects on one outcome, the largest `share` first.

    `driver` is the effect of the largest share that is significant and not refuted; None: none is.
    `blamed` is what plain correlation blames. `refutations` are those of significant effects, by
    factor and level.
    """

    n: int
    unhappy: int
    effects: list[Effect]
    refutations: dict[tuple[str, str], Refutation]
    driver: Effect | None
    blamed: str


def analyse(table: Table, outcome: Flags, seed: int = 0) -> Analysis:
    """Estimate and try to refute all effects on an outcome (True: unhappy), a flag an answer.

    Too few answers (see `effects.is_enough`) give an analysis without effects.
    """
    found = effects(table, outcome) if is_enough(outcome) else []
    rng = np.random.default_rng(seed)
    refutations = {
        (one.factor, one.level): refute(table, outcome, one, rng)
        for one in found if one.significant
    }  # fmt: skip
    standing = [one for one in found
                if (told := refutations.get((one.factor, one.level))) and told.passed]  # fmt: skip
    return Analysis(
        len(outcome), int(outcome.sum()), found, refutations,
        standing[0] if standing else None, blamed_by_correlation(found),
    )  # fmt: skip


def refute(table: Table, outcome: Flags, effect: Effect, rng: np.random.Generator) -> Refutation:
    """Try to refute an effect by placebos and by subsets of the answers."""
    n = len(outcome)
    factor, level = effect.factor, effect.level
    dealt = (_dealt(table, factor, rng) for _ in range(DRAWS))
    placebos = [change_of(one, outcome, factor, level) for one in dealt]
    chosen = (rng.permutation(n) < SUBSET * n for _ in range(DRAWS))
    parts = [change_of(table.where(some), outcome[some], factor, level) for some in chosen]
    placebo = float(np.abs(placebos).max())
    same_sign = int(sum(part * effect.change > 0 for part in parts))
    return Refutation(
        placebo, same_sign, abs(effect.change) > placebo and same_sign >= DRAWS - _MOST_MISSES
    )


def _dealt(table: Table, factor: str, rng: np.random.Generator) -> Table:
    """Return the table with the values of one factor in another order."""
    order = rng.permutation(len(table.rating))
    numbers, names = dict(table.numbers), dict(table.names)
    if factor in numbers:
        numbers[factor] = numbers[factor][order]
    else:
        names[factor] = names[factor][order]
    return replace(table, numbers=numbers, names=names)
