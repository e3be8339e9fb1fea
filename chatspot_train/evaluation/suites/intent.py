"""Intent: the tasks that the router gives to questions. No model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score  # type: ignore[import-untyped]

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.task_router import route
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.resources import share_folder
from chatspot_train.evaluation.dataset_files import malformed, sample
from chatspot_train.evaluation.metrics.intervals import Parts, Row
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    Prediction,
    Report,
    markdown,
    need,
)

LISTS = ("intents", "intents_held_out")
SHORT = "short"  # how the task "" is written in files and tables
NAMES = tuple(task or SHORT for task in TASKS)
DRAWS = 1000
Counts = NDArray[np.int64]


def no_picture() -> RgbImage:
    """Return a black pixel: the router reads words only."""
    return np.zeros((1, 1, 3), np.uint8)


class RouteAnswerer:
    """Answers each question with its task by the router."""

    name = "chatspot_ros.core.task_router.route"
    identity = None

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer."""
        return [
            Prediction(item.key, route(item.turns[-1].question) or SHORT, confidence=1.0,
                      question=item.turns[-1].question, truth=item.truth)
            for item in items
        ]  # fmt: skip


@register
class IntentSuite(JudgingSuite):
    """Questions labelled by hand, for RouteAnswerer.

    `files` None: the package's two lists; the router was tuned on `intents` alone.
    """

    name = "intent"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "intents/weighted_f1": "weighted F1 of the router",
        "intents_held_out/weighted_f1": "weighted F1 of the router, on the held-out list",
    }
    wants = "config/evaluation/intents.yaml and intents_held_out.yaml, which come with the package"

    def __init__(self, files: Sequence[Path] | None = None) -> None:
        self.files = files

    def answerer(self) -> RouteAnswerer:
        """See Suite: the router is measured, not a model."""
        return RouteAnswerer()

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `data` is not used, `limit` is for all lists together.

        Raises MissingDataError, MalformedDataError.
        """
        folder = share_folder() / "config" / "evaluation"
        files = self.files or [folder / f"{name}.yaml" for name in LISTS]
        labelled = [(file.stem, *one) for file in files for one in read_intents(file, self.wants)]
        for name, question, task in sample(labelled, limit, seed):
            truth = {"list": name, "task": task}
            yield Item(f"{name}: {question}", no_picture, (AskedTurn(question),), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each task that equals the label."""
        return [p.text == p.truth["task"] for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of accuracy and of each task's F1, by list."""
        parts: dict[str, dict[str, tuple[float, float]]] = {}
        for p, right in zip(predictions, self.right(predictions), strict=True):
            name = p.truth["list"]
            parts.setdefault(f"{name}/accuracy", {})[p.key] = (float(right), 1.0)
            for task in {p.text, p.truth["task"]} & set(NAMES):
                part = parts.setdefault(f"{name}/f1/{task}", {})
                part[p.key] = (2.0 * right, 1.0 + right)
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """The weighted F1 of each list (each task's, weighted by its number of questions) and the
        confusion matrix."""
        rows = self.rows(predictions)
        tables: list[str] = []
        plots: dict[str, Figure] = {}
        for name in dict.fromkeys(p.truth["list"] for p in predictions):
            pairs = [(p.truth["task"], p.text) for p in predictions if p.truth["list"] == name]
            true, said = np.array(pairs).T
            counts: Counts = confusion_matrix(true, said, labels=NAMES)
            rows[f"{name}/weighted_f1"] = _weighted_f1(true, said, counts)
            plots[f"confusion-{name}.png"] = confusion_plot(counts)
            tables.append(_table(name, counts, rows))
        return Report(rows, "\n\n".join(tables), plots)


def _table(name: str, counts: Counts, rows: dict[str, Row]) -> str:
    lines = [[task, *counts[k].tolist(), rows.get(f"{name}/f1/{task}", {}).get("value", "-")]
             for k, task in enumerate(NAMES)]  # fmt: skip
    value = rows[f"{name}/weighted_f1"]["value"]
    summary = f"`{name}`: weighted F1 {value:.3f} on {counts.sum()} questions."
    return markdown(["wanted \\ routed to", *NAMES, "F1"], lines) + f"\n\n{summary}"


def read_intents(path: Path, wants: str) -> list[tuple[str, str]]:
    """Read (question, task) pairs from a file of tasks with their questions.

    Raises MissingDataError, or MalformedDataError for an unknown task or a question given twice.
    """
    try:
        labelled = load_yaml(need(path, wants))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise malformed(path, str(error), wants) from error
    if not isinstance(labelled, dict) or not set(labelled) <= set(NAMES):
        raise malformed(path, f"its keys are not of {', '.join(NAMES)}", wants)
    pairs = [(str(question), task) for task, some in labelled.items() for question in some or ()]
    questions = [question for question, _ in pairs]
    twice = {question for question in questions if questions.count(question) > 1}
    if twice:
        raise malformed(path, f"{min(twice)!r} is there twice", wants)
    return pairs


def weighted_f1(counts: Counts) -> NDArray[np.float64]:
    """Return the weighted F1 of matrices (... x wanted x routed); 0 for an absent task."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    wanted, routed = counts.sum(-1), counts.sum(-2)
    found = 2 * hits / np.maximum(wanted + routed, 1)
    return np.asarray((found * wanted).sum(-1) / wanted.sum(-1))


def _weighted_f1(true: NDArray[np.str_], said: NDArray[np.str_], counts: Counts) -> Row:
    value = float(f1_score(true, said, average="weighted", zero_division=0))
    # To draw questions with replacement is to draw cells of the matrix by their counts.
    cells = counts.ravel() / counts.sum()
    drawn = np.random.default_rng(0).multinomial(len(true), cells, size=DRAWS)
    low, high = np.percentile(weighted_f1(drawn.reshape(DRAWS, *counts.shape)), [2.5, 97.5])
    return {"value": value, "n": len(true), "low": float(low), "high": float(high)}


def confusion_plot(counts: Counts) -> Figure:
    """Plot the confusion matrix: wanted task (rows), routed task (columns)."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(NAMES)), NAMES, rotation=30)
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set(xlabel="routed to", ylabel="wanted")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure
