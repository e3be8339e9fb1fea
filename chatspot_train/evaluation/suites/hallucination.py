"""Region-referring hallucination (the paper's Table 3): wrong answers that name a neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from chatspot_train.evaluation.metrics.intervals import Parts, rows_of
from chatspot_train.evaluation.metrics.text import percent
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import Item, JudgingSuite, Prediction, Report, markdown
from chatspot_train.evaluation.suites.coco_pictures import OWN_FILES
from chatspot_train.evaluation.suites.coco_region import CLIP, CocoRegion
from chatspot_train.evaluation.suites.noise import (
    PAPER_ACCURACY,
    SCALES,
    Curve,
    Noise,
    accuracies,
    accuracy_parts,
    by_scale,
    draw_curves,
    item_of,
    paper_rows,
    rights,
    unanswered,
)  # fmt: skip

PAPER_HALLUCINATION = {0.0: 0.022, 0.1: 0.024, 0.2: 0.021, 0.3: 0.023}


@register
@dataclass(frozen=True)
class Hallucination(JudgingSuite):
    """The items of coco_region at every scale of box noise.

    `hallucination_noise_S` is the share of all answers that are wrong and name a thing whose true
    box overlaps the asked thing's with IoU > 0.5; the paper's numbers are taken as this share,
    which it does not define. `hallucination_of_wrong_noise_S` is the share of the wrong answers.
    """

    of: CocoRegion = field(default_factory=CocoRegion)
    scales: tuple[float, ...] = SCALES

    name = "hallucination"
    on_kitchen = True
    options = (*OWN_FILES, CLIP)
    headline: ClassVar[Mapping[str, str]] = {
        f"hallucination_noise_{scale:g}": f"names the neighbour, at a box noise of {scale:g}"
        for scale in SCALES
    }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(CocoRegion.of_boxes(options))

    @property
    def wants(self) -> str:
        """See Suite."""
        return self.of.wants

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite; the paper asks about COCO."""
        if not self.of.paper:
            return {}
        return paper_rows("accuracy", PAPER_ACCURACY) | paper_rows(
            "hallucination", PAPER_HALLUCINATION
        )

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite: the items of `noise`."""
        return Noise(self.of, self.scales).items(data, limit, seed)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite: the verdict of coco_region."""
        return self.of.right(predictions)

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite; a unit is an item of coco_region. Raises ValueError for no predictions."""
        right = rights(self.of, predictions)
        parts = accuracy_parts(right, unanswered(predictions))
        for scale, group in by_scale(predictions).items():
            judged = zip(group, self.of.hallucinated(group), strict=True)
            hits = {item_of(p): hit for p, hit in judged if not p.error}
            parts[f"hallucination_noise_{scale:g}"] = {
                item: (float(hit), 1.0) for item, hit in hits.items()
            }
            wrong = {item: (float(hit), 1.0) for item, hit in hits.items()
                     if not right[scale][item]}  # fmt: skip
            if wrong:
                parts[f"hallucination_of_wrong_noise_{scale:g}"] = wrong
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Accuracy and hallucination at each scale. Raises ValueError for no predictions."""
        groups = by_scale(predictions)
        rows = rows_of(self.parts(predictions))
        lines = [
            (f"{scale:g}", percent(self.paper.get(f"accuracy_noise_{scale:g}")),
             percent(rows[f"accuracy_noise_{scale:g}"]),
             percent(self.paper.get(f"hallucination_noise_{scale:g}")),
             percent(rows[f"hallucination_noise_{scale:g}"]),
             percent(rows.get(f"hallucination_of_wrong_noise_{scale:g}")), len(group))
            for scale, group in groups.items()
        ]  # fmt: skip
        table = markdown(
            ("noise", "accuracy, paper", "accuracy, ours", "hallucination, paper",
             "hallucination, ours", "of the wrong answers, ours", "n"),
            lines,
        )  # fmt: skip
        curves = [
            Curve("accuracy", accuracies(rows, groups), PAPER_ACCURACY if self.paper else {}),
            Curve(
                "hallucination",
                {scale: rows[f"hallucination_noise_{scale:g}"] for scale in groups},
                PAPER_HALLUCINATION if self.paper else {},
            ),
        ]
        return Report(rows, table, {"hallucination.png": draw_curves(curves)})
