"""Effects are those that a log was made with; where nothing can be told, nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chatspot_train.feedback.effects import corrected, effects, factor_effects, is_enough
from chatspot_train.feedback.graph import FACTORS
from chatspot_train.feedback.log_table import Table, make_table, read_lines
from chatspot_train.feedback.simulate import Scenario, simulate
from chatspot_train.feedback.verdict import analyse


def table_of(scenario: Scenario, seed: int = 1, answers: int = 1500) -> Table:
    return make_table(read_lines(simulate(scenario, seed, answers)).answers)


def made(rng: np.random.Generator, n: int = 4000) -> Table:
    """A table without any effect, its factors independent of each other."""
    draw = {name: rng.normal(0, 1, n) for name in ("light", "sharpness", "region_share", "seconds")}
    names = {
        "task": rng.choice(["read", "state", "plan"], n, p=[0.2, 0.3, 0.5]),
        "model": rng.choice(["a", "b"], n), "camera": rng.choice(["x", "y"], n),
        "part_of_day": rng.choice(["night", "morning"], n),
    }  # fmt: skip
    return Table(draw, names, np.full(n, 3), np.zeros(n, bool))


def test_a_linear_effect_is_recovered_in_its_unit() -> None:
    rng = np.random.default_rng(0)
    table = made(rng)
    light = table.numbers["light"]
    unhappy = rng.random(len(light)) < np.clip(0.4 - 0.1 * light, 0, 1)
    (found,) = factor_effects(table, unhappy, "light")
    wanted = -0.1 * (found.ends[1] - found.ends[0])
    assert found.change == pytest.approx(wanted, abs=0.04)
    assert found.low < wanted < found.high
    assert found.share == pytest.approx(0.1 * 1.28, abs=0.03)  # the best tenth begins 1.28 sd up


def test_a_level_is_compared_with_all_others() -> None:
    rng = np.random.default_rng(1)
    table = made(rng)
    read = table.names["task"] == "read"
    unhappy = rng.random(len(read)) < np.where(read, 0.5, 0.2)
    found = {one.level: one for one in factor_effects(table, unhappy, "task")}
    assert found["read"].change == pytest.approx(0.3, abs=0.05)
    assert found["read"].share == pytest.approx(0.06, abs=0.015)
    assert set(found) == {"read", "state", "plan"}
    assert found["plan"].change < 0  # the rest has the bad ones


def test_a_confounder_is_adjusted_for() -> None:
    rng = np.random.default_rng(2)
    table = made(rng)
    night = table.names["part_of_day"] == "night"
    numbers = dict(table.numbers, light=table.numbers["light"] - 2 * night)
    table = replace(table, numbers=numbers)
    unhappy = rng.random(len(night)) < np.where(night, 0.6, 0.2)
    (found,) = factor_effects(table, unhappy, "light")
    assert found.plain < -0.2
    assert abs(found.change) < 0.06
    assert analyse(table, unhappy).driver is None
    assert analyse(table, unhappy).blamed == "light"


@pytest.mark.parametrize("cause", FACTORS)
def test_the_cause_is_found_by_ratings_and_by_behaviour(cause: str) -> None:
    decoy = "seconds" if cause != "seconds" else "light"
    table = table_of(Scenario(cause, decoy, "camera"))
    rated = table.where(table.rated)
    by_rating, by_behaviour = analyse(rated, rated.bad), analyse(table, table.followed)
    assert by_rating.driver is not None
    assert by_rating.driver.factor == cause
    assert by_behaviour.driver is not None
    assert by_behaviour.driver.factor == cause
    assert by_rating.blamed == decoy
    told = by_rating.refutations[by_rating.driver.factor, by_rating.driver.level]
    assert told.placebo < abs(by_rating.driver.change)
    assert told.same_sign >= 19


def test_where_nothing_is_a_cause_nothing_is_named() -> None:
    named = []
    for seed in range(5):
        table = table_of(Scenario("", "light"), seed)
        named.append(analyse(table, table.followed).driver)
    assert named.count(None) >= 4


def test_what_does_not_vary_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    table = made(rng, 300)
    numbers = dict(table.numbers, light=np.full(300, 0.5))
    names = dict(table.names, model=np.full(300, "only"), camera=np.full(300, "only"))
    found = effects(replace(table, numbers=numbers, names=names), rng.random(300) < 0.3)
    assert {one.factor for one in found} == {"sharpness", "region_share", "task", "seconds"}
    assert all(np.isfinite([one.change, one.low, one.high, one.share]).all() for one in found)


@pytest.mark.parametrize(
    ("n", "unhappy", "enough"), [(49, 20, False), (50, 9, False), (50, 41, False), (50, 10, True)]
)
def test_too_few_answers_are_too_few(n: int, unhappy: int, enough: bool) -> None:
    outcome = np.arange(n) < unhappy
    assert is_enough(outcome) is enough
    if not enough:
        done = analyse(made(np.random.default_rng(4), n), outcome)
        assert (done.effects, done.driver, done.blamed) == ([], None, "")


def test_holms_correction() -> None:
    assert corrected([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert corrected([0.9, 0.9]) == pytest.approx([1.0, 1.0])
