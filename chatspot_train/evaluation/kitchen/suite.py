"""The simulated kitchen: questions of every kind about unseen kitchens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from chatspot_sim.kitchen import Split
from chatspot_sim.questions import KINDS
from chatspot_sim.stranger_wordings import measured
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import Wordings
from chatspot_train.evaluation.kitchen import export_public_formats
from chatspot_train.evaluation.kitchen.questions import (
    EXACT_ROW,
    NOISY_ROW,
    asked_turns,
    is_absent,
    is_right,
    kitchen_questions,
    names_neighbour,
    says_absent,
    truth_of,
)  # fmt: skip
from chatspot_train.evaluation.kitchen.render import render_kitchens
from chatspot_train.evaluation.kitchen.render import truth_of as truth_of_picture
from chatspot_train.evaluation.metrics.intervals import Parts, mean_of
from chatspot_train.evaluation.registry import register, suites
from chatspot_train.evaluation.report import headline_table
from chatspot_train.evaluation.suite import (
    Item,
    JudgingSuite,
    Option,
    Prediction,
    Report,
    Suite,
    SuiteOptionError,
)

KITCHENS = 100
SPLITS: tuple[Split, ...] = ("val", "test")
WORDINGS = ("own", "strangers")
KIND_ROWS = ("name_box", "name_point", "name_polygon", *(k for k in KINDS if k != "name"))


@register
@dataclass(frozen=True)
class KitchenSuite(JudgingSuite):
    """One dialogue of every kind about every kitchen; the last answer counts.

    Missing images are rendered into the data folder. Without a limit the first `kitchens` of the
    split are asked; the seed draws the questions.
    """

    split: Split = "test"
    kitchens: int = KITCHENS
    only_kitchen: bool = False
    wordings: Wordings = field(default_factory=lambda: TEST)
    by_strangers: bool = False

    name = "kitchen"
    headline: ClassVar[Mapping[str, str]] = {
        "name_box": "name the thing in a box",
        "name_point": "name the thing under a point",
        "name_polygon": "name the thing in a polygon",
        "part": "name a part of a thing",
        "colour": "colour of the thing in a region",
        "state": "state of a thing, all attributes right",
        "yes_no": "is it open, on, running, full, plugged in",
        "read": "two digits or a printed word",
        "count": "how many of a kind are in the picture",
        "relation": "how one region stands to another",
        "describe": "describe a region, all facts right",
        "scene": "list what is in the picture, F1 of kinds at least 0.75",
        "is_there": "whether a thing is there, in a region or the picture",
        "locate": "answer with a box, IoU above 0.5, or say that it is not there",
        "plan": "right steps in the right order",
        "follow_up": '"and this?" after an earlier question',
        EXACT_ROW: "name the thing in its exact box",
        NOISY_ROW: "name the thing in a box moved by 0.3",
        "absent_f1": "F1 of saying that a thing is absent",
        "noise_drop_03": "accuracy lost from exact boxes to ones moved by 0.3 of their sides",
        "hallucination": "wrong, and names a thing whose box overlaps the asked one (IoU > 0.5)",
        "wording_mean": "mean of the rows by kind, in strangers' wordings",
    }
    lower_is_better = ("noise_drop_03", "hallucination")
    makes_data = True
    options = (
        Option("split", "val or test (default)"),
        Option("only_kitchen", "leave out the other suites on its images", None),
        Option(
            "wordings", "own (default), or strangers: wordings that nobody of the project wrote"
        ),
    )
    wants = "nothing: its images are rendered"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        split = options.get("split") or "test"
        if split not in SPLITS:
            raise SuiteOptionError(
                "the kitchen has no such split", value=split, remedy=f"use {' or '.join(SPLITS)}"
            )
        wordings = options.get("wordings") or "own"
        if wordings not in WORDINGS:
            raise SuiteOptionError(
                "the kitchen has no such wordings", value=wordings,
                remedy=f"use {' or '.join(WORDINGS)}",
            )  # fmt: skip
        strangers = wordings == "strangers"
        return cls(split, only_kitchen=bool(options.get("only_kitchen")),
                   wordings=measured() if strangers else TEST, by_strangers=strangers)  # fmt: skip

    def companions(self, data: Path, limit: int) -> dict[str, Suite]:
        """See Suite: all suites that can be asked about the kitchen's files."""
        if self.only_kitchen:
            return {}
        export_public_formats.write(data, limit or self.kitchens)
        return {
            prefix: variant
            for suite in suites().values()
            for prefix, variant in suite.kitchen_variants(data).items()
        }

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `limit` counts kitchens. Raises RenderError."""
        pictures = render_kitchens(data, self.split, limit or self.kitchens)
        for number, picture in enumerate(pictures):
            truth = truth_of_picture(picture)
            for row, dialogue in kitchen_questions(truth, number, self.wordings, seed):
                told = truth_of(row, number, dialogue[-1], truth)
                yield Item(f"{self.split}-{number}-{row}", picture, asked_turns(dialogue), told)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite."""
        return [is_right(p) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite: the share of right answers by kind of question, and rows over several kinds.

        `absent_f1` is over all questions for presence and place; `noise_drop_03` counts kitchens,
        other rows questions; `hallucination` is the share of things named by their boxes with a
        wrong answer that names a neighbour (paper, Table 3). These two leave missing answers out.
        """
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        pairs: dict[str, dict[str, bool]] = defaultdict(dict)
        for p, right in zip(predictions, self.right(predictions), strict=True):
            row = p.truth["row"]
            parts[row][p.key] = (float(right), 1.0)
            if row in ("is_there", "locate"):
                said, true = says_absent(p), is_absent(p)
                parts["absent_f1"][p.key] = (2.0 * (said and true), float(said + true))
            if row in ("name_box", EXACT_ROW) and not p.error:
                wrong = not right and names_neighbour(p)
                parts["hallucination"][p.key] = (float(wrong), 1.0)
            if row in (EXACT_ROW, NOISY_ROW) and not p.error:
                pairs[f"{p.truth['split']}-{p.truth['kitchen']}"][row] = right
        for kitchen, found in pairs.items():
            if len(found) == 2:
                lost = float(found[EXACT_ROW]) - float(found[NOISY_ROW])
                parts["noise_drop_03"][kitchen] = (lost, 1.0)
        if self.by_strangers:
            parts["wording_mean"] = dict(mean_of([parts[row] for row in KIND_ROWS if row in parts]))
        return {row: parts[row] for row in self.headline if row in parts}

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """See Suite."""
        rows = self.rows(predictions)
        return Report(rows, headline_table(rows, self.headline))
