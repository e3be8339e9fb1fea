"""Box noise (the paper's Figure 5): a region suite with displaced boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from matplotlib.figure import Figure

from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import RequestError
from chatspot_train.data.noisy_boxes import noisy_box
from chatspot_train.data.sources.base import draw_number
from chatspot_train.evaluation.metrics.intervals import Part, Parts, Row, rows_of
from chatspot_train.evaluation.metrics.text import percent
from chatspot_train.evaluation.registry import make_region_suite, register
from chatspot_train.evaluation.suite import (
    Item,
    JudgingSuite,
    NoAnswersError,
    Option,
    Prediction,
    RegionSuite,
    Report,
    Suite,
    markdown,
)
from chatspot_train.evaluation.suites.coco_pictures import OWN_FILES

SCALES = (0.0, 0.1, 0.2, 0.3)
PAPER_ACCURACY = {0.0: 0.647, 0.1: 0.639, 0.2: 0.635, 0.3: 0.632}


OF = Option("of", "the suite to ask again (default: coco_region)")


@register
@dataclass(frozen=True)
class Noise(JudgingSuite):
    """The items of another suite at every scale of box noise.

    Each edge of a box is moved by up to half of the scale times the box's side. An item's edges
    move in the same direction at every scale, so scales are compared in pairs. `limit` counts as in
    the other suite.
    """

    of: RegionSuite
    scales: tuple[float, ...] = SCALES

    name = "noise"
    on_kitchen = True
    options = (OF, *OWN_FILES)
    headline: ClassVar[Mapping[str, str]] = {
        f"accuracy_noise_{scale:g}": f"accuracy at a box noise of {scale:g}" for scale in SCALES
    }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(make_region_suite(options))

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Suite]:
        """See Suite."""
        return {cls.name: cls(make_region_suite({}))}

    @property
    def wants(self) -> str:
        """See Suite."""
        return self.of.wants

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite; the paper asks coco_region."""
        asked = self.of.name == "coco_region" and bool(self.of.paper)
        return paper_rows("accuracy", PAPER_ACCURACY) if asked else {}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """Yield every item at every scale. Raises RequestError for an item without boxes."""
        for item in self.of.items(data, limit, seed):
            for scale in self.scales:
                yield moved(item, scale, seed)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite: the verdict of the other suite."""
        return self.of.right(predictions)

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite; a unit is an item of the other suite. Raises ValueError for no predictions."""
        return accuracy_parts(rights(self.of, predictions), unanswered(predictions))

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Accuracy at each scale, its loss from the first. Raises ValueError for no predictions."""
        right = rights(self.of, predictions)
        rows, first = rows_of(self.parts(predictions)), next(iter(right))
        lines = [
            (f"{scale:g}", percent(self.paper.get(f"accuracy_noise_{scale:g}")),
             percent(rows[f"accuracy_noise_{scale:g}"]),
             "-" if scale == first else percent(rows[f"drop_noise_{scale:g}"]), len(hits))
            for scale, hits in right.items()
        ]  # fmt: skip
        table = markdown(("noise", "accuracy, paper", f"accuracy, {self.of.name}", "lost", "n"),
                         lines)  # fmt: skip
        curve = Curve("accuracy", accuracies(rows, right), PAPER_ACCURACY if self.paper else {})
        return Report(rows, table, {"noise.png": draw_curves([curve])})


def paper_rows(measure: str, values: Mapping[float, float]) -> dict[str, float]:
    """Return the paper's values by scale as values by row."""
    return {f"{measure}_noise_{scale:g}": value for scale, value in values.items()}


def moved(item: Item, scale: float, seed: int) -> Item:
    """Return the item with displaced boxes; its key and the seed give the direction.

    Raises RequestError for another region than a box, or none.
    """
    width, height = item.truth["size"]
    rng = np.random.default_rng([seed, draw_number(2**32, item.key)])
    turns = []
    for turn in item.turns:
        kinds = [str(region.kind) for region in turn.regions] or ["no region"]
        if any(kind != RegionKind.BOX for kind in kinds):
            raise RequestError(
                "box noise moves boxes only", value=f"{item.key}: {kinds[0]}",
                remedy="choose a suite, or its option, that asks about boxes",
            )  # fmt: skip
        boxes = [
            Region.box(*noisy_box(region.box_xyxy_px, scale, width, height, rng))
            for region in turn.regions
        ]
        turns.append(replace(turn, regions=tuple(boxes)))
    truth = {**item.truth, "noise": scale}
    return replace(item, key=f"{item.key}@{scale:g}", turns=tuple(turns), truth=truth)


def by_scale(predictions: Sequence[Prediction]) -> dict[float, list[Prediction]]:
    """Return the predictions by scale, the smallest first. Raises ValueError for no predictions."""
    if not predictions:
        raise NoAnswersError
    scales = sorted({float(p.truth["noise"]) for p in predictions})
    return {scale: [p for p in predictions if p.truth["noise"] == scale] for scale in scales}


def item_of(prediction: Prediction) -> str:
    """Return the key of the other suite's item, the same at all scales."""
    return prediction.key.rpartition("@")[0]


def rights(of: RegionSuite, predictions: Sequence[Prediction]) -> dict[float, dict[str, bool]]:
    """Return the verdicts by scale and item. Raises ValueError for no predictions."""
    return {
        scale: dict(zip(map(item_of, group), of.right(group), strict=True))
        for scale, group in by_scale(predictions).items()
    }


def unanswered(predictions: Sequence[Prediction]) -> set[str]:
    """Return the other suite's items without an answer at some scale."""
    return {item_of(p) for p in predictions if p.error}


def accuracy_parts(
    right: dict[float, dict[str, bool]], missing: Set[str] = frozenset()
) -> dict[str, Part]:
    """Return `accuracy_noise_S` of each scale, `drop_noise_S`, in pairs, of all but the first.

    Items of `missing` have no drop.
    """
    first = next(iter(right))
    parts: dict[str, Part] = {
        f"accuracy_noise_{scale:g}": {item: (float(good), 1.0) for item, good in found.items()}
        for scale, found in right.items()
    }
    return parts | {
        f"drop_noise_{scale:g}": {
            item: (float(right[first][item]) - good, 1.0)
            for item, good in found.items() if item in right[first].keys() - missing
        }
        for scale, found in right.items() if scale != first
    }  # fmt: skip


def accuracies(rows: Mapping[str, Row], scales: Iterable[float]) -> dict[float, Row]:
    """Return the accuracy rows by scale."""
    return {scale: rows[f"accuracy_noise_{scale:g}"] for scale in scales}


@dataclass(frozen=True)
class Curve:
    """A share against noise with intervals; `paper` holds the paper's values."""

    title: str
    ours: dict[float, Row]
    paper: dict[float, float] = field(default_factory=dict)


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """Plot one panel a curve, in percent over the scale, the paper's values dashed."""
    figure = Figure(figsize=(4.5 * len(curves), 3.5), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, curve in zip(panels, curves, strict=True):
        scales = list(curve.ours)
        values = np.array([100 * row["value"] for row in curve.ours.values()])
        ends = np.array(
            [[100 * row[end] for row in curve.ours.values()] for end in ("low", "high")]
        )
        axes.errorbar(scales, values, np.abs(ends - values), marker="o", capsize=3, label="ours")
        if curve.paper:
            axes.plot(list(curve.paper), [100 * value for value in curve.paper.values()],
                      "s--", label="paper")  # fmt: skip
        axes.set(xlabel="box noise (share of the side)", ylabel="%", title=curve.title)
        axes.set_xticks(scales)
        axes.legend()
    return figure
