"""COCO-Text (the paper's Table 2): reading the words in boxes of COCO's pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from chatspot_train.sources.base import Job
from chatspot_train.sources.coco_text import SOURCE
from chatspot_train.sources.reading import Schema, box_xywh, clean
from chatspot_train.sources.report import SkipError
from chatspot_train.suites.base import AskedTurn, Item, Predicted, Report, markdown, need
from chatspot_train.suites.files import first_there, reading, sample
from chatspot_train.suites.scores import Row, share
from chatspot_train.suites.texts import (
    contains,
    equal,
    mean,
    normalised_edit_distance,
    percent,
)  # fmt: skip

QUESTION = "What text can you see in this region? <region>"
PAPER_CONTAINS = "31.8"
ENGLISH = "english"


class _Image(Schema):
    file_name: str
    width: int
    height: int


class _Word(Schema):
    bbox: tuple[float, ...]
    legibility: str
    language: str
    utf8_string: str = ""
    kind: str = Field("", alias="class")


@dataclass(frozen=True)
class CocoText:
    """Asks for the text in each word's box of a split (`set`: train, val or test).

    Illegible words are not asked about: COCO-Text gives no text for them. Words in other languages
    are left out as well, as their text is often missing or stands for signs; `all_languages` asks
    about those that have one, and reports them in rows of their own besides.
    """

    split: str = "val"
    all_languages: bool = False

    name = "coco_text"
    wants = (
        "give --data a folder with cocotext.v2.json (from bgshih.github.io/cocotext) and "
        "train2014/ (2014 Train images from cocodataset.org)"
    )

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """One question a word. Raises MissingDataError, SourceError."""
        file = need(data / "cocotext.v2.json", self.wants)
        folder = first_there(data, ("train2014", "images/train2014"), self.wants)
        with reading(file, folder, self.split) as job:
            found = [
                item
                for where, raw in SOURCE.entries(job)
                for item in self._picture(where, raw, folder, job)
            ]
        chosen = sample(found, limit, seed)
        for picture in {item.image for item in chosen if isinstance(item.image, Path)}:
            need(picture, self.wants)
        return iter(chosen)

    def _picture(self, where: str, raw: Any, folder: Path, job: Job) -> Iterator[Item]:
        _, loaded, words = raw
        with job.guard(where):
            image = _Image.model_validate(loaded)
            for key, one in words:
                with job.guard(f"anns[{key}]"):
                    yield self._item(str(key), _Word.model_validate(one), image, folder)

    def _item(self, key: str, word: _Word, image: _Image, folder: Path) -> Item:
        if word.legibility != "legible":
            raise SkipError("the text is not legible", word.legibility)
        if word.language != ENGLISH and not self.all_languages:
            raise SkipError("the text is not English", word.language)
        region = box_xywh(word.bbox).clipped(image.width, image.height)
        turn = AskedTurn(QUESTION, (region,), "read")
        truth = {"text": clean(word.utf8_string), "language": word.language, "kind": word.kind,
                 "size": [image.width, image.height]}  # fmt: skip
        return Item(key, folder / image.file_name, (turn,), truth)

    def right(self, predictions: Sequence[Predicted]) -> list[bool]:
        """Whether each answer contains the text, by the paper's rule: anywhere in it."""
        return [contains(p.text, p.truth["text"], whole_words=False) for p in predictions]

    def score(self, predictions: Sequence[Predicted]) -> Report:
        """Shares that contain the text (anywhere, and as whole words) and that equal it, and the
        mean edit distance over the longer text's length (0 is best). Raises ValueError for none."""
        if not predictions:
            raise ValueError("no answers to score")
        groups = {"": list(predictions)}
        for field in ("kind", "language"):
            values = sorted({p.truth[field] for p in predictions})
            for value in values if len(values) > 1 else []:
                groups[f" ({value})"] = [p for p in predictions if p.truth[field] == value]
        rows: dict[str, Row] = {}
        lines: list[Sequence[object]] = [("paper", PAPER_CONTAINS, "-", "-", "-", "-")]
        for suffix, group in groups.items():
            found = self._rows(group)
            rows |= {f"{name}{suffix}": row for name, row in found.items()}
            shares = [percent(found[name]) for name in ("contains", "contains_words", "exact")]
            lines.append((f"ours{suffix}", *shares, found["edit_distance"]["value"], len(group)))
        header = ("", "contains", "contains, whole words", "exact", "edit distance", "n")
        return Report(rows, markdown(header, lines))

    def _rows(self, group: Sequence[Predicted]) -> dict[str, Row]:
        pairs = [(p.text, p.truth["text"]) for p in group]
        return {
            "contains": share(self.right(group)),
            "contains_words": share([contains(said, true) for said, true in pairs]),
            "exact": share([equal(said, true) for said, true in pairs]),
            "edit_distance": mean([normalised_edit_distance(said, true) for said, true in pairs]),
        }
