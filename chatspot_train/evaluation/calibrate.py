"""Calibrate a model's confidence: `chatspot calibrate --model DIR`.

It asks about validation kitchens in unseen wordings, or takes the answers of result folders of
`chatspot evaluate` (`--answers DIR ...`, of pictures that training did not show). It fits maps from
token probabilities to the share of right answers (`confidence_fit`), chooses the least confidence
with at most a tenth of wrong answers from there on, and writes both into the model's chatspot.yaml.
All figures are from five-fold cross-validation over pictures.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table

from chatspot_ros.core.confidence import ANY_TASK, Calibration
from chatspot_ros.core.model_spec import SPEC_FILE, read_spec
from chatspot_ros.core.task_router import route
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.engine_config import (
    EngineConfig,
    add_engine_options,
    config_from,
    load_engine,
)
from chatspot_ros.errors import ChatspotError, ModelLoadError
from chatspot_ros.util.command_line import Command
from chatspot_sim.unseen_wordings import TEST
from chatspot_train.data.image_io import read_picture
from chatspot_train.evaluation.choice_fit import (
    at_temperature,
    fit_temperature,
    held_out,
    log_scores,
    temperature_of,
)
from chatspot_train.evaluation.confidence_fit import Answers, Fitted, fit
from chatspot_train.evaluation.engine_model import EngineAnswerer
from chatspot_train.evaluation.kitchen.choices import choice_questions
from chatspot_train.evaluation.kitchen.render import render_kitchens, truth_of
from chatspot_train.evaluation.metrics.calibration import TARGET_RISK, calibration_error, risk_area
from chatspot_train.evaluation.metrics.calibration_plots import reliability_plot, risk_plot
from chatspot_train.evaluation.registry import make
from chatspot_train.evaluation.runner import MODEL, read_predictions, run
from chatspot_train.evaluation.suite import Item, JudgingSuite, Prediction

KITCHENS = 100
PREDICTIONS = "predictions.jsonl"
RESULTS = "calibration.json"
# The block in chatspot.yaml, up to the next line of another block.
_BLOCK = re.compile(r"^calibration:.*\n(?:[ \t#].*\n|\n)*", re.MULTILINE)


def ask(engine: Engine, kitchens: int, out: Path) -> Answers:
    """Ask about the first validation kitchens again; keep their images in `out`."""
    suite = cast(JudgingSuite, make("kitchen", {"split": "val"}))
    items = list(suite.items(out, kitchens, 0))
    file = out / PREDICTIONS
    file.unlink(missing_ok=True)
    predictions = run(EngineAnswerer(engine), items, file, len(items))
    return judged(items, predictions, suite.right(predictions))


@dataclass(frozen=True)
class ChoicesFitted:
    """The temperature of choices' probabilities, and what it does on kitchens not fitted to."""

    temperature: float
    questions: int
    accuracy: float
    error_before: float
    error_after: float


def ask_choices(engine: Engine, kitchens: int, out: Path) -> ChoicesFitted:
    """Ask questions with choices about the first validation kitchens, whose images lie in `out`;
    return the fit. Raises RenderError."""
    probable: list[Sequence[float]] = []
    true: list[int] = []
    group: list[int] = []
    for number, picture in enumerate(render_kitchens(out, "val", kitchens)):
        questions = list(choice_questions(truth_of(picture), number, TEST, engine.states))
        scene = engine.prepare(read_picture(picture))
        replies = engine.answer_many(scene, [one.question for one in questions])
        probable += [reply.answer.choice_probabilities for reply in replies]
        true += [one.true for one in questions]
        group += [number] * len(questions)
    scores = log_scores(probable, temperature_of(engine.spec.calibration))
    right = np.array([np.argmax(one) == k for one, k in zip(scores, true, strict=True)], float)
    before, after = (
        calibration_error(np.array([one.max() for one in some]), right)
        for some in (
            [at_temperature(one, 1.0) for one in scores], held_out(scores, true, np.array(group)),
        )
    )  # fmt: skip
    fitted = fit_temperature(scores, true)
    return ChoicesFitted(fitted, len(true), float(right.mean()), before, after)


def judged(
    items: Sequence[Item], predictions: Sequence[Prediction], right: Sequence[bool]
) -> Answers:
    """Return the given answers with their scores and verdicts.

    Raises:
        ValueError: there are no answers.
    """
    given = [
        (item.truth["kitchen"], item.turns[-1].task or route(item.turns[-1].question),
         p.mean_log_probability, p.least_log_probability, ok)
        for item, p, ok in zip(items, predictions, right, strict=True)
        if not p.error and p.text
    ]  # fmt: skip
    if not given:
        raise ValueError("the model gave no answers")
    return _answers(given)


def _answers(given: Sequence[tuple[Any, ...]]) -> Answers:
    group, task, mean, least, ok = zip(*given, strict=True)
    return Answers(np.array(group), np.array(task), np.array(mean, float), np.array(least, float),
                   np.array(ok, float))  # fmt: skip


def kept(folders: Sequence[Path], model: str) -> Answers:
    """Return the answers in result folders of `chatspot evaluate`.

    Raises ModelLoadError: a folder holds no answers, or those of another model.
    """
    given: list[tuple[str, str, float, float, bool]] = []
    for folder in folders:
        try:
            name = json.loads((folder / "results.json").read_text(encoding="utf-8"))["suite"]
            asked = json.loads((folder / MODEL).read_text(encoding="utf-8"))["spec"]["name"]
            suite = make(name, {})
        except (OSError, ValueError, KeyError, TypeError, ChatspotError) as error:
            raise _no_answers(folder, str(error)) from error
        if not isinstance(suite, JudgingSuite) or asked != model:
            raise _no_answers(folder, f"not of a suite with right answers, or not of {model}")
        # What is right because it was called uncertain says nothing about the probabilities.
        predictions = [
            replace(p, uncertain=False) for p in read_predictions(folder / PREDICTIONS)
            if not p.error and p.text
        ]  # fmt: skip
        given += [
            (p.image or p.key, route(p.question), p.mean_log_probability,
             p.least_log_probability, ok)
            for p, ok in zip(predictions, suite.right(predictions), strict=True)
        ]  # fmt: skip
    if not given:
        raise _no_answers(folders[0], "empty")
    return _answers(given)


def _no_answers(folder: Path, why: str) -> ModelLoadError:
    return ModelLoadError(
        f"the folder has no answers to calibrate with ({why})", value=folder,
        remedy="give folders that chatspot evaluate wrote with this model",
    )  # fmt: skip


def write(file: Path, calibration: Calibration, notes: Sequence[str]) -> None:
    """Replace the calibration in a model's settings; keep the rest.

    `notes` become comments. Raises ModelLoadError for another file than settings.
    """
    read_spec(file)
    text = _BLOCK.sub("", file.read_text(encoding="utf-8"))
    text = f"{text.rstrip()}\n{_as_yaml(calibration, notes)}"
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    read_spec(part)
    part.replace(file)


def _as_yaml(calibration: Calibration, notes: Sequence[str]) -> str:
    lines = ["calibration:", *(f"  # {note}" for note in notes)]
    lines.append(f"  threshold: {calibration.threshold}")
    if calibration.choice_temperature != 1:
        lines.append(f"  choice_temperature: {calibration.choice_temperature}")
    lines.append("  maps:")
    for task, line in calibration.maps.items():
        knots = json.dumps([list(knot) for knot in line.knots])
        lines += [f"    {task}:", f"      mean_weight: {line.mean_weight}"]
        lines += textwrap.wrap(f"knots: {knots}", 96, initial_indent=" " * 6,
                               subsequent_indent=" " * 8)  # fmt: skip
    return "\n".join(lines) + "\n"


def results(answers: Answers, fitted: Fitted, target_risk: float) -> dict[str, Any]:
    """Return the measures before and after."""
    before = answers.score(1.0)
    by_task = {
        task or ANY_TASK: {
            "answers": int((which := answers.task == task).sum()),
            "accuracy": float(answers.right[which].mean()),
            "error_before": calibration_error(before[which], answers.right[which]),
            "error_after": calibration_error(fitted.held_out[which], answers.right[which]),
        }
        for task in sorted(set(answers.task.tolist()))
    }
    chosen = fitted.threshold
    return {
        "pictures": len(np.unique(answers.group)),
        "answers": len(answers),
        "accuracy": float(answers.right.mean()),
        "error_before": calibration_error(before, answers.right),
        "error_after": fitted.way.error,
        "area_before": risk_area(before, answers.right),
        "area_after": fitted.way.area,
        "way": str(fitted.way),
        "target_risk": target_risk,
        "threshold": fitted.calibration.threshold,
        "coverage": chosen.coverage if chosen else 0.0,
        "risk": chosen.risk if chosen else 0.0,
        "tasks": by_task,
        "tried": {
            str(way): {"error": way.error, "task_error": way.task_error, "area": way.area}
            for way in fitted.tried
        },
    }


def notes_of(found: dict[str, Any]) -> list[str]:
    """Return the comments for chatspot.yaml."""
    return [
        "Measured by chatspot_train.evaluation.calibrate on "
        f"{found['pictures']} {found['of']} "
        f"({found['answers']} answers),",
        f"{found['way']}:",
        f"expected calibration error {found['error_before']:.3f} before, "
        f"{found['error_after']:.3f} after (on pictures not fitted to).",
        f"From the threshold on are {found['coverage']:.0%} of the answers, {found['risk']:.1%} of "
        "them wrong.",
        *(_choice_notes(found["choices"]) if "choices" in found else ()),
    ]


def _choice_notes(found: dict[str, Any]) -> list[str]:
    return [
        f"Of {found['questions']} questions with choices are {found['accuracy']:.0%} right; their "
        "expected calibration",
        f"error {found['error_before']:.3f} before, {found['error_after']:.3f} after (on kitchens "
        "not fitted to).",
    ]


def calibrate(
    config: EngineConfig, kitchens: int, out: Path, target_risk: float,
    folders: Sequence[Path] = (),
) -> dict[str, Any]:  # fmt: skip
    """Ask about kitchens, or take the answers of result folders; fit, write the model's
    chatspot.yaml; write results and plots into `out`.

    Raises:
        ModelLoadError: the model has no chatspot.yaml, or a folder no answers of it.
    """
    settings = Path(config.model) / SPEC_FILE
    if not settings.is_file():
        raise ModelLoadError(
            "the model has no settings of its own",
            value=settings,
            remedy=f"copy its family's file of config/models to {SPEC_FILE} beside its weights",
        )
    spec = read_spec(settings)
    out.mkdir(parents=True, exist_ok=True)
    # What was kept has no choices: their temperature stays.
    warmth = temperature_of(spec.calibration)
    if folders:
        answers, choices = kept(folders, spec.name), None
    else:
        engine = load_engine(config)
        answers, choices = ask(engine, kitchens, out), ask_choices(engine, kitchens, out)
        warmth = choices.temperature
    fitted = fit(answers, target_risk)
    of = "pictures of kept results" if folders else "validation kitchens"
    found = {**results(answers, fitted, target_risk), "of": of}
    found |= {} if choices is None else {"choices": vars(choices)}
    warm = fitted.calibration.model_copy(update={"choice_temperature": warmth})
    write(settings, warm, notes_of(found))
    (out / RESULTS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plots = {
        "before.png": reliability_plot(answers.score(1.0), answers.right),
        "after.png": reliability_plot(fitted.held_out, answers.right),
        "risk.png": risk_plot(fitted.held_out, answers.right, target_risk, fitted.threshold),
    }
    for name, figure in plots.items():
        figure.savefig(out / name)
    return found


def _show(found: dict[str, Any]) -> None:
    table = Table("task", "answers", "right", "error before", "after")
    everything = {key: found[key] for key in ("answers", "accuracy", "error_before", "error_after")}
    for task, row in {"all": everything, **found["tasks"]}.items():
        numbers = (f"{row[key]:.3f}" for key in ("accuracy", "error_before", "error_after"))
        table.add_row(task, str(row["answers"]), *numbers)
    console = Console()
    console.print(table)
    for note in notes_of(found):
        console.print(note)
    console.print(f"threshold {found['threshold']}")


def _run(options: argparse.Namespace) -> None:
    found = calibrate(
        config_from(options), options.kitchens, options.out, options.target_risk, options.answers
    )
    _show(found)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, default=Path("models/chatspot-tiny"),
        help="a folder with chatspot.yaml, which is written")  # fmt: skip
    add_engine_options(parser)
    add("--kitchens", type=int, default=KITCHENS, help="number of validation kitchens")
    add("--answers", type=Path, nargs="+", default=(), metavar="DIR",
        help="result folders of evaluate, instead of kitchens")  # fmt: skip
    add("--target-risk", type=float, default=TARGET_RISK,
        help="accepted share of wrong answers among the certain ones")  # fmt: skip
    add("--out", type=Path, default=Path("runs/calibrate"), help="answers, results and plots")


main = Command(
    "calibrate", _add_arguments, _run, description="Calibrate a model's confidence.", failed=1
)

if __name__ == "__main__":
    sys.exit(main())
