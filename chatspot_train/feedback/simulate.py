"""Draws feedback logs with a known cause of unhappiness, by equations that follow graph.EDGES.

With a `decoy`, one circumstance (the part of the day or the camera) changes the decoy and how
people judge: plain correlation then sees the decoy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from chatspot_ros.core.feedback_events import (
    AnswerLine,
    FollowUpKind,
    FollowUpLine,
    RatingLine,
    write_line,
)

ANSWERS = 2000
_RATED = 0.4  # of the answers
_FOLLOWED, _FOLLOWED_ALL_THE_SAME = 0.6, 0.05  # of the unhappy ones, of the others
_USUAL = -1.5  # log-odds of unhappiness
_BY_CAUSE, _BY_CIRCUMSTANCE = 0.7, 3.0  # log-odds, the first for a standard deviation
_COMMENTS = {
    "light": "too dark to see anything", "sharpness": "the picture is blurred",
    "region_share": "the thing is tiny", "seconds": "it took far too long",
    "task": "it cannot read this label", "model": "the new model talks nonsense",
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """What a simulated log is made of.

    `cause` is the one factor that makes people unhappy; empty: none does. `decoy` is a factor that
    the circumstance changes; empty: the circumstance changes nothing. `circumstance` is part_of_day
    or camera. `hidden`: the log does not tell the circumstance.
    """

    cause: str
    decoy: str = ""
    circumstance: str = "part_of_day"
    hidden: bool = False


def simulate(scenario: Scenario, seed: int, answers: int = ANSWERS) -> Iterator[str]:
    """Yield the lines of a log."""
    rng = np.random.default_rng(seed)
    by_day = rng.random(answers) < 0.5
    by_place = rng.random(answers) < 0.5
    there = by_day if scenario.circumstance == "part_of_day" else by_place
    drawn = _factors(rng, there, scenario.decoy)
    odds = _USUAL + rng.normal(0, 0.3, answers)
    if scenario.decoy:
        odds = odds + _BY_CIRCUMSTANCE * (there - 0.5)
    if scenario.cause:
        odds = odds + _BY_CAUSE * _badness(drawn[scenario.cause], scenario.cause)
    unhappy = rng.random(answers) < 1 / (1 + np.exp(-odds))
    drawn["confidence"] = 1 / (1 + np.exp(odds + rng.normal(0, 1, answers)))
    if scenario.hidden:
        by_day, by_place = rng.random((2, answers)) < 0.5
    began = datetime(2026, 3, 2, tzinfo=UTC)
    for k in range(answers):
        hour = float(rng.uniform(0, 6) if by_day[k] else rng.uniform(12, 18))
        time = began + timedelta(days=k * 30 // answers, hours=hour)
        camera = "dock" if by_place[k] else "front"
        one = {name: values[k] for name, values in drawn.items()}
        yield from _lines(f"{seed:08x}{k:08x}", time, camera, one, bool(unhappy[k]), scenario, rng)


def _factors(rng: np.random.Generator, there: Any, decoy: str) -> dict[str, Any]:
    """Draw every factor, after those that change it."""
    n = len(there)

    def push(name: str, size: float) -> Any:
        return size * there if decoy == name else 0.0

    task = np.where(rng.random(n) < 0.1 + push("task", 0.8), "read", "describe")
    model = np.where(rng.random(n) < 0.1 + push("model", 0.8), "new", "old")
    light = 0.6 + rng.normal(0, 0.12, n) - push("light", 0.45)
    share = -3.0 + rng.normal(0, 1, n) - 0.5 * (task == "read") - push("region_share", 4.0)
    sharp = 5.5 + rng.normal(0, 0.8, n) + light + 0.2 * share - push("sharpness", 4.0)
    seconds = rng.normal(0, 0.5, n) + 0.3 * (task == "read") + 0.3 * (model == "new")
    seconds = seconds + push("seconds", 2.5)
    return {
        "task": task, "model": model, "light": np.clip(light, 0.01, 0.99), "region_share": share,
        "sharpness": sharp, "seconds": seconds,
    }  # fmt: skip


def _badness(values: Any, cause: str) -> Any:
    """Return how bad a factor's values are, with mean 0 and standard deviation 1."""
    if cause in ("task", "model"):
        bad = (values == ("read" if cause == "task" else "new")).astype(float)
    else:
        bad = values if cause == "seconds" else -values
    return (bad - bad.mean()) / bad.std()


def _lines(
    name: str, time: datetime, camera: str, one: dict[str, Any], unhappy: bool,
    scenario: Scenario, rng: np.random.Generator,
) -> Iterator[str]:  # fmt: skip
    yield write_line(
        AnswerLine(
            time=time, answer_id=name, via="service", camera=camera, question="What is this?",
            task=str(one["task"]), text="a mug", status="OK", region="box",
            region_share=min(float(np.exp(one["region_share"])), 1.0),
            sharpness=float(np.exp(one["sharpness"])), light=float(one["light"]),
            model=str(one["model"]), queued_s=0.0, seeing_s=0.0,
            answering_s=float(np.exp(one["seconds"])), confidence=float(one["confidence"]),
            uncertain=False, truncated=False,
        )
    )  # fmt: skip
    if rng.random() < _RATED:
        rating = int(rng.integers(1, 3) if unhappy else rng.integers(3, 6))
        comment = _COMMENTS.get(scenario.cause, "") if unhappy and rng.random() < 0.2 else ""
        yield write_line(RatingLine(time=time, answer_id=name, rating=rating, comment=comment))
    if rng.random() < (_FOLLOWED if unhappy else _FOLLOWED_ALL_THE_SAME):
        kind: FollowUpKind = "asked_again" if rng.random() < 0.5 else "another_region"
        yield write_line(FollowUpLine(time=time, answer_id=name, kind=kind, after_s=2.0))
