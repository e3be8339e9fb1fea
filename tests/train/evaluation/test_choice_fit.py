"""The fit of choices: found where it is known, told from kitchens not fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_ros.core.choices import probabilities
from chatspot_train.evaluation.choice_fit import ChoiceFit, fit_choices, held_out
from chatspot_train.evaluation.metrics.calibration import calibration_error


@pytest.mark.parametrize("truth", [ChoiceFit(), ChoiceFit(0.5), ChoiceFit(4.0, 0.3)])
def test_the_fit_of_badly_calibrated_scores_is_found(truth: ChoiceFit) -> None:
    rng = np.random.default_rng(0)
    scores = [2 * truth.temperature * rng.normal(0, 2, 3) for _ in range(4000)]
    true = [int(rng.choice(3, p=truth(one))) for one in scores]
    found = fit_choices(scores, true)
    assert found.temperature == pytest.approx(truth.temperature, rel=0.15)
    assert found.guessed == pytest.approx(truth.guessed, abs=0.05)
    told = held_out(scores, true, np.arange(4000) // 10)
    sure = np.array([one.max() for one in told])
    right = np.array([one.argmax() == k for one, k in zip(told, true, strict=True)], float)
    assert calibration_error(sure, right) < 0.03


def test_scores_are_read_back_from_what_the_engine_says() -> None:
    scores = np.array([-1.0, -3.0, -700.0])
    for fit in (ChoiceFit(), ChoiceFit(0.5), ChoiceFit(3.0, 0.2)):
        said = probabilities(scores.tolist(), fit.temperature, fit.guessed)
        assert sum(said) == pytest.approx(1)
        assert said == pytest.approx(fit(scores))
        back = fit.scores(said)
        assert back[0] - back[1] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no questions"):
        fit_choices([], [])
