"""RefCOCO, RefCOCO+ and RefCOCOg: the box of a referring expression."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chatspot_ros.core.boxes import iou, xywh_to_xyxy
from chatspot_train.data.sources import find_source
from chatspot_train.data.sources.base import Source
from chatspot_train.data.sources.json_reader import box_xywh
from chatspot_train.data.sources.refcoco import Ref
from chatspot_train.evaluation.dataset_files import (
    first_there,
    need_some,
    reading,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.metrics.text import percent
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    MissingDataError,
    Prediction,
    Report,
    markdown,
    need,
)  # fmt: skip

QUESTION = "Where is {thing}?"
DATASETS = ("refcoco", "refcoco+", "refcocog")
THRESHOLD = 0.5
ROWS = ("iou_over_0.5", "iou_at_least_0.5", "no_box")


@register
@dataclass(frozen=True)
class RefCoco(JudgingSuite):
    """One question for the box of each expression of the chosen splits.

    `datasets` empty: those of the three that are there; `splits` empty: all but train. `question`
    holds `{thing}` where the expression stands. The first box of an answer counts; an answer with
    none is a miss. A hit is IoU > 0.5, as Shikra counts, or IoU >= 0.5, as Qwen and InternVL do:
    both are reported.
    """

    datasets: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    question: str = QUESTION

    name = "refcoco"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "refcoco_val_iou_over_0.5": "IoU > 0.5",
    }
    wants = (
        "give --data a folder with refcoco/refs(unc).json, refcoco+/refs(unc).json or "
        "refcocog/refs(umd).json (from github.com/lichengunc/refer, as JSON: docs/data.md shows "
        "how), instances.json beside it, and train2014/ (2014 Train images from cocodataset.org)"
    )

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {
            "refcoco_val_iou_over_0.5": 0.881,
            "refcoco_testA_iou_over_0.5": 0.914,
            "refcoco_testB_iou_over_0.5": 0.839,
        }

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite. Raises MissingDataError, SourceError."""
        sources = [find_source(name) for name in self.datasets or DATASETS]
        files = {source: _refs(source, data) for source in sources}
        if not self.datasets:
            sources = [source for source in sources if files[source].exists()]
        if not sources:
            raise MissingDataError("no file of refs is there", value=files[find_source("refcoco")],
                                   remedy=self.wants)  # fmt: skip
        for source in sources:
            need(files[source], self.wants)
            need(files[source].with_name("instances.json"), self.wants)
        folder = first_there(
            data, ("train2014", "images/train2014", "images/mscoco/images/train2014"), self.wants
        )
        found = [item for one in sources for item in self._read(one, files[one], folder)]
        need_some(found, files[sources[0]], self.wants)
        chosen = sample(sorted(found, key=lambda item: str(item.image)), limit, seed)
        for picture in {item.image for item in chosen if isinstance(item.image, Path)}:
            need(picture, self.wants)
        return iter(chosen)

    def _read(self, source: Source, file: Path, folder: Path) -> list[Item]:
        found: list[Item] = []
        with reading(file, folder) as job:
            for where, raw in source.entries(job):
                with job.guard(where):
                    item = self._item(source.name, raw, folder)
                    if item is not None:
                        found.append(item)
        return found

    def _item(self, dataset: str, raw: Any, folder: Path) -> Item | None:
        loaded, k, instances = raw
        ref = Ref.model_validate(loaded)
        if ref.split not in self.splits if self.splits else ref.split == "train":
            return None
        expression = ref.expression(k)
        image, thing = instances.image(ref.image_id), instances.thing(ref.ann_id)
        box_xywh(thing.bbox).clipped(image.width, image.height)
        truth = {
            "dataset": dataset, "split": ref.split, "expression": expression,
            "box_xyxy_px": list(xywh_to_xyxy(thing.bbox)), "size": [image.width, image.height],
        }  # fmt: skip
        turn = AskedTurn(self.question.replace("{thing}", expression), (), "locate")
        return Item(f"{dataset}-{ref.ref_id}-{k}", folder / image.file_name, (turn,), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer whose first box has IoU > 0.5 with the truth."""
        return [_iou(p) > THRESHOLD for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p in predictions:
            overlap = _iou(p)
            values = (overlap > THRESHOLD, overlap >= THRESHOLD, not p.boxes_xyxy_px)
            for row, value in zip(ROWS, values, strict=True):
                parts[f"{_split(p).replace(' ', '_')}_{row}"][p.key] = (float(value), 1.0)
        return dict(sorted(parts.items()))

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Shares of hits by both conventions and of answers without a box, by split.

        Raises ValueError for no predictions.
        """
        rows = self.rows(predictions)
        lines = []
        for name in sorted({_split(p) for p in predictions}):
            found = [rows[f"{name.replace(' ', '_')}_{row}"] for row in ROWS]
            paper = self.paper.get(f"{name.replace(' ', '_')}_{ROWS[0]}")
            lines.append((name, percent(paper), *map(percent, found), int(found[0]["n"])))
        header = ("", "paper", "IoU > 0.5 (Shikra)", "IoU >= 0.5 (Qwen, InternVL)", "no box", "n")
        table = markdown(header, lines)
        return Report(rows, f"{table}\n\nThe paper does not say which convention it used.")


def _split(prediction: Prediction) -> str:
    return f"{prediction.truth['dataset']} {prediction.truth['split']}"


def _iou(prediction: Prediction) -> float:
    if not prediction.boxes_xyxy_px:
        return 0.0
    x1, y1, x2, y2 = prediction.truth["box_xyxy_px"]
    return iou(prediction.boxes_xyxy_px[0], (x1, y1, x2, y2))


def _refs(source: Source, data: Path) -> Path:
    """Return the refs' JSON file; if only the published pickle exists, the pickle, whose reader
    raises with the remedy."""
    file = data / source.annotations
    pickle = file.with_suffix(".p")
    return pickle if pickle.exists() and not file.exists() else file
