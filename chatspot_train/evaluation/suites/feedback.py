"""Feedback: is the cause of unhappiness found in simulated logs? No model is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from chatspot_ros.core.geometry import RgbImage
from chatspot_train.evaluation.dataset_files import sample
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.report import headline_table
from chatspot_train.evaluation.suite import AskedTurn, Item, JudgingSuite, Prediction, Report
from chatspot_train.evaluation.suites.intent import no_picture
from chatspot_train.feedback.graph import FACTORS
from chatspot_train.feedback.simulate import Scenario, simulate

SEEDS = 10  # of confounded logs; half of them of the other kinds
NOTHING = "nothing"
# Row -> (what a log is made like, what is read off its analysis).
ROWS = {
    "cause_found": ("confounded", "ratings"),
    "cause_found_correlation": ("confounded", "correlation"),
    "cause_found_behaviour": ("confounded", "behaviour"),
    "cause_found_unconfounded": ("unconfounded", "ratings"),
    "cause_found_unconfounded_correlation": ("unconfounded", "correlation"),
    "nothing_blamed": ("causeless", "ratings"),
    "nothing_blamed_correlation": ("causeless", "correlation"),
    "cause_found_hidden": ("hidden", "ratings"),
}
KINDS = tuple(dict.fromkeys(kind for kind, _ in ROWS.values()))


def scenario_of(kind: str, seed: int, k: int) -> Scenario:
    """Return the log that has FACTORS[k] as its cause, with a decoy that changes by seed."""
    cause, decoy = FACTORS[k], FACTORS[(k + 1 + seed % 5) % len(FACTORS)]
    # In the graph the part of the day does not change these two.
    by_place = decoy in ("sharpness", "region_share") or seed % 2
    circumstance = "camera" if by_place else "part_of_day"
    if kind == "unconfounded":
        return Scenario(cause)
    return Scenario("" if kind == "causeless" else cause, decoy, circumstance, kind == "hidden")


class AnalysisAnswerer:
    """Analyses the log of each item; answers with what its readings blame."""

    name = "chatspot_train.feedback"
    identity = None

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer."""
        from chatspot_train.feedback.log_table import make_table, read_lines
        from chatspot_train.feedback.verdict import analyse

        found = []
        for item in items:
            told = item.truth
            lines = simulate(scenario_of(told["kind"], told["seed"], told["k"]), told["draw"])
            table = make_table(read_lines(lines).answers)
            rated = table.where(table.rated)
            by_rating, by_behaviour = analyse(rated, rated.bad), analyse(table, table.followed)
            blamed = {
                "ratings": by_rating.driver.factor if by_rating.driver else NOTHING,
                "behaviour": by_behaviour.driver.factor if by_behaviour.driver else NOTHING,
                "correlation": by_rating.blamed or NOTHING,
            }
            found.append(Prediction(item.key, blamed["ratings"], state=blamed, truth=told))
        return found


@register
class FeedbackSuite(JudgingSuite):
    """Simulated logs: each factor as the known cause, in several draws of each kind of log."""

    name = "feedback"
    headline: ClassVar[Mapping[str, str]] = {
        "cause_found": "cause found by ratings, where a circumstance points at a decoy",
        "cause_found_correlation": "the same by plain correlation, the baseline",
        "cause_found_behaviour": "the same by follow-ups",
        "cause_found_unconfounded": "cause found, nothing points elsewhere",
        "cause_found_unconfounded_correlation": "the same by plain correlation",
        "nothing_blamed": "nothing blamed where no factor is a cause",
        "nothing_blamed_correlation": "the same by plain correlation",
        "cause_found_hidden": "cause found, the circumstance not logged: the method's limit",
    }
    wants = "no data: it draws its own logs"

    def answerer(self) -> AnalysisAnswerer:
        """See Suite: the analysis is measured, not a model."""
        return AnalysisAnswerer()

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `data` is not used."""
        every = [(kind, draw, k) for kind in KINDS
                 for draw in range(SEEDS if kind == KINDS[0] else SEEDS // 2)
                 for k in range(len(FACTORS))]  # fmt: skip
        for kind, draw, k in sample(every, limit, seed):
            cause = NOTHING if kind == "causeless" else FACTORS[k]
            truth = {"kind": kind, "seed": draw, "k": k, "cause": cause,
                     "draw": 100_000 * seed + 1000 * KINDS.index(kind) + 10 * draw + k}  # fmt: skip
            asked = AskedTurn(f"{kind} log {draw} with the cause {cause}")
            yield Item(f"{kind}/{FACTORS[k]}/{draw}", own_picture(), (asked,), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True where the ratings' analysis blames the cause, and nothing where none is."""
        return [p.text == p.truth["cause"] for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of the share of logs whose cause is found, by row."""
        return {
            row: {p.key: (float(p.state.get(reading) == p.truth["cause"]), 1.0)
                  for p in predictions if p.truth["kind"] == kind}
            for row, (kind, reading) in ROWS.items()
            if any(p.truth["kind"] == kind for p in predictions)
        }  # fmt: skip

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """The shares of logs whose cause is found, by kind of log and by reading."""
        rows = self.rows(predictions)
        return Report(rows, headline_table(rows, self.headline))


def own_picture() -> Callable[[], RgbImage]:
    """Return a function that no other item has: items are answered, and progress shows, one by
    one."""
    return lambda: no_picture()
