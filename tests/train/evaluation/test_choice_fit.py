"""The temperature of choices: found where it is known, told from kitchens not fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from chatspot_ros.core.choices import probabilities
from chatspot_train.evaluation.choice_fit import (
    at_temperature,
    fit_temperature,
    held_out,
    log_scores,
)
from chatspot_train.evaluation.metrics.calibration import calibration_error


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_of_badly_calibrated_scores_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    scores = [temperature * rng.normal(0, 2, 3) for _ in range(1000)]
    true = [int(rng.choice(3, p=at_temperature(one, temperature))) for one in scores]
    assert fit_temperature(scores, true) == pytest.approx(temperature, rel=0.15)
    told = held_out(scores, true, np.arange(1000) // 10)
    sure = np.array([one.max() for one in told])
    right = np.array([one.argmax() == k for one, k in zip(told, true, strict=True)], float)
    assert calibration_error(sure, right) < 0.06


def test_scores_are_read_back_from_what_the_engine_says() -> None:
    scores = np.array([-1.0, -3.0, -700.0])
    for temperature in (0.5, 1.0, 3.0):
        said = probabilities(scores.tolist(), temperature)
        assert said == pytest.approx(at_temperature(scores, temperature))
        (back,) = log_scores([said], temperature)
        assert back[0] - back[1] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no questions"):
        fit_temperature([], [])
