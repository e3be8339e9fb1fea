"""Calibration: errors and areas as counted by hand and by brute force, and the threshold."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from chatspot_train.evaluation.metrics.calibration import (
    calibration_error,
    choose_threshold,
    risk_area,
    risk_curve,
)
from chatspot_train.evaluation.suite import Item, JudgingSuite, Prediction, Report
from chatspot_train.evaluation.suites.calibration import CalibrationSuite


class Echo(JudgingSuite):
    """Right is what says so."""

    name = "echo"
    wants = "give --data a folder"

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        yield Item("only", data, (), {})

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        return [p.text == "right" for p in predictions]

    def score(self, predictions: Sequence[Prediction]) -> Report:
        return Report({}, "")


def answers(*pairs: tuple[float, int]) -> list[Prediction]:
    return [Prediction(str(k), "right" if right else "茶", confidence=sure)
            for k, (sure, right) in enumerate(pairs)]  # fmt: skip


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.95 and 0.96 share one (accuracy 1/2, mean 0.955); 0.5 has one of its own.
    sure, right = np.array([0.95, 0.96, 0.5]), np.array([1.0, 0.0, 1.0])
    assert calibration_error(sure, right) == pytest.approx((2 * 0.455 + 1 * 0.5) / 3)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0
    # An upper edge belongs to the bin below it, so 1/15 and 0 share the first.
    assert calibration_error(np.array([1 / 15, 0.0]), np.array([1.0, 0.0])) == pytest.approx(
        0.5 - 1 / 30
    )


def test_the_area_agrees_with_going_through_the_answers() -> None:
    rng = np.random.default_rng(0)
    sure, right = rng.permutation(np.linspace(0, 1, 40)), (rng.random(40) < 0.7).astype(float)
    ordered = right[np.argsort(-sure)]
    risks = [float(np.mean(1 - ordered[: k + 1])) for k in range(40)]
    assert risk_area(sure, right) == pytest.approx(np.mean(risks))
    _, coverage, risk = risk_curve(sure, right)
    assert risk == pytest.approx(risks)
    assert coverage == pytest.approx(np.arange(1, 41) / 40)


def test_ties_are_averaged_over_all_their_orders() -> None:
    sure, right = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    areas = []
    for middle in itertools.permutations(right[1:4]):
        wrong = 1 - np.array([right[0], *middle, right[4]])
        areas.append(np.mean(np.cumsum(wrong) / np.arange(1, 6)))
    assert risk_area(sure, right) == pytest.approx(np.mean(areas))
    shuffled = [3, 0, 4, 2, 1]
    assert risk_area(sure[shuffled], right[shuffled]) == risk_area(sure, right)
    assert [len(values) for values in risk_curve(sure, right)] == [3, 3, 3]


def test_the_threshold_accepts_as_many_as_the_target_bears() -> None:
    sure = np.array([0.9, 0.8, 0.8, 0.6, 0.4, 0.2])
    right = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    chosen = choose_threshold(sure, right, 0.25)
    assert chosen is not None
    # At 0.8 the risk is 1/3, but at 0.4 it is 1/5.
    assert (chosen.confidence, chosen.coverage, chosen.risk) == pytest.approx((0.4, 5 / 6, 0.2))
    best = choose_threshold(sure, right, 0.0)
    assert best is not None
    assert best.confidence == 0.9
    assert choose_threshold(sure, 1 - right, 0.1) is None


def test_a_report_says_what_the_threshold_does() -> None:
    suite = CalibrationSuite(Echo(), 0.25)
    unanswered = Prediction("x", "", error="no picture")
    predictions = [*answers((0.9, 1), (0.8, 1), (0.8, 0), (0.6, 1), (0.4, 1), (0.2, 0)), unanswered]
    report = suite.score(predictions)
    assert report.rows["threshold"]["value"] == pytest.approx(0.4)
    assert report.rows["risk"]["value"] == pytest.approx(0.2)
    assert report.rows["coverage"]["value"] == pytest.approx(5 / 6)
    assert "6 of 7 questions were answered" in report.table
    assert set(report.plots) == {"reliability.png", "risk_coverage.png"}
    assert suite.score(predictions).rows == report.rows
    assert [item.key for item in suite.items(Path(), 0, 0)] == ["only"]


def test_no_threshold_and_no_confidence_are_said(tmp_path: Path) -> None:
    report = CalibrationSuite(Echo()).score(answers((0.0, 0), (0.0, 1)))
    assert "threshold" not in report.rows
    assert "No threshold" in report.table
    assert "gives no confidence" in report.table
    report.plots["risk_coverage.png"].savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_bad_input_is_refused() -> None:
    suite = CalibrationSuite(Echo())
    with pytest.raises(ValueError, match="outside 0 to 1"):
        suite.score(answers((1.5, 1)))
    with pytest.raises(ValueError, match="outside 0 to 1"):
        suite.score(answers((float("nan"), 1)))
    with pytest.raises(ValueError, match="no answers"):
        suite.score([Prediction("x", "", error="no picture")])
    with pytest.raises(ValueError, match=r"1\.5"):
        CalibrationSuite(Echo(), 1.5)
