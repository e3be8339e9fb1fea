"""What training sees and what tests show share no look, and no kitchen."""

import numpy as np

from chatspot_sim.kitchen import draw_kitchen


def test_no_light_of_a_test_kitchen_was_seen_in_training() -> None:
    def lights(split: str) -> np.ndarray:
        looks = [draw_kitchen(seed, split).look for seed in range(300)]  # type: ignore[arg-type]
        return np.array([[*look.light, look.diffuse, look.ambient, look.gamma] for look in looks])

    seen = np.concatenate([lights("train"), lights("val")])
    low, high = seen.min(0), seen.max(0)
    test = lights("test")
    inside = (test > low + 0.02 * (high - low)) & (test < high - 0.02 * (high - low))
    assert not inside.any()
    beside = np.maximum(low - test, test - high) / (high - low)
    assert beside.max() < 0.2
    assert (test < low).any()
    assert (test > high).any()


def test_training_kitchens_are_those_of_the_ranges() -> None:
    look = [draw_kitchen(seed, "train").look for seed in range(300)]
    assert min(one.diffuse for one in look) >= 0.45
    assert max(one.diffuse for one in look) <= 0.85
    assert min(one.gamma for one in look) >= 0.85


def test_training_sees_more_of_its_ends_than_of_its_middle() -> None:
    def outer(split: str) -> float:
        gamma = np.array([draw_kitchen(seed, split).look.gamma for seed in range(400)])  # type: ignore[arg-type]
        return float((np.abs(gamma - 1.025) > 0.35 / 4).mean())  # share in the outer halves

    assert outer("train") > 0.6  # 2/3
    assert outer("val") < 0.56
