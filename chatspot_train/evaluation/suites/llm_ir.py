"""LLM-IR's two tasks: what a customer wants in a dialogue, and what kind of picture was sent.

Files of the WWW 2025 challenge on intents in shops' dialogues, in which LLM-IR took part: a JSON
list of {"id", "image": [names], "instruction", "output"}. An instruction names the labels in
brackets; one with a dialogue has the line `... START>`. Each task is scored by the weighted F1 of
its labels, and both by the mean of the two (the paper's row).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.prompts import MAX_QUESTION_CHARS
from chatspot_train.data.image_io import read_picture
from chatspot_train.evaluation.dataset_files import (
    checked,
    first_there,
    malformed,
    read_json,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts, Row
from chatspot_train.evaluation.metrics.weighted_f1 import weighted_f1_of
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    NoAnswersError,
    Prediction,
    Report,
    markdown,
    need,
)

FILES = ("val.json", "test.json", "train.json", "train/train.json")
TASKS = ("dialogue_intent", "picture_scene")
MEAN = "llm_ir_weighted_f1"
HEIGHT = 448  # pixels, of several pictures laid side by side
_HEAD = 200  # characters that say the task
NO_LABEL = ""  # an answer that names none of the labels
_DIALOGUE = re.compile(r"START\s*>")
_LABELS = re.compile(r"\[([^\[\]]*)\]")
_QUOTED = re.compile(r"[\"'“”‘’「]([^\"'“”‘’」]+)[\"'“”‘’」]")
_PICTURE = re.compile(r"(?:Picture \d+:\s*)?<image>\s*")
# The paper's table: Qwen2-VL-7B, both tasks averaged.
PAPER = 0.8417


@register
class LlmIrSuite(JudgingSuite):
    """Dialogues and pictures with one label each; a model answers with the label's words."""

    name = "llm_ir"
    headline: ClassVar[Mapping[str, str]] = {
        MEAN: "weighted F1, mean of both tasks",
        "dialogue_intent": "weighted F1, intent of a dialogue",
        "picture_scene": "weighted F1, kind of picture",
    }
    wants = (
        "give --data a folder with one of " + ", ".join(FILES) + ' (a list of {"id", "image", '
        '"instruction", "output"}, as of the WWW 2025 challenge) and its pictures in images/'
    )

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {MEAN: PAPER}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite. Raises MissingDataError, MalformedDataError."""
        path = first_there(data, FILES, self.wants)
        entries = read_json(path, self.wants)
        if not isinstance(entries, list) or not entries:
            raise malformed(path, "it is no list of questions", self.wants)
        for entry in sample(entries, limit, seed):
            kept = checked(entry, ("id", "image", "instruction", "output"), path, self.wants)
            instruction, names = str(kept["instruction"]), kept["image"]
            if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
                raise malformed(path, f"image of {kept['id']!r} is no list of names", self.wants)
            pictures = [need(_picture(path.parent, name), self.wants) for name in names]
            truth = {
                "task": TASKS[0 if _DIALOGUE.search(instruction) else 1],
                "label": str(kept["output"]).strip(), "labels": labels_in(instruction),
            }  # fmt: skip
            asked = shortened(_PICTURE.sub("", instruction).strip())
            yield Item(str(kept["id"]), _Row(pictures), (AskedTurn(asked),), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer that names its label and none that is longer."""
        return [label_of(p) == p.truth["label"] for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of the share of right answers, by task."""
        parts: dict[str, dict[str, tuple[float, float]]] = {}
        for p, right in zip(predictions, self.right(predictions), strict=True):
            parts.setdefault(f"{p.truth['task']}/accuracy", {})[p.key] = (float(right), 1.0)
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """The weighted F1 of each task, their mean, and a table with each label's F1."""
        if not predictions:
            raise NoAnswersError
        rows = self.rows(predictions)
        found: list[Row] = []
        lines: list[list[object]] = []
        for task in TASKS:
            some = [p for p in predictions if p.truth["task"] == task]
            if some:
                rows[task] = weighted_f1_of([p.truth["label"] for p in some],
                                            [label_of(p) for p in some])  # fmt: skip
                found.append(rows[task])
                lines.append([task, len(some), rows[task]["value"]])
        rows[MEAN] = {key: float(np.mean([row[key] for row in found]))
                      for key in ("value", "low", "high")}  # fmt: skip
        rows[MEAN]["n"] = len(predictions)
        lines += [["mean", len(predictions), rows[MEAN]["value"]], ["the paper", "-", PAPER]]
        return Report(rows, markdown(["task", "questions", "weighted F1"], lines))


class _Row:
    """Several pictures of one dialogue, laid side by side from left to right."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)

    def __call__(self) -> RgbImage:
        pictures = [read_picture(file) for file in self.files]
        if not pictures:  # a dialogue without a picture
            return np.full((HEIGHT, HEIGHT, 3), 128, np.uint8)
        if len(pictures) == 1:
            return pictures[0]
        return np.hstack([
            cv2.resize(one, (max(1, round(one.shape[1] * HEIGHT / one.shape[0])), HEIGHT),
                       interpolation=cv2.INTER_AREA)
            for one in pictures
        ])  # fmt: skip


def _picture(folder: Path, name: str) -> Path:
    return next((at for at in (folder / "images" / name, folder / name) if at.is_file()),
                folder / "images" / name)  # fmt: skip


def shortened(instruction: str) -> str:
    """Return an instruction within MAX_QUESTION_CHARS: of a long dialogue the latest turns stay,
    with the task before it and the labels behind it."""
    if len(instruction) <= MAX_QUESTION_CHARS:
        return instruction
    head = instruction[:_HEAD]
    return f"{head} ... {instruction[_HEAD + 5 - MAX_QUESTION_CHARS :]}"


def labels_in(instruction: str) -> list[str]:
    """Return the labels that an instruction names: the quoted ones of its last brackets."""
    lists = [_QUOTED.findall(inside) for inside in _LABELS.findall(instruction)]
    return next(([label.strip() for label in some] for some in reversed(lists) if some), [])


def label_of(prediction: Prediction) -> str:
    """Return the label that an answer says: the whole answer, or the longest label in it."""
    said, labels = prediction.text.strip().strip(".。\"'"), prediction.truth["labels"]
    known = labels or [prediction.truth["label"]]
    if said in known:
        return said
    return max((one for one in known if one and one in said), key=len, default=NO_LABEL)
