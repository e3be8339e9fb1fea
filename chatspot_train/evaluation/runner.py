"""Asks a model everything a suite wants to know, and keeps every answer.

Answers are appended to a file as they come, a picture at a time; a run that was killed asks only
what is not there yet. Of several lines with the same key the last counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Point
from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn
from chatspot_ros.engine.serial_engine import as_batching
from chatspot_ros.errors import ChatspotError
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.evaluation.suite import Item, Predicted

PREDICTIONS = "predictions.jsonl"  # in a result folder
TOGETHER = 32  # questions about one picture
_log = logging.getLogger(__name__)


class Answerer(Protocol):
    """Something that can be asked about pictures: a local engine, or an endpoint."""

    @property
    def name(self) -> str:
        """The model's name, for reports."""

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Predicted]:
        """Answer several items about one picture (uint8 H x W x 3, RGB), in order."""


class EngineAnswerer:
    """A local model: the picture is prepared once for all items about it, and the questions that
    wait for no other answer are asked together."""

    def __init__(self, engine: RegionEngine) -> None:
        self.engine = as_batching(engine)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.engine.name

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Predicted]:
        """See Answerer."""
        scene = self.engine.prepare(image_rgb)
        talks = [_Talk(item) for item in items]
        while waiting := [talk for talk in talks if talk.goes_on]:
            for first in range(0, len(waiting), TOGETHER):
                self._ask(scene, waiting[first : first + TOGETHER])
        return [talk.predicted() for talk in talks]

    def _ask(self, scene: Any, talks: list[_Talk]) -> None:
        """Put the next question of each; where one cannot be asked, the others are asked without
        it."""
        questions = [talk.next_question() for talk in talks]
        missing = dict(enumerate(talks))

        def take(index: int, reply: Reply) -> None:
            missing.pop(index).hear(reply)

        try:
            self.engine.answer_many(scene, questions, on_reply=take)
        except ChatspotError as error:
            if len(talks) == 1:
                talks[0].error = str(error)
                return
            for talk in missing.values():
                self._ask(scene, [talk])


@dataclass
class _Talk:
    """An item's questions and their answers so far."""

    item: Item
    replies: list[Reply] = field(default_factory=list)
    error: str = ""

    @property
    def goes_on(self) -> bool:
        return not self.error and len(self.replies) < len(self.item.turns)

    def next_question(self) -> Question:
        turn = self.item.turns[len(self.replies)]
        said = tuple(Turn(reply.prompt, reply.raw_text) for reply in self.replies)
        return Question(turn.question, turn.regions, turn.task, said)

    def hear(self, reply: Reply) -> None:
        self.replies.append(reply)

    def predicted(self) -> Predicted:
        if self.error:
            return unanswered(self.item, self.error)
        reply = self.replies[-1]
        answer = reply.answer
        return Predicted(
            self.item.key, answer.text,
            tuple(region.box_xyxy_px for region in answer.grounded),
            tuple(region.label for region in answer.grounded),
            dict(answer.state), tuple((step.action, step.target) for step in answer.steps),
            answer.confidence, reply.seconds, question=self.item.turns[-1].question,
            truth=self.item.truth,
            mean_log_probability=float(np.mean(reply.log_probabilities or (0.0,))),
            least_log_probability=min(reply.log_probabilities, default=0.0),
        )  # fmt: skip


class OnceAnswerer:
    """Asks another answerer the same question about the same picture once, and remembers what it
    said: suites that ask alike share their answers, which greedy decoding would only repeat."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self._known: dict[object, Predicted] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.answerer.name

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Predicted]:
        """See Answerer."""
        fresh: dict[object, Item] = {}
        for item in items:
            if _asked(item) not in self._known:
                fresh.setdefault(_asked(item), item)
        if fresh:
            found = self.answerer.answer_all(image_rgb, list(fresh.values()))
            self._known |= dict(zip(fresh, found, strict=True))
        return [
            replace(self._known[_asked(item)], key=item.key, truth=item.truth) for item in items
        ]


def _asked(item: Item) -> tuple[object, ...]:
    """Equal for the same questions about the same picture, by whatever name it goes."""
    picture = item.image.resolve() if isinstance(item.image, Path) else item.image
    return (picture, item.turns)


def unanswered(item: Item, why: str) -> Predicted:
    """What is kept of an item that has no answer."""
    return Predicted(item.key, "", error=why, question=item.turns[-1].question, truth=item.truth)


def run(answerer: Answerer, items: Iterable[Item], file: Path, total: int = 0) -> list[Predicted]:
    """Ask all items that `file` does not hold yet; returns the answers to all, in order.

    Items on the same picture should follow each other. A picture that cannot be read makes its
    items' answers empty, with the reason in `error`; it stops nothing.
    """
    kept = {p.key: p for p in read_predictions(file)}
    answers: list[Predicted] = []
    bar = tqdm(total=total or None, desc=f"asking {answerer.name}", unit="question")
    with file.open("a", encoding="utf-8") as lines:
        for group in _by_picture(items):
            known = {i.key: kept[i.key] for i in group if i.key in kept and _is_of(kept[i.key], i)}
            asked = [item for item in group if item.key not in known]
            fresh = {p.key: p for p in _ask(answerer, asked)} if asked else {}
            lines.write("".join(to_line(p) for p in fresh.values()))
            lines.flush()
            answers += [known.get(item.key) or fresh[item.key] for item in group]
            bar.update(len(group))
    bar.close()
    return answers


def _by_picture(items: Iterable[Item]) -> Iterator[list[Item]]:
    for _, group in groupby(items, key=lambda item: item.image):
        yield list(group)


def _ask(answerer: Answerer, items: list[Item]) -> list[Predicted]:
    image = items[0].image
    try:
        rgb = read_picture(image) if isinstance(image, Path) else image()
        found = answerer.answer_all(rgb, items)
    except (RecordError, ChatspotError) as error:
        _log.warning("%s: %s", items[0].key, error)
        found = [unanswered(item, str(error)) for item in items]
    return [_to_keep(p, item) for p, item in zip(found, items, strict=True)]


def _to_keep(prediction: Predicted, item: Item) -> Predicted:
    """With what was asked, and of which picture's file."""
    image = str(item.image) if isinstance(item.image, Path) else ""
    question, regions = item.turns[-1].question, _corners(item)
    return replace(prediction, question=question, regions_px=regions, image=image)


def _is_of(prediction: Predicted, item: Item) -> bool:
    """Whether it answers what the item asks: another seed may ask otherwise under the same key."""
    asked = (item.turns[-1].question, _corners(item))
    return (prediction.question, prediction.regions_px) == asked


def _corners(item: Item) -> tuple[tuple[Point, ...], ...]:
    return tuple(
        tuple((float(x), float(y)) for x, y in region.points_px)
        for region in item.turns[-1].regions
    )


def to_line(prediction: Predicted) -> str:
    """One JSON line."""
    return json.dumps(asdict(prediction), ensure_ascii=False) + "\n"


def read_predictions(file: Path) -> list[Predicted]:
    """The kept answers; a last line that was cut is taken out of the file."""
    if not file.exists():
        return []
    found: list[Predicted] = []
    data = file.read_bytes()
    whole = 0
    for line in data.splitlines(keepends=True):
        try:
            values = json.loads(line) if line.endswith(b"\n") else None
        except json.JSONDecodeError:
            values = None
        if values is None:
            break
        values["boxes_xyxy_px"] = tuple(tuple(box) for box in values["boxes_xyxy_px"])
        values["phrases"] = tuple(values["phrases"])
        values["steps"] = tuple(tuple(step) for step in values["steps"])
        values["regions_px"] = tuple(
            tuple(tuple(point) for point in region) for region in values.get("regions_px", ())
        )
        found.append(Predicted(**values))
        whole += len(line)
    if whole < len(data):
        with file.open("r+b") as kept:
            kept.truncate(whole)
    return found
