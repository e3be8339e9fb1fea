"""Refusal: a model should deny a thing that is not in the region.

Each region of a COCO-like file is asked about twice: whether the thing in it is there, and whether
one of another category is, drawn by the seed. Absent things are drawn in turn from elsewhere in the
picture (`elsewhere`: no box or crowd of the category touches the region), where there are such, and
from what the whole picture has none of (`nowhere`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from chatspot_ros.core.boxes import ious
from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import Entry, Job
from chatspot_train.data.sources.coco import CocoAnnotation, CocoImage, load_coco
from chatspot_train.data.sources.conversion_report import ENTRY_ERRORS, SkipError
from chatspot_train.data.sources.json_reader import box_xywh
from chatspot_train.evaluation.dataset_files import (
    need_some,
    reading,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.metrics.text import denies
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    Prediction,
    Report,
    markdown,
)
from chatspot_train.evaluation.suites.coco_pictures import (
    COCO_VAL,
    OWN_FILES,
    WANTS_OWN,
    CocoFiles,
    image_path,
)

QUESTION = "Is there {a_thing} in <region>?"
LEAST_SIDE_PX = 16.0
KINDS = ("elsewhere", "nowhere")


@dataclass(frozen=True)
class _Asked:
    """A region, its annotation, and the absent categories to ask for."""

    annotation: CocoAnnotation
    box: Region
    elsewhere: tuple[int, ...]
    nowhere: tuple[int, ...]


@register
class RefusalSuite(JudgingSuite):
    """Two questions about each region of a COCO-like file; `limit` counts questions.

    `question` holds `{a_thing}` and `<region>`; regions with a side below `least_side_px` are left
    out.
    """

    name = "refusal"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "refusals": "denies what is absent",
        "false_denials": "denies what is present, 0 is best",
    }

    options = OWN_FILES

    def __init__(
        self,
        files: CocoFiles = COCO_VAL,
        question: str = QUESTION,
        least_side_px: float = LEAST_SIDE_PX,
    ) -> None:
        self.files, self.question, self.least_side_px = files, question, least_side_px

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(CocoFiles.from_options(options))

    @property
    def wants(self) -> str:
        """See Suite."""
        return WANTS_OWN if self.files.own else (
            f"give --data a folder with {self.files.annotations} in COCO's format and its pictures "
            f"in {self.files.images}/, or your own files with --annotations and --images"
        )  # fmt: skip

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """Yield two items for each drawn region: the present thing, then an absent one."""
        path, folder = self.files.find(data, self.wants)
        regions: list[tuple[CocoImage, _Asked]] = []
        with reading(path, folder) as job:
            coco = load_coco(path, job)
            names, groups = coco.names, coco.by_image(job)
            # In people's own files a category without annotations may be a group of others.
            sought = coco.annotated() if self.files.own else set(names)
            for where, raw in coco.images:
                with job.guard(where):
                    picture = CocoImage.model_validate(raw)
                    group = _annotations(groups.get(picture.id, []), job)
                    some = [(picture, one) for one in self._regions(group, picture, names, sought)]
                    if not some:
                        raise SkipError("no region of the picture is fit to be asked about")
                    regions += some
            need_some(regions, path, self.wants, job)
        for number, (picture, asked) in enumerate(sample(regions, (limit + 1) // 2, seed)):
            pair = self._pair(folder, picture, asked, names, number, seed)
            yield from pair[:1] if limit and 2 * number + 1 == limit else pair

    def _regions(
        self, group: list[CocoAnnotation], picture: CocoImage, names: Mapping[Any, str],
        sought: Set[Any],
    ) -> Iterator[_Asked]:  # fmt: skip
        boxes: list[tuple[CocoAnnotation, Region]] = []
        unplaced: set[int] = set()
        for annotation in group:
            try:
                box = box_xywh(annotation.bbox).clipped(picture.width, picture.height)
                boxes.append((annotation, box))
            except ENTRY_ERRORS:
                unplaced.add(annotation.category_id)
        present = {annotation.category_id for annotation in group}
        nowhere = tuple(sorted(sought - present))
        overlaps = ious([b.box_xyxy_px for _, b in boxes], [b.box_xyxy_px for _, b in boxes])
        for (annotation, box), overlap in zip(boxes, overlaps, strict=True):
            x1, y1, x2, y2 = box.box_xyxy_px
            if annotation.iscrowd or min(x2 - x1, y2 - y1) < self.least_side_px:
                continue
            inside = {boxes[k][0].category_id for k in np.flatnonzero(overlap > 0)}
            elsewhere = tuple(sorted((present & set(names)) - inside - unplaced))
            if annotation.category_id in names and (nowhere or elsewhere):
                yield _Asked(annotation, box, elsewhere, nowhere)

    def _pair(
        self, folder: Path, picture: CocoImage, asked: _Asked, names: dict[int, str], number: int,
        seed: int,
    ) -> list[Item]:  # fmt: skip
        image = image_path(picture, folder, self.wants)
        rng = random.Random(f"{seed} {asked.annotation.id}")
        kind = "elsewhere" if asked.elsewhere and (number % 2 or not asked.nowhere) else "nowhere"
        absent = rng.choice(asked.elsewhere if kind == "elsewhere" else asked.nowhere)
        base: dict[str, Any] = {"box": list(asked.box.box_xyxy_px)}
        return [
            Item(
                f"{asked.annotation.id}/{said}", image,
                (AskedTurn(self.question.format(a_thing=_with_article(names[category])),
                           (asked.box,)),),
                {**base, "thing": names[category], "kind": said},
            )
            for said, category in (("present", asked.annotation.category_id), (kind, absent))
        ]  # fmt: skip

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each denial of an absent thing and each other answer to a present one."""
        return [
            denies(p.text) if p.truth["kind"] in KINDS else bool(p.text) and not denies(p.text)
            for p in predictions
        ]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for p, right in zip(predictions, self.right(predictions), strict=True):
            denied, absent = denies(p.text), p.truth["kind"] in KINDS
            found = {
                "refusals": (denied and absent, absent),
                "false_denials": (denied and not absent, not absent and not p.error),
                "precision": (denied and absent, denied),
                "f1": (2 * (denied and absent), denied + absent),
                "accuracy": (right, True),
            }
            if absent:
                found[f"refusals/{p.truth['kind']}"] = (denied, True)
            for row, (numerator, denominator) in found.items():
                parts[row][p.key] = (float(numerator), float(denominator))
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """`refusals`: share of absent things denied (recall of a denial), also by kind;
        `false_denials`: share of present things denied; precision and F1 of a denial."""
        rows = self.rows(predictions)
        lines = [[name, int(row["n"]), row["value"], row["low"], row["high"]]
                 for name, row in sorted(rows.items())]  # fmt: skip
        return Report(rows, markdown(["refusal", "n", "value", "low", "high"], lines))


def _annotations(entries: Sequence[Entry], job: Job) -> list[CocoAnnotation]:
    found = []
    for where, raw in entries:
        with job.guard(where):
            found.append(CocoAnnotation.model_validate(raw))
            if found[-1].iscrowd:
                job.report.drop(job.annotations, where, SkipError("the annotation is a crowd"))
    return found


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
