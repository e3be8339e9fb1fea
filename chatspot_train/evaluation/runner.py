"""Ask a model all items of a suite and keep every prediction.

Predictions are appended to a file image by image; a run that was killed asks only what is missing.
Of several lines with the same key the last counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Point
from chatspot_ros.errors import ChatspotError
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.evaluation.suite import Answerer, Item, Prediction, Report, Suite

PREDICTIONS = "predictions.jsonl"  # in a result folder
_log = logging.getLogger(__name__)


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
    suite: Suite, answerer: Answerer, data: Path, limit: int, seed: int, out: Path
) -> Report:
    """Ask a suite's items, resuming a killed run in `out`, and score the predictions.

    Raises MissingDataError for missing data.
    """
    items = list(suite.items(data, limit, seed))
    out.mkdir(parents=True, exist_ok=True)
    predictions = run(answerer, items, out / PREDICTIONS, len(items))
    suite.export(predictions, out)
    return suite.score(suite.judged(predictions, out))


def run(answerer: Answerer, items: Iterable[Item], file: Path, total: int = 0) -> list[Prediction]:
    """Ask all items that `file` does not hold yet; return all predictions, in order.

    Items about the same image should follow each other. An image that cannot be read gives empty
    predictions with the reason in `error`; the run goes on.
    """
    kept = {p.key: p for p in read_predictions(file)}
    answers: list[Prediction] = []
    bar = tqdm(total=total or None, desc=f"asking {answerer.name}", unit="question")
    with file.open("a", encoding="utf-8") as lines:
        for group in _by_image(items):
            known = {i.key: kept[i.key] for i in group if i.key in kept and _is_of(kept[i.key], i)}
            asked = [item for item in group if item.key not in known]
            fresh = {p.key: p for p in _ask(answerer, asked)} if asked else {}
            lines.write("".join(to_line(p) for p in fresh.values()))
            lines.flush()
            answers += [known.get(item.key) or fresh[item.key] for item in group]
            bar.update(len(group))
    bar.close()
    return answers


def _by_image(items: Iterable[Item]) -> Iterator[list[Item]]:
    for _, group in groupby(items, key=lambda item: item.image):
        yield list(group)


def _ask(answerer: Answerer, items: list[Item]) -> list[Prediction]:
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
    question, regions = item.turns[-1].question, _corners(item)
    return replace(prediction, question=question, regions_px=regions, image=image)


def _is_of(prediction: Prediction, item: Item) -> bool:
    """True if the prediction answers this item's question: another seed may use the key again."""
    asked = (item.turns[-1].question, _corners(item))
    return (prediction.question, prediction.regions_px) == asked


def _corners(item: Item) -> tuple[tuple[Point, ...], ...]:
    return tuple(
        tuple((float(x), float(y)) for x, y in region.points_px)
        for region in item.turns[-1].regions
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
        values["phrases"] = tuple(values["phrases"])
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
