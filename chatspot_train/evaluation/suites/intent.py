"""Intent: what the router takes words for. No model is asked.

Measured on two held-out lists: config/evaluation/intents_held_out.yaml, by the project's own hand,
and the last third of the strangers' wordings. Nothing learns from either.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix  # type: ignore[import-untyped]

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.intents import FOLLOW_UP, NO_QUESTIONS, SHORT
from chatspot_ros.core.task_router import intent_of, route
from chatspot_ros.core.tasks import TASKS
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_ros.util.resources import share_folder
from chatspot_sim.stranger_wordings import measured
from chatspot_train.data.sources.base import draw
from chatspot_train.evaluation.dataset_files import malformed, sample
from chatspot_train.evaluation.metrics.intervals import Parts, Row
from chatspot_train.evaluation.metrics.weighted_f1 import weighted_f1_of
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
from chatspot_train.router.examples import named, stranger_intent

LISTS = ("intents_held_out", "strangers")
# Words alone ask for no task that needs a schema.
NAMES = (*(name or SHORT for name, task in TASKS.items() if not task.needs_schema), *NO_QUESTIONS)
ALL = "intent_weighted_f1"  # the row over all lists
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """The turns of a dialogue, and one of NAMES that the last of them wants."""

    turns: tuple[str, ...]
    intent: str


def no_picture() -> RgbImage:
    """Return a black pixel: the router reads words only."""
    return np.zeros((1, 1, 3), np.uint8)


class RouteAnswerer:
    """Answers the last turn of each dialogue with its intent by the router."""

    name = "chatspot_ros.core.task_router.route"
    identity = None

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer."""
        return [self._answer(item) for item in items]

    def _answer(self, item: Item) -> Prediction:
        previous = ""
        for turn in item.turns[:-1]:
            previous = route(turn.question, previous)
        question = item.turns[-1].question
        began_s = time.perf_counter()
        found = intent_of(question, previous)
        return Prediction(
            item.key, found.name or SHORT, confidence=found.probability,
            seconds=time.perf_counter() - began_s, question=question, truth=item.truth,
        )  # fmt: skip


@register
class IntentSuite(JudgingSuite):
    """Wordings with what they want, for RouteAnswerer. `files` None: the lists of LISTS."""

    name = "intent"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        ALL: "weighted F1 of the router, both held-out lists",
        "intents_held_out/weighted_f1": "weighted F1 of the router, the project's own list",
        "strangers/weighted_f1": "weighted F1 of the router, strangers' words",
        "refused": "share of the questions taken for no question, 0 is best",
    }
    lower_is_better = ("refused", "milliseconds")
    wants = "config/evaluation/intents_held_out.yaml, which comes with the package"

    def __init__(self, files: Sequence[Path] | None = None) -> None:
        self.files = files

    def answerer(self) -> RouteAnswerer:
        """See Suite: the router is measured, not a model."""
        return RouteAnswerer()

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `data` is not used, `limit` is for all lists together.

        Raises MissingDataError, MalformedDataError.
        """
        own = share_folder() / "config" / "evaluation" / "intents_held_out.yaml"
        files = [own] if self.files is None else self.files
        found = [(file.stem, one) for file in files for one in read_intents(file, self.wants)]
        if self.files is None:
            found += [("strangers", one) for one in strangers()]
        for name, one in sample(found, limit, seed):
            truth: dict[str, Any] = {"list": name, "task": one.intent}
            key = f"{name}: {' | '.join(one.turns)}"
            yield Item(key, no_picture, tuple(map(AskedTurn, one.turns)), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each intent that equals the label."""
        return [p.text == p.truth["task"] for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of accuracy and of each intent's F1 by list, of the questions taken for none, and
        of the milliseconds that the router takes."""
        parts: dict[str, dict[str, tuple[float, float]]] = {}
        for p, right in zip(predictions, self.right(predictions), strict=True):
            name = p.truth["list"]
            parts.setdefault(f"{name}/accuracy", {})[p.key] = (float(right), 1.0)
            for task in {p.text, p.truth["task"]} & set(NAMES):
                part = parts.setdefault(f"{name}/f1/{task}", {})
                part[p.key] = (2.0 * right, 1.0 + right)
            if p.truth["task"] not in NO_QUESTIONS:
                refused = float(p.text in NO_QUESTIONS)
                parts.setdefault("refused", {})[p.key] = (refused, 1.0)
            parts.setdefault("milliseconds", {})[p.key] = (1000 * p.seconds, 1.0)
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """The weighted F1 of all and of each list (each intent's, weighted by its number of
        wordings) and the confusion matrices."""
        rows = self.rows(predictions)
        tables: list[str] = []
        plots: dict[str, Figure] = {}
        lists = [(p.truth["list"], p.truth["task"], p.text) for p in predictions]
        rows[ALL] = weighted_f1_of([one[1] for one in lists], [one[2] for one in lists])
        for name in dict.fromkeys(one[0] for one in lists):
            true, said = zip(*[one[1:] for one in lists if one[0] == name], strict=True)
            counts = confusion_matrix(true, said, labels=NAMES)
            rows[f"{name}/weighted_f1"] = weighted_f1_of(true, said)
            plots[f"confusion-{name}.png"] = confusion_plot(counts)
            tables.append(_table(name, counts, rows))
        return Report(rows, "\n\n".join(tables), plots)


def strangers() -> list[Labelled]:
    """Return the strangers' wordings that measure; a follow-up comes after a question of another
    kind and wants what that one wants."""
    labelled = [
        Labelled((named(wording, kind),), stranger_intent(kind, wording))
        for kind, texts in measured().items() for wording in texts
    ]  # fmt: skip
    earlier = {one.turns[0]: one.intent for one in labelled if one.intent in TASKS}
    found = []
    for one in labelled:
        if one.intent == FOLLOW_UP:
            first = draw(tuple(earlier), one.turns[0], "earlier")
            one = Labelled((first, *one.turns), earlier[first])
        found.append(one)
    return list(dict.fromkeys(found))


def _table(name: str, counts: Counts, rows: dict[str, Row]) -> str:
    lines = [[task, *counts[k].tolist(), rows.get(f"{name}/f1/{task}", {}).get("value", "-")]
             for k, task in enumerate(NAMES)]  # fmt: skip
    value = rows[f"{name}/weighted_f1"]["value"]
    summary = f"`{name}`: weighted F1 {value:.3f} on {counts.sum()} wordings."
    return markdown(["wanted \\ routed to", *NAMES, "F1"], lines) + f"\n\n{summary}"


def read_intents(path: Path, wants: str) -> list[Labelled]:
    """Read a file of intents with their wordings; a list of several stands for a dialogue, of which
    the last turn is judged.

    Raises MissingDataError, or MalformedDataError for an unknown intent or a wording given twice.
    """
    try:
        kept = load_yaml(need(path, wants))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise malformed(path, str(error), wants) from error
    if not isinstance(kept, dict) or not set(kept) <= set(NAMES):
        raise malformed(path, f"its keys are not of {', '.join(NAMES)}", wants)
    found = [
        Labelled(tuple(map(str, said if isinstance(said, list) else [said])), intent)
        for intent, some in kept.items() for said in some or ()
    ]  # fmt: skip
    if any(not one.turns for one in found):
        raise malformed(path, "a dialogue has no turn", wants)
    wordings = [one.turns for one in found]
    twice = {turns for turns in wordings if wordings.count(turns) > 1}
    if twice:
        raise malformed(path, f"{' | '.join(min(twice))!r} is there twice", wants)
    return found


def confusion_plot(counts: Counts) -> Figure:
    """Plot the confusion matrix: wanted (rows), routed to (columns)."""
    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(NAMES)), NAMES, rotation=60)
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set(xlabel="routed to", ylabel="wanted")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure
