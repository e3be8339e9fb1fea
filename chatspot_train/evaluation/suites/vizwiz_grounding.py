"""VizWiz-VQA-Grounding (the paper's Table 2): questions of blind people about a region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import SourceError
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, clean, load_json
from chatspot_train.data.sources.text_questions import majority
from chatspot_train.evaluation.dataset_files import (
    first_there,
    need_some,
    reading,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.metrics.text import contains, percent, vqa_accuracy
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    Prediction,
    RegionSuite,
    Report,
    markdown,
    need,
)

SHAPES = ("box", "polygon")


class _Corner(Schema):
    x: float
    y: float


class _Answer(Schema):
    answer: str


class _Entry(Schema):
    """`answers` are those of ten people, as texts or in VizWiz-VQA's form."""

    question: str
    answers: tuple[str | _Answer, ...] = ()
    most_common_answer: str = ""
    width: int
    height: int
    answer_grounding: tuple[_Corner, ...]


@register
@dataclass(frozen=True)
class VizWizGrounding(RegionSuite):
    """Each question about the region that shows its answer.

    `shape` is the form of the region: the grounding polygon, or the box around it, as the paper's
    model reads points and boxes. An answer is right if it contains the most common human answer as
    whole words; number words equal digits. The row `contains_plain` is the paper's: anywhere in the
    answer, as it is written.
    """

    split: str = "val"
    shape: str = "box"

    name = "vizwiz_grounding"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "contains": "contains the answer",
    }
    wants = (
        "give --data a folder with val_grounding.json and val/, both of VizWiz-VQA-Grounding "
        "(from vizwiz.org/tasks-and-datasets/answer-grounding-for-vqa)"
    )

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"the shape is {self.shape!r}, not one of {', '.join(SHAPES)}")

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {"contains_plain": 0.63}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite. Raises MissingDataError, SourceError."""
        file = need(data / f"{self.split}_grounding.json", self.wants)
        folder = first_there(data, (self.split, f"images/{self.split}"), self.wants)
        loaded = load_json(file)
        if not isinstance(loaded, dict):
            raise SourceError("the annotations are not one JSON object", value=file,
                              remedy=self.wants)  # fmt: skip
        found: list[Item] = []
        with reading(file, folder) as job:
            for name, raw in sorted(loaded.items()):
                with job.guard(name):
                    found.append(self._item(name, raw, folder))
            need_some(found, file, self.wants, job)
        chosen = sample(found, limit, seed)
        for item in chosen:
            need(folder / item.key, self.wants)
        return iter(chosen)

    def _item(self, name: str, raw: Any, folder: Path) -> Item:
        entry = _Entry.model_validate(raw)
        answers = [one if isinstance(one, str) else one.answer for one in entry.answers]
        answer = entry.most_common_answer.strip() or majority(answers)
        corners = [(corner.x, corner.y) for corner in entry.answer_grounding]
        if len(corners) < 3:
            raise SkipError("the grounding is no polygon", f"{len(corners)} corners")
        region = Region.polygon(corners).clipped(entry.width, entry.height)
        if self.shape == "box":
            region = Region.box(*region.box_xyxy_px)
        truth = {"answer": answer, "answers": answers, "size": [entry.width, entry.height]}
        turn = AskedTurn(f"{clean(entry.question)} <region>", (region,))
        return Item(name, folder / name, (turn,), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer with the most common one as whole words."""
        return [contains(p.text, p.truth["answer"], numbers=True) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        right = zip(predictions, self.right(predictions), strict=True)
        parts = {
            "contains": {p.key: (float(good), 1.0) for p, good in right},
            "contains_plain": {
                p.key: (float(contains(p.text, p.truth["answer"], whole_words=False)), 1.0)
                for p in predictions
            },
        }
        judged = [p for p in predictions if len(p.truth["answers"]) > 1]
        if judged:
            parts["vqa_accuracy"] = {
                p.key: (vqa_accuracy(p.text, p.truth["answers"]), 1.0) for p in judged
            }
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Share with the ground truth; the VQA challenge's accuracy over questions with several
        human answers. Raises ValueError for no predictions."""
        rows = self.rows(predictions)
        names = ("contains_plain", "contains", "vqa_accuracy")
        ours = (*(percent(rows.get(name)) for name in names), len(predictions))
        table = markdown(
            ("", "contains the ground truth", "as whole words", "VQA accuracy", "n"),
            [
                ("paper", percent(self.paper["contains_plain"]), "-", "-", "-"),
                (f"ours, by {self.shape}", *ours),
            ],
        )
        return Report(rows, table)
