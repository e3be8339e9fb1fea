"""PointQA (the paper's Table 2): questions that depend on a point or box."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import Job, Source
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import clean
from chatspot_train.data.sources.pointqa import (
    LEVELS,
    LOCAL,
    LOOK_TWICE,
    LookTwice,
    box_region,
    local_questions,
    point_region,
)  # fmt: skip
from chatspot_train.evaluation.dataset_files import (
    first_there,
    need_some,
    reading,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.metrics.text import contains, percent
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    MissingDataError,
    Prediction,
    RegionSuite,
    Report,
    markdown,
    need,
)  # fmt: skip

SHAPES = ("box", "point")
PAPER = {"box": "68.2", "point": "62.0"}
SOURCES: dict[str, Source] = {"looktwice": LOOK_TWICE, "local": LOCAL}


@dataclass(frozen=True)
class _Asked:
    """A question about one region; `level` is empty for Local-QA."""

    key: str
    names: tuple[str, ...]
    level: str
    shape: str
    question: str
    region: Region
    answer: str


@register
@dataclass(frozen=True)
class PointQa(RegionSuite):
    """Every question of the chosen kinds, with a box and with a point.

    `datasets`: looktwice (a count; three levels of question) and local (an attribute of the
    thing), each with the split to ask. An answer is right when it contains the ground truth as
    whole words, number words and digits being the same. Rows `..._plain` are the paper's: anywhere
    in the answer, as it is written.
    """

    datasets: tuple[str, ...] = ("looktwice", "local")
    shapes: tuple[str, ...] = SHAPES
    levels: tuple[str, ...] = LEVELS
    looktwice_split: str = "test"
    local_split: str = "testfinal"

    name = "pointqa"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "local_box": "local, by box",
        "local_point": "local, by point",
        "looktwice_box": "look-twice, by box",
        "looktwice_point": "look-twice, by point",
    }
    wants = (
        "give --data a folder with Datasets/ (from github.com/princetonvisualai/pointingqa) and "
        "Visual Genome's VG_100K/ and VG_100K_2/ (from visualgenome.org), or images/ around them"
    )

    @classmethod
    def of_boxes(cls, options: Mapping[str, Any]) -> Self:
        """See RegionSuite."""
        return cls(shapes=("box",))

    def __post_init__(self) -> None:
        for given, known in ((self.datasets, SOURCES), (self.shapes, SHAPES),
                             (self.levels, LEVELS)):  # fmt: skip
            if not given or not set(given) <= set(known):
                raise ValueError(f"{', '.join(given)!r} is not some of {', '.join(known)}")

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite. Raises MissingDataError, SourceError."""
        folder = first_there(data, ("images", "VG_100K"), self.wants)
        folder = data if folder.name == "VG_100K" else folder
        asked: list[tuple[str, _Asked]] = []
        for dataset in self.datasets:
            split = self.looktwice_split if dataset == "looktwice" else self.local_split
            asked += [(dataset, one) for one in self._asked(dataset, split, data, folder)]
        found: list[Item] = []
        with reading(data, folder) as job:
            for dataset, one in sample(asked, limit, seed):
                with job.guard(one.key):
                    found.append(self._item(dataset, one, job))
            need_some(found, data, self.wants, job)
        return iter(sorted(found, key=lambda item: str(item.image)))

    def _asked(self, dataset: str, split: str, data: Path, folder: Path) -> list[_Asked]:
        source = SOURCES[dataset]
        layout = Path(source.annotations)
        file = first_there(data, (str(layout), layout.name), self.wants)
        need(file.with_name(f"{file.stem.removesuffix('_dataset')}_{split}_imgs.json"), self.wants)
        found: list[_Asked] = []
        with reading(file, folder, split) as job:
            for where, raw in source.entries(job):
                with job.guard(where):
                    read = self._look_twice if dataset == "looktwice" else self._local
                    found += read(raw, where, job)
            need_some(found, file, self.wants, job)
        return found

    def _look_twice(self, raw: Any, where: str, job: Job) -> Iterator[_Asked]:
        key, names, loaded, _ = raw
        entry = LookTwice.model_validate(loaded)
        answer = clean(entry.answer)
        for level in self.levels:
            question = getattr(entry, level).strip()
            for shape in self.shapes if question else ():
                region = point_region(entry.point) if shape == "point" else box_region(entry.bbox)
                name = f"looktwice-{key}-{level}-{shape}"
                yield _Asked(name, names, level, shape, question, region, answer)

    def _local(self, raw: Any, where: str, job: Job) -> Iterator[_Asked]:
        key, names, loaded, _ = raw
        for k, (question, answer, box, point) in enumerate(local_questions(loaded, where, job)):
            for shape in self.shapes:
                with job.guard(f"{where}.points[{k}]"):
                    region = point_region(point) if shape == "point" else box_region(box)
                    name = f"local-{key}-{k}-{shape}"
                    yield _Asked(name, names, "", shape, clean(question), region, clean(answer))

    def _item(self, dataset: str, one: _Asked, job: Job) -> Item:
        try:
            picture = job.pictures.find(one.names)
        except SkipError as error:
            raise MissingDataError("a picture is missing", value=error.detail,
                                   remedy=self.wants) from error  # fmt: skip
        width, height = job.pictures.size(picture)
        turn = AskedTurn(f"{one.question} <region>", (one.region.clipped(width, height),))
        truth = {"dataset": dataset, "level": one.level, "shape": one.shape,
                 "answer": one.answer, "size": [width, height]}  # fmt: skip
        return Item(one.key, job.pictures.folder / picture, (turn,), truth)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer with the ground truth as whole words."""
        return [contains(p.text, p.truth["answer"], numbers=True) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p, good in zip(predictions, self.right(predictions), strict=True):
            dataset, level, shape = (p.truth[k] for k in ("dataset", "level", "shape"))
            levels = [f"{dataset}_{level.removesuffix('_question')}"] if level else []
            plain = contains(p.text, p.truth["answer"], whole_words=False)
            for name in (dataset, *levels):
                parts[f"{name}_{shape}"][p.key] = (float(good), 1.0)
                parts[f"{name}_{shape}_plain"][p.key] = (float(plain), 1.0)
        return dict(sorted(parts.items()))

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Share of right answers by data set, level and shape.

        Raises ValueError for no predictions.
        """
        rows = self.rows(predictions)
        names = sorted({name.removesuffix("_plain").rpartition("_")[0] for name in rows})
        lines = []
        for name in names:
            found = [rows.get(f"{name}_{shape}") for shape in SHAPES]
            plain = [rows.get(f"{name}_{shape}_plain") for shape in SHAPES]
            count = sum(int(row["n"]) for row in found if row is not None)
            lines.append((f"ours, {name}", *map(percent, (*plain, *found)), count))
        asked = "paper (does not say which questions)"
        paper = (asked, PAPER["box"], PAPER["point"], "-", "-", "-")
        header = ("", "box", "point", "box, as whole words", "point, as whole words", "n")
        return Report(rows, markdown(header, [paper, *lines]))
