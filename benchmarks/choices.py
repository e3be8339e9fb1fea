"""Questions with choices against free answers: right, calibrated, and how long they take.

`python -m benchmarks.choices [--kitchens 40] [--model DIR] [--json FILE]`. Asks every question
about states of unseen kitchens twice on the same scene: with its choices (yes and no, or the two
values of a state as open and closed) and freely. Prints the row `choice_ece`, the expected
calibration error of the chosen one's probability, and accuracies with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_ros.engine.api import Reply
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.util.resources import find_model
from chatspot_sim.kitchen import Split, draw_kitchen
from chatspot_sim.stranger_wordings import half_and_half, measured
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.world import World
from chatspot_train.evaluation.choice_fit import (
    at_temperature,
    fit_temperature,
    held_out,
    log_scores,
    temperature_of,
)
from chatspot_train.evaluation.kitchen.choices import choice_questions
from chatspot_train.evaluation.metrics.calibration import calibration_error
from chatspot_train.evaluation.metrics.intervals import share

SIZE = (640, 480)


@dataclass
class Asked:
    """The questions of all kitchens so far, in order, with both answers."""

    kind: list[str] = field(default_factory=list)
    kitchen: list[int] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    chosen: list[Reply] = field(default_factory=list)
    free_right: list[bool] = field(default_factory=list)
    choice_s: list[float] = field(default_factory=list)
    free_s: list[float] = field(default_factory=list)

    def right(self) -> list[bool]:
        """Return whether the likeliest choice is the true one."""
        said = [np.argmax(one.answer.choice_probabilities) for one in self.chosen]
        return [bool(a == b) for a, b in zip(said, self.true, strict=True)]


def ask_kitchen(engine: Any, number: int, split: Split, found: Asked) -> None:
    """Ask all questions about one kitchen in both ways, which take turns to be first."""
    with World(draw_kitchen(number, split), *SIZE) as world:
        frame = world.frame(measure_visibility=True)
    questions = list(choice_questions(frame.truth, number, half_and_half(TEST, measured())))
    if not questions:
        return
    scene = engine.prepare(frame.rgb)
    with_choices = [one.question for one in questions]
    free = [replace(one.question, choices=()) for one in questions]
    seconds: dict[str, float] = {}
    replies: dict[str, list[Reply]] = {}
    ways = [("choices", with_choices), ("free", free)]
    for name, asks in ways if number % 2 else ways[::-1]:
        began_s = time.perf_counter()
        replies[name] = engine.answer_many(scene, asks)
        seconds[name] = (time.perf_counter() - began_s) / len(asks)
    for one, chosen, said in zip(questions, replies["choices"], replies["free"], strict=True):
        found.kind.append(one.kind)
        found.kitchen.append(number)
        found.true.append(one.true)
        found.chosen.append(chosen)
        found.free_right.append(one.is_right(said.answer.text, frame.truth))
    found.choice_s.append(seconds["choices"])
    found.free_s.append(seconds["free"])


def rows_of(found: Asked, temperature: float) -> dict[str, Any]:
    """Return the measures; `temperature` is the model's own."""
    right = np.array(found.right(), float)
    said = [one.answer.choice_probabilities for one in found.chosen]
    scores = log_scores(said, temperature)
    own, raw, apart = (
        np.array([float(np.max(one)) for one in some])
        for some in (
            said,
            [at_temperature(one, 1.0) for one in scores],
            held_out(scores, found.true, np.array(found.kitchen)),
        )
    )
    rows: dict[str, Any] = {
        "choice_ece": {"value": calibration_error(own, right), "n": len(right)},
        "choice_ece_uncalibrated": {"value": calibration_error(raw, right), "n": len(right)},
        "choice_ece_held_out": {"value": calibration_error(apart, right), "n": len(right)},
        "choice_accuracy": share(found.right()),
        "free_accuracy": share(found.free_right),
        "temperature_fitted_here": {"value": fit_temperature(scores, found.true)},
        "choice_seconds": {"value": float(np.median(found.choice_s))},
        "free_seconds": {"value": float(np.median(found.free_s))},
    }
    certain = [not one.answer.uncertain for one in found.chosen]
    rows["choice_certain"] = share(certain)
    sure = [ok for ok, is_sure in zip(found.right(), certain, strict=True) if is_sure]
    rows["choice_accuracy_certain"] = share(sure)
    for kind in sorted(set(found.kind)):
        mine = [k for k, one in enumerate(found.kind) if one == kind]
        rows[f"choice_accuracy_{kind}"] = share([found.right()[k] for k in mine])
        rows[f"free_accuracy_{kind}"] = share([found.free_right[k] for k in mine])
        rows[f"choice_ece_{kind}"] = {"value": calibration_error(own[mine], right[mine])}
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kitchens", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first kitchen")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--model", default="chatspot-tiny")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    engine = load_engine(EngineConfig(model=find_model(arguments.model), threads=arguments.threads))
    found = Asked()
    for number in range(arguments.first, arguments.first + arguments.kitchens):
        ask_kitchen(engine, number, arguments.split, found)
    rows = rows_of(found, temperature_of(engine.spec.calibration))
    for name, row in rows.items():
        between = f" ({row['low']:.3f} to {row['high']:.3f})" if "low" in row else ""
        count = f", n {row['n']}" if "n" in row else ""
        print(f"{name:30} {row['value']:.4f}{between}{count}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
