"""Ask a model all items of a suite and keep every prediction.

Predictions are appended to a file image by image; a run that was killed asks only what is missing.
Of several lines with the same key the last counts. The model's identity is kept beside the file:
a folder holds the answers of one model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Point
from chatspot_ros.errors import ChatspotError
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.evaluation.metrics.intervals import share
from chatspot_train.evaluation.suite import (
    Answerer,
    AskedTurn,
    Identity,
    Item,
    JudgingSuite,
    Prediction,
    Report,
    Suite,
)
from chatspot_train.evaluation.wrong_answers import write_sheet

PREDICTIONS = "predictions.jsonl"  # in a result folder
MODEL = "model.json"  # beside it
_log = logging.getLogger(__name__)


class OtherModelError(ChatspotError):
    """A result folder holds the answers of another model."""


class CachingAnswerer:
    """Asks another answerer each question about an image once. Suites with the same questions share
    the answers, which greedy decoding would only repeat."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self._known: dict[object, Prediction] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.answerer.name

    @property
    def identity(self) -> Identity | None:
        """See Answerer."""
        return self.answerer.identity

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        """See Answerer."""
        fresh: dict[object, Item] = {}
        for item in items:
            if _cache_key(item) not in self._known:
                fresh.setdefault(_cache_key(item), item)
        if fresh:
            found = self.answerer.answer_all(image_rgb, list(fresh.values()))
            self._known |= dict(zip(fresh, found, strict=True))
        return [
            replace(self._known[_cache_key(item)], key=item.key, truth=item.truth) for item in items
        ]


def _cache_key(item: Item) -> tuple[object, ...]:
    """Return the same value for the same questions about the same image file."""
    picture = item.image.resolve() if isinstance(item.image, Path) else item.image
    return (picture, item.turns)


def evaluate(
    suite: Suite, answerer: Answerer, data: Path, limit: int, seed: int, out: Path,
    fresh: bool = False,
) -> Report:  # fmt: skip
    """Ask a suite's items, resuming a killed run in `out` unless `fresh`, and score the answers.
    Wrong ones are drawn on a sheet (`wrong_answers`).

    Raises MissingDataError for missing data, OtherModelError for another model's answers in `out`,
    OtherGraderError for another grader's grades.
    """
    items = list(suite.items(data, limit, seed))
    out.mkdir(parents=True, exist_ok=True)
    suite.begin(out, fresh)
    claim(out, answerer.identity, fresh)
    predictions = run(answerer, items, out / PREDICTIONS, len(items))
    suite.export(predictions, out)
    judged = suite.judged(predictions, out)
    if isinstance(suite, JudgingSuite):
        # The truth about a detector's boxes is unknown.
        with suppress(ValueError):
            write_sheet(items, judged, suite.right(judged), out)
    return scored(suite, judged)


def scored(suite: Suite, predictions: Sequence[Prediction]) -> Report:
    """Return the suite's report with the share of questions without an answer, row `unanswered`.

    Raises NoAnswersError.
    """
    report = suite.score(predictions)
    missing = [bool(p.error) for p in predictions]
    if report.rows:
        report.rows["unanswered"] = share(missing)
    note = f"{sum(missing)} of {len(missing)} questions have no answer."
    return replace(report, table=f"{report.table}\n\n{note}")


def claim(out: Path, identity: Identity | None, fresh: bool = False) -> None:
    """Keep a model's identity in a result folder; if `fresh`, or if the model has none, drop the
    answers in it.

    Raises OtherModelError for answers of another model, or of none that is known.
    """
    file, beside = out / PREDICTIONS, out / MODEL
    if fresh or identity is None:
        file.unlink(missing_ok=True)
    told = json.loads(json.dumps(identity))
    if file.exists() and file.stat().st_size:
        try:
            known = json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = None
        if known != told:
            raise OtherModelError(
                "the folder holds answers of another model",
                value=f"{out}: {_differing(known, told)}",
                remedy="give another --out, or --fresh to drop these answers and ask anew",
            )  # fmt: skip
    beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _differing(known: Any, told: dict[str, Any]) -> str:
    if not isinstance(known, dict):
        return f"{MODEL} does not say which"
    return f"other {', '.join(k for k in {**told, **known} if known.get(k) != told.get(k))}"


def run(answerer: Answerer, items: Iterable[Item], file: Path, total: int = 0) -> list[Prediction]:
    """Ask all items that `file` holds no answer to yet; return all predictions, in order.

    Items about the same image should follow each other. An image that cannot be read gives empty
    predictions with the reason in `error`; the run goes on, and the next one asks again. A kept
    answer gets the truth that the item has now.
    """
    kept = {p.key: p for p in read_predictions(file) if not p.error}
    answers: list[Prediction] = []
    bar = tqdm(total=total or None, desc=f"asking {answerer.name}", unit="question")
    with file.open("a", encoding="utf-8") as lines:
        for group in _by_image(items):
            hashes = _hashes(group)
            known = {
                i.key: replace(kept[i.key], truth=i.truth) for i in group
                if i.key in kept and kept[i.key].asked == hashes[i.key]
            }  # fmt: skip
            asked = [item for item in group if item.key not in known]
            fresh = {p.key: replace(p, asked=hashes[p.key]) for p in _ask(answerer, asked)}
            corrected = [p for p in known.values() if to_line(p) != to_line(kept[p.key])]
            lines.write("".join(to_line(p) for p in (*fresh.values(), *corrected)))
            lines.flush()
            answers += [known.get(item.key) or fresh[item.key] for item in group]
            bar.update(len(group))
    bar.close()
    return answers


def _by_image(items: Iterable[Item]) -> Iterator[list[Item]]:
    for _, group in groupby(items, key=lambda item: item.image):
        yield list(group)


def _ask(answerer: Answerer, items: list[Item]) -> list[Prediction]:
    if not items:
        return []
    image = items[0].image
    try:
        rgb = read_picture(image) if isinstance(image, Path) else image()
        found = answerer.answer_all(rgb, items)
    except (RecordError, ChatspotError) as error:
        _log.warning("%s: %s", items[0].key, error)
        found = [item.failed(str(error)) for item in items]
    return [_to_keep(p, item) for p, item in zip(found, items, strict=True)]


def _to_keep(prediction: Prediction, item: Item) -> Prediction:
    """Return the prediction with the item's question, regions and image file."""
    image = str(item.image) if isinstance(item.image, Path) else ""
    question, regions = item.turns[-1].question, _corners(item.turns[-1])
    return replace(prediction, question=question, regions_px=regions, image=image)


def _hashes(items: list[Item]) -> dict[str, str]:
    """Return a hash of each conversation with the bytes of its image, the same for all items:
    another seed, question or image may have the same key or name."""
    image = items[0].image
    try:
        data = image.read_bytes() if isinstance(image, Path) else image().tobytes()
    except (OSError, RecordError, ChatspotError):
        data = b""
    picture = blake2b(data, digest_size=16)
    found = {}
    for item in items:
        whole = picture.copy()
        whole.update(repr([_told(turn) for turn in item.turns]).encode())
        found[item.key] = whole.hexdigest()
    return found


def _told(turn: AskedTurn) -> tuple[object, ...]:
    told: tuple[object, ...] = (turn.question, turn.task, _corners(turn))
    told = (*told, turn.reader) if turn.reader else told
    return told if turn.knowledge is None else (*told, turn.knowledge, turn.needs_note)


def _corners(turn: AskedTurn) -> tuple[tuple[Point, ...], ...]:
    return tuple(
        tuple((float(x), float(y)) for x, y in region.points_px) for region in turn.regions
    )


def to_line(prediction: Prediction) -> str:
    """Return the prediction as a JSON line."""
    return json.dumps(asdict(prediction), ensure_ascii=False) + "\n"


def read_predictions(file: Path) -> list[Prediction]:
    """Return the kept predictions; remove a truncated last line from the file."""
    if not file.exists():
        return []
    found: list[Prediction] = []
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
        for name in ("phrases", "sources"):
            values[name] = tuple(values.get(name, ()))
        values["steps"] = tuple(tuple(step) for step in values["steps"])
        values["regions_px"] = tuple(
            tuple(tuple(point) for point in region) for region in values.get("regions_px", ())
        )
        found.append(Prediction(**values))
        whole += len(line)
    if whole < len(data):
        with file.open("r+b") as kept:
            kept.truncate(whole)
    return found
