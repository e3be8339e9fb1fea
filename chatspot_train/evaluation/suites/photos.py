"""Photographs: what a model says about a COCO file, notes and an image folder, one's own too.

The keys of the rows stay the same for any files; their words tell what they are of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from chatspot_ros.core.boxes import iou
from chatspot_train.evaluation.dataset_files import sample
from chatspot_train.evaluation.metrics.calibration import calibration_error
from chatspot_train.evaluation.metrics.category_match import PlainTextMatcher
from chatspot_train.evaluation.metrics.intervals import Part, Parts, Row, mean_of
from chatspot_train.evaluation.metrics.short_answers import right_by_words, says_yes
from chatspot_train.evaluation.metrics.text import contains, denies
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.report import headline_table
from chatspot_train.evaluation.suite import (
    NO_READER,
    Item,
    JudgingSuite,
    MissingDataError,
    NoAnswersError,
    Option,
    Prediction,
    Report,
    SuiteOptionError,
)
from chatspot_train.evaluation.suites.coco_pictures import OWN_FILES
from chatspot_train.evaluation.suites.photo_questions import Folders, coco_items, note_items

LOCATE_IOU = 0.5
DRAWS = 300
MOST_IN_ONE = 64
NAME_ROWS = ("photo_door_name", "photo_grocery", "photo_carton_read", "photo_carton_plain")


@register
@dataclass(frozen=True)
class PhotosSuite(JudgingSuite):
    """Questions about photographs in wordings that no model was taught.

    `annotations` is of COCO's form and `notes` of the source `notes`; both name pictures in
    `images`. `folders` has a folder for each class. Each may be left out.
    """

    annotations: Path | None = None
    images: Path | None = None
    notes: Path | None = None
    folders: Folders | None = None

    name = "photos"
    headline: ClassVar[Mapping[str, str]] = {
        "photo_questions": "free questions of the notes, short answer right by its words",
        "photo_door_name": "name the thing in a box, among the file's categories",
        "photo_fridge_state": "attribute of the thing in a box, mean over its values",
        "photo_grocery": "coarser kind of a picture, several laid into one",
        "photo_carton_read": "exact kind of a picture, with the text reader",
        "photo_carton_plain": "exact kind of a picture, without it",
        "photo_locate": "box of a thing that is there once, IoU above 0.5",
        "photo_absent_f1": "F1 of saying that a thing is not there",
        "photo_ece": "expected calibration error over these answers, 0 is best",
        "photo_unknown_uncertain": "pictures of things never taught, marked `uncertain`",
    }
    lower_is_better = ("photo_ece",)
    options = (
        *OWN_FILES,
        Option("notes", "your own notes about pictures in --images, JSON lines", Path),
        Option("folders", "a folder of pictures for each class", Path),
        Option("classes", "CSV or JSON file: folder, its coarser kind", Path),
        Option("mosaic", "how many pictures are laid into one (4)", int),
        Option("exact", "folders or kinds whose exact names are asked for, with commas"),
        Option("unknown", "folders or kinds that the model was never taught, with commas"),
    )
    wants = (
        "give --annotations (COCO's form) or --notes with --images, or --folders, the folder of "
        "the classes' folders"
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        paths = {name: options.get(name) for name in ("annotations", "images", "notes", "folders")}
        found = {name: path.absolute() if path else None for name, path in paths.items()}
        if (found["annotations"] or found["notes"]) and not found["images"]:
            raise SuiteOptionError(
                "own data needs its pictures", value=found["annotations"] or found["notes"],
                remedy="give --images too",
            )  # fmt: skip
        mosaic = 4 if options.get("mosaic") is None else options["mosaic"]
        if not 1 <= mosaic <= MOST_IN_ONE:
            raise SuiteOptionError(
                "a mosaic has no such number of pictures", value=mosaic,
                remedy=f"use 1 to {MOST_IN_ONE} with --mosaic",
            )  # fmt: skip
        folders = found.pop("folders")
        return cls(**found, folders=folders and Folders(
            folders, options.get("classes"), mosaic,
            _names(options.get("exact")), _names(options.get("unknown")),
        ))  # fmt: skip

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite: all about one picture follow each other. Raises MissingDataError."""
        if not (self.annotations or self.notes or self.folders):
            raise MissingDataError("the suite photos has no data of its own", value="no files",
                                   remedy=self.wants)  # fmt: skip
        groups: dict[Any, list[Item]] = defaultdict(list)
        for picture, item in self._found(seed):
            groups[picture].append(replace(item, image=picture))
        yield from sample([item for group in groups.values() for item in group], limit, seed)

    def _found(self, seed: int) -> Iterator[tuple[Any, Item]]:
        if self.images and self.notes:
            yield from note_items(self.notes, self.images, self.wants)
        if self.images and self.annotations:
            yield from coco_items(self.annotations, self.images, self.wants, seed)
        if self.folders:
            yield from self.folders.items(self.wants, seed)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """See JudgingSuite. A name is right if the nearest of all names, by its words, is the
        truth; a free answer by `metrics.short_answers`; an unknown thing if it is uncertain."""
        return [not p.error and _right(p) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite. `photo_fridge_state` is the mean over the values of each attribute."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        by_value: dict[tuple[str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
        for p, right in zip(predictions, self.right(predictions), strict=True):
            row, one = p.truth["row"], (float(right), 1.0)
            if row == "photo_fridge_state":
                by_value[p.truth["attribute"], p.truth["value"]][p.key] = one
            elif row in self.headline and p.error != NO_READER:
                parts[row][p.key] = one
            if row in ("there", "photo_locate", "locate_absent"):
                said = not p.error and not p.boxes_xyxy_px and denies(p.text)
                true = row == "locate_absent" or p.truth.get("there") is False
                parts["photo_absent_f1"][p.key] = (2.0 * (said and true), float(said + true))
        found: dict[str, Part] = dict(parts)
        if by_value:
            found["photo_fridge_state"] = mean_of(list(by_value.values()))
        return {row: found[row] for row in self.headline if row in found}

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """See Suite. `photo_ece` is over all answers but those about unknown things."""
        rows = self.rows(predictions)
        sure = [p for p in predictions
                if not p.error and p.truth["row"] != "photo_unknown_uncertain"]  # fmt: skip
        if sure:
            rows["photo_ece"] = _ece(
                np.array([p.confidence for p in sure], float),
                np.array(self.right(sure), float),
            )
        if not rows:
            raise NoAnswersError
        ordered = {row: rows[row] for row in self.headline if row in rows}
        return Report(ordered, "\n\n".join([headline_table(ordered, self.headline),
                                            _by_name(predictions)]).strip())  # fmt: skip


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in (text or "").split(",") if one.strip())


def _right(p: Prediction) -> bool:
    row, told = p.truth["row"], p.truth
    if row in NAME_ROWS:
        nearest = PlainTextMatcher().match([p.text], told["names"])[0]
        return nearest is not None and bool(told["names"][nearest] == told["answer"])
    if row == "photo_questions":
        return right_by_words(p.text, told["answer"])
    if row == "photo_fridge_state":
        return _state_is_right(p.text, told)
    if row == "photo_locate":
        return bool(p.boxes_xyxy_px) and iou(p.boxes_xyxy_px[0], tuple(told["box"])) > LOCATE_IOU
    if row == "there":
        named = says_yes(p.text) is True or contains(p.text, told["thing"])
        return (named and not denies(p.text)) if told["there"] else denies(p.text)
    if row == "locate_absent":
        return not p.boxes_xyxy_px and denies(p.text)
    return p.uncertain


def _state_is_right(text: str, told: Mapping[str, Any]) -> bool:
    """True if the answer says yes or no as the truth does; without either, if it names the value
    and no other."""
    true, said = says_yes(told["answer"]), says_yes(text)
    if true is not None and said is not None:
        return said == true
    named = [value for value in told["values"] if contains(text, value)]
    return named == [told["value"]]


def _ece(confidence: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Row:
    """Return the calibration error with the bootstrap's interval over answers."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(right), size=len(right)) for _ in range(DRAWS))
    values = [calibration_error(confidence[k], right[k]) for k in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    return {"value": calibration_error(confidence, right), "n": len(right), "low": float(low),
            "high": float(high)}  # fmt: skip


def _by_name(predictions: Sequence[Prediction]) -> str:
    """Return the most frequent wrong names as a list in Markdown; empty for none."""
    wrong = Counter(
        (p.truth["row"], p.truth["answer"], " ".join(p.text.split())[:40]) for p in predictions
        if p.truth["row"] in NAME_ROWS and not p.error and not _right(p)
    )  # fmt: skip
    lines = [f"- `{row}`: {true}, named {said!r}: {count} times"
             for (row, true, said), count in wrong.most_common(12)]  # fmt: skip
    return "\n".join(["Most frequent wrong names:", "", *lines]) if lines else ""
