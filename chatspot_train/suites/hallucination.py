"""Region-referring hallucination (the paper's Table 3): wrong answers that name the neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chatspot_train.suites.base import Item, Predicted, Report, markdown
from chatspot_train.suites.coco_region import CocoRegion
from chatspot_train.suites.noise import (
    PAPER_ACCURACY,
    SCALES,
    Curve,
    Noise,
    RegionSuite,
    accuracy_rows,
    by_scale,
    draw_curves,
    percent_or_dash,
)  # fmt: skip
from chatspot_train.suites.scores import Row, share
from chatspot_train.suites.texts import percent

PAPER_HALLUCINATION = {0.0: 0.022, 0.1: 0.024, 0.2: 0.021, 0.3: 0.023}


class NamingSuite(RegionSuite, Protocol):
    """A region suite whose answers name things, and that knows which others overlap the asked."""

    def hallucinated(self, predictions: Sequence[Predicted]) -> list[bool]:
        """Whether each answer is wrong and names a thing whose box overlaps with IoU > 0.5."""


@dataclass(frozen=True)
class Hallucination:
    """Asks a naming suite at every scale of box noise.

    `hallucination_noise_S` is the share of all answers that are wrong and name a thing whose true
    box overlaps the asked thing's with IoU > 0.5; the paper's numbers are read so, as it does not
    say of what they are a share. `hallucination_of_wrong_noise_S` is the share of the wrong ones.
    """

    of: NamingSuite = field(default_factory=CocoRegion)
    scales: tuple[float, ...] = SCALES

    name = "hallucination"

    @property
    def wants(self) -> str:
        """What the naming suite wants."""
        return self.of.wants

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """Every item at every scale, as `noise` asks them."""
        return Noise(self.of, self.scales).items(data, limit, seed)

    def score(self, predictions: Sequence[Predicted]) -> Report:
        """Accuracy and hallucination at each scale. Raises ValueError for no predictions."""
        groups = by_scale(predictions)
        right = {scale: self.of.right(group) for scale, group in groups.items()}
        named = {scale: self.of.hallucinated(group) for scale, group in groups.items()}
        rows: dict[str, Row] = accuracy_rows(right)
        for scale, hits in named.items():
            rows[f"hallucination_noise_{scale:g}"] = share(hits)
            wrong = [hit for hit, good in zip(hits, right[scale], strict=True) if not good]
            if wrong:
                rows[f"hallucination_of_wrong_noise_{scale:g}"] = share(wrong)
        lines = [
            (f"{scale:g}", percent_or_dash(PAPER_ACCURACY.get(scale)),
             percent(rows[f"accuracy_noise_{scale:g}"]),
             percent_or_dash(PAPER_HALLUCINATION.get(scale)),
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
            Curve("accuracy", {k: share(hits) for k, hits in right.items()}, PAPER_ACCURACY),
            Curve("hallucination", {k: share(hits) for k, hits in named.items()},
                  PAPER_HALLUCINATION),
        ]  # fmt: skip
        return Report(rows, table, {"hallucination.png": draw_curves(curves)})
