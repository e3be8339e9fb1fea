"""Asks a model everything a suite wants to know, and keeps every answer.

Answers are appended to a file as they come, a picture at a time; a run that was killed asks only
what is not there yet.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from chatspot_ros.engine.api import Question, RegionEngine, Turn
from chatspot_ros.errors import ChatspotError
from chatspot_ros.geometry import RgbImage
from chatspot_train.instruct.data import read_picture
from chatspot_train.records import RecordError
from chatspot_train.suites.base import Item, Predicted

_log = logging.getLogger(__name__)


class Answerer(Protocol):
    """Something that can be asked about pictures: a local engine, or an endpoint."""

    @property
    def name(self) -> str:
        """The model's name, for reports."""

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Predicted]:
        """Answer several items about one picture (uint8 H x W x 3, RGB), in order."""


class EngineAnswerer:
    """A local model: the picture is prepared once for all items about it."""

    def __init__(self, engine: RegionEngine) -> None:
        self.engine = engine

    @property
    def name(self) -> str:
        """The model's name."""
        return self.engine.name

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Predicted]:
        """See Answerer."""
        scene = self.engine.prepare(image_rgb)
        return [self._answer(scene, item) for item in items]

    def _answer(self, scene: Any, item: Item) -> Predicted:
        said: list[Turn] = []
        asked = item.turns[-1].question
        try:
            for turn in item.turns:
                reply = self.engine.answer(
                    scene, Question(turn.question, turn.regions, turn.task, tuple(said))
                )
                said.append(Turn(reply.prompt, reply.raw_text))
        except ChatspotError as error:
            return Predicted(item.key, "", error=str(error), question=asked, truth=item.truth)
        answer = reply.answer
        return Predicted(
            item.key, answer.text,
            tuple(region.box_xyxy_px for region in answer.grounded),
            tuple(region.label for region in answer.grounded),
            dict(answer.state), tuple((step.action, step.target) for step in answer.steps),
            answer.confidence, reply.seconds, question=asked, truth=item.truth,
        )  # fmt: skip


def run(answerer: Answerer, items: Iterable[Item], file: Path, total: int = 0) -> list[Predicted]:
    """Ask all items that `file` does not hold yet; returns the answers to all, in order.

    Items on the same picture should follow each other. A picture that cannot be read makes its
    items' answers empty, with the reason in `error`; it stops nothing.
    """
    known = {p.key: p for p in read_predictions(file)}
    answers: list[Predicted] = []
    bar = tqdm(total=total or None, desc=f"asking {answerer.name}", unit="question")
    with file.open("a", encoding="utf-8") as lines:
        for group in _by_picture(items):
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
        return answerer.answer_all(rgb, items)
    except (RecordError, ChatspotError) as error:
        _log.warning("%s: %s", items[0].key, error)
        return [
            Predicted(item.key, "", error=str(error), question=item.turns[-1].question,
                      truth=item.truth)
            for item in items
        ]  # fmt: skip


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
        found.append(Predicted(**values))
        whole += len(line)
    if whole < len(data):
        with file.open("r+b") as kept:
            kept.truncate(whole)
    return found
