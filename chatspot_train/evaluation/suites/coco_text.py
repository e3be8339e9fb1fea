"""COCO-Text (the paper's Table 2): reading the words in boxes of COCO's pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from chatspot_train.data.sources.base import Job
from chatspot_train.data.sources.coco_text import SOURCE
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, box_xywh, clean
from chatspot_train.evaluation.dataset_files import (
    first_there,
    need_some,
    reading,
    sample,
)
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.metrics.text import (
    contains,
    equal,
    normalised_edit_distance,
    percent,
)
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

QUESTION = "What text can you see in this region? <region>"
ENGLISH = "english"
SHARES = ("contains", "contains_words", "exact")


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


@register
@dataclass(frozen=True)
class CocoText(RegionSuite):
    """One question about the text in each word's box of a split (train, val or test).

    Illegible words are left out: COCO-Text has no text for them. Words in other languages are left
    out too, as their text is often missing; `all_languages` asks about those with a text and
    reports them in further rows.
    """

    split: str = "val"
    all_languages: bool = False

    name = "coco_text"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "contains": "contains the text",
        "edit_distance": "edit distance over the length, 0 is best",
    }
    wants = (
        "give --data a folder with cocotext.v2.json (from bgshih.github.io/cocotext) and "
        "train2014/ (2014 Train images from cocodataset.org)"
    )

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {"contains": 0.318}

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite. Raises MissingDataError, SourceError."""
        file = need(data / "cocotext.v2.json", self.wants)
        folder = first_there(data, ("train2014", "images/train2014"), self.wants)
        with reading(file, folder, self.split) as job:
            found = [
                item
                for where, raw in SOURCE.entries(job)
                for item in self._picture(where, raw, folder, job)
            ]
            need_some(found, file, self.wants, job)
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

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer with the text anywhere in it, the paper's rule."""
        return [contains(p.text, p.truth["text"], whole_words=False) for p in predictions]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite."""
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for suffix, group in _groups(predictions).items():
            for p, right in zip(group, self.right(group), strict=True):
                said, true = p.text, p.truth["text"]
                values = {
                    "contains": right, "contains_words": contains(said, true),
                    "exact": equal(said, true),
                    "edit_distance": normalised_edit_distance(said, true),
                }  # fmt: skip
                for name, value in values.items():
                    parts[f"{name}{suffix}"][p.key] = (float(value), 1.0)
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Shares with the text anywhere, as whole words, and alone; the mean edit distance over
        the longer text's length (0 is best). Raises ValueError for no predictions."""
        rows = self.rows(predictions)
        lines: list[Sequence[object]] = [
            ("paper", percent(self.paper["contains"]), "-", "-", "-", "-")
        ]
        for suffix, group in _groups(predictions).items():
            shares = [percent(rows[f"{name}{suffix}"]) for name in SHARES]
            distance = rows[f"edit_distance{suffix}"]["value"]
            lines.append((f"ours{suffix}", *shares, distance, len(group)))
        header = ("", "contains", "contains, whole words", "exact", "edit distance", "n")
        return Report(rows, markdown(header, lines))


def _groups(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Return all predictions, and those of each kind and language if several, by row suffix."""
    groups = {"": list(predictions)}
    for field in ("kind", "language"):
        values = sorted({p.truth[field] for p in predictions})
        for value in values if len(values) > 1 else []:
            groups[f" ({value})"] = [p for p in predictions if p.truth[field] == value]
    return groups
