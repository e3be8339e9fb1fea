"""Calibration of `confidence` on the answers to another suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from chatspot_train.evaluation.metrics.calibration import (
    TARGET_RISK,
    Values,
    calibration_error,
    choose_threshold,
    risk_area,
)
from chatspot_train.evaluation.metrics.calibration_plots import reliability_plot, risk_plot
from chatspot_train.evaluation.metrics.intervals import Row, share
from chatspot_train.evaluation.registry import make_region_suite, register
from chatspot_train.evaluation.suite import (
    Item,
    JudgingSuite,
    NoAnswersError,
    Prediction,
    Report,
    Suite,
    markdown,
)
from chatspot_train.evaluation.suites.coco_pictures import OWN_FILES
from chatspot_train.evaluation.suites.noise import OF

DRAWS = 300


@register
class CalibrationSuite(JudgingSuite):
    """The items of `suite`, scored by the confidence of their answers.

    `target_risk` in [0, 1] is the accepted share of wrong answers. Predictions with an `error` have
    no confidence and count as wrong in `accuracy` alone.
    """

    name = "calibration"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "calibration_error": "expected calibration error, 0 is best",
        "threshold": "the confidence below which an answer is `uncertain`",
    }

    options = (OF, *OWN_FILES)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(make_region_suite(options))

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Suite]:
        """See Suite."""
        return {cls.name: cls(make_region_suite({}))}

    def __init__(self, suite: JudgingSuite, target_risk: float = TARGET_RISK) -> None:
        if not 0 <= target_risk <= 1:
            raise ValueError(f"a risk of {target_risk} is not within 0 and 1")
        self.suite, self.target_risk = suite, target_risk

    @property
    def wants(self) -> str:
        """See Suite."""
        return self.suite.wants

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite: the items of the other suite."""
        return self.suite.items(data, limit, seed)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite: the verdict of the other suite."""
        return self.suite.right(predictions)

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Calibration error, risk-coverage area, threshold with its risk and coverage."""
        answered = [p for p in predictions if not p.error]
        if not answered:
            raise NoAnswersError(predictions[0].error if predictions else "no questions")
        confidence = np.array([p.confidence for p in answered], float)
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise ValueError(f"a confidence outside 0 to 1: {confidence.min()} {confidence.max()}")
        right = np.array(self.suite.right(answered), float)
        rows = {
            "accuracy": share([*map(bool, right), *[False] * (len(predictions) - len(answered))]),
            "calibration_error": _row(calibration_error, confidence, right),
            "risk_coverage_area": _row(risk_area, confidence, right),
        }
        chosen = choose_threshold(confidence, right, self.target_risk)
        accepted = confidence >= chosen.confidence if chosen else np.zeros(len(right), bool)
        rows["coverage"] = share([bool(value) for value in accepted])
        if chosen:
            rows["risk"] = share([not value for value in right[accepted]])
            rows["threshold"] = {"value": chosen.confidence, "n": len(answered)}
        plots = {
            "reliability.png": reliability_plot(confidence, right),
            "risk_coverage.png": risk_plot(confidence, right, self.target_risk, chosen),
        }
        return Report(rows, self._table(rows, confidence, len(predictions)), plots)

    def _table(self, rows: dict[str, Row], confidence: Values, asked: int) -> str:
        table = markdown(
            [f"calibration on {self.suite.name}", "value", "low", "high"],
            [[name, row["value"], row.get("low", "-"), row.get("high", "-")]
             for name, row in rows.items()],
        )  # fmt: skip
        notes = [f"{len(confidence)} of {asked} questions were answered."]
        notes.append(
            f"Answers less sure than {rows['threshold']['value']:.3f} are to be `uncertain`, for "
            f"at most {self.target_risk:.0%} wrong ones among the others (on these questions)."
            if "threshold" in rows
            else f"No threshold has at most {self.target_risk:.0%} wrong answers among the others."
        )
        if len(np.unique(confidence)) == 1:
            notes.append("All answers are equally sure: the model gives no confidence.")
        return f"{table}\n\n{' '.join(notes)}"


def _row(measure: Callable[[Values, Values], float], confidence: Values, right: Values) -> Row:
    rng = np.random.default_rng(0)
    indices = (rng.integers(len(right), size=len(right)) for _ in range(DRAWS))
    values = [measure(confidence[index], right[index]) for index in indices]
    low, high = np.percentile(values, [2.5, 97.5])
    return {"value": measure(confidence, right), "n": len(right), "low": float(low),
            "high": float(high)}  # fmt: skip
