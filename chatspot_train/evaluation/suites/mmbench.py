"""MMBench: a question is right if it is answered right with its choices in every order.

The orders of one question ("circular" variants) have the same index modulo a million. The dev
split is scored here. Only MMBench's server has the answers of the test split, so a submission for
the server is written.
"""

from __future__ import annotations

import base64
import binascii
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

from xlsxwriter import Workbook

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.prompts import MAX_QUESTION_CHARS
from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import decode
from chatspot_train.evaluation.dataset_files import (
    first_there,
    grouped_by_image,
    malformed,
    need_some,
    read_text,
    sample,
)
from chatspot_train.evaluation.metrics.choices import chosen_letter
from chatspot_train.evaluation.metrics.intervals import Parts
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    Option,
    Prediction,
    Report,
    SuiteOptionError,
    markdown,
)

SUBMISSION = "submission.xlsx"
LETTERS = "ABCD"
VARIANTS = 1_000_000
PAPER = {"dev": 0.645, "test": 0.636}
EXPORTED = ("index", "question", "hint", *LETTERS, "category", "l2-category", "split", "prediction")
INSTRUCTION = "Reply with the letter of the right choice."
_NOTHING = {"", "nan", "none"}
_LONGEST_CELL = 32_767  # of a workbook, in characters
# A shorter image field is the index of the row with the image.
_LONGEST_INDEX = 64
Tsv = list[dict[str, str]]


@dataclass(frozen=True)
class EncodedPicture:
    """An image file in base64; equal for equal images."""

    data: str

    def __call__(self) -> RgbImage:
        """Decode to uint8 H x W x 3, RGB. Raises ImageError."""
        try:
            return decode(base64.b64decode(self.data, validate=True))
        except (binascii.Error, ImageError) as error:
            raise ImageError(
                f"a picture of the table cannot be decoded: {error}", value=self.data[:20],
                remedy="fetch the file again",
            ) from error  # fmt: skip


@register
class MMBenchSuite(JudgingSuite):
    """One split of MMBench; `limit` counts questions with all their variants.

    `file` names the table where it has another name than the benchmark gives it.
    """

    name = "mmbench"

    options = (Option("split", "dev (default), or test, which writes the submission"),)

    def __init__(self, split: str = "dev", file: str = "") -> None:
        """Raises SuiteOptionError for an unknown split."""
        if split not in PAPER:
            raise SuiteOptionError(
                "MMBench has no such split", value=split, remedy=f"use {' or '.join(PAPER)}"
            )
        self.split, self.file = split, file

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(options.get("split") or "dev")

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite."""
        return {"circular": PAPER[self.split]}

    @property
    def wants(self) -> str:
        """See Suite."""
        file = self._names()[0]
        return f"give --data a folder with {file} (from open-compass/MMBench, split {self.split})"

    def _names(self) -> tuple[str, ...]:
        official = (f"mmbench_{self.split}_20230712.tsv", f"mmbench_{self.split}_en_20231003.tsv",
                    f"MMBench_{self.split.upper()}_EN.tsv")  # fmt: skip
        return (self.file,) if self.file else official

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; variants with one image follow each other."""
        path = first_there(data, self._names(), self.wants)
        rows = [row for row in self._read(path) if row.get("split", self.split) == self.split]
        need_some(rows, path, self.wants)
        groups: dict[int, Tsv] = defaultdict(list)
        for row in rows:
            groups[int(row["index"]) % VARIANTS].append(row)
        pictures = {row["index"]: row["image"] for row in rows}
        kept = [row for group in sample(list(groups.values()), limit, seed) for row in group]
        seen: dict[str, EncodedPicture] = {}
        for row in grouped_by_image((_picture(row, pictures), row) for row in kept):
            coded = _picture(row, pictures)
            image = seen.setdefault(coded, EncodedPicture(coded))
            yield Item(row["index"], image, (AskedTurn(_question(row)),), _truth(row, self.split))

    def _read(self, path: Path) -> Tsv:
        csv.field_size_limit(sys.maxsize)
        table = StringIO(read_text(path, self.wants), newline="")
        rows = list(csv.DictReader(table, delimiter="\t"))
        for name in ("index", "question", "image", "A", "B"):
            if not rows or rows[0].get(name) is None:
                raise malformed(path, f"it has no column {name}", self.wants)
        return rows

    def export(self, predictions: Sequence[Prediction], out: Path) -> None:
        """See Suite: write the submission of the test split."""
        if self.split == "test":
            write_submission(predictions, out / SUBMISSION)

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each variant with the right letter."""
        letters = [chosen_letter(p.text, p.truth["choices"]) for p in predictions]
        return [
            bool(letter) and not p.error and letter == p.truth["answer"]
            for p, letter in zip(predictions, letters, strict=True)
        ]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """See Suite; a unit is a question with all its variants."""
        groups: dict[str, list[Prediction]] = defaultdict(list)
        for p in predictions:
            if p.truth["answer"]:
                groups[str(int(p.key) % VARIANTS)].append(p)
        parts: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        for unit, group in groups.items():
            hits = self.right(group)
            truth = group[0].truth
            levels = [truth["l2-category"], truth["category"]]
            for name in ("circular", *(f"circular/{level}" for level in levels if level)):
                parts[name][unit] = (float(all(hits)), 1.0)
            parts["single"][unit] = (float(sum(hits)), float(len(hits)))
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Share of questions right in every order (`circular`), of right variants (`single`)."""
        rows = self.rows(predictions)
        if not rows:
            note = f"Its answers are not public: upload {SUBMISSION} to MMBench's server."
            return Report({}, f"MMBench {self.split}: {len(predictions)} predictions. {note}")
        lines = [
            [name.replace("circular", "all", 1), row["n"], row["value"],
             self.paper.get(name, "-")]
            for name, row in rows.items() if name != "single"
        ]  # fmt: skip
        table = markdown([f"MMBench {self.split}", "questions", "ours", "paper"], lines)
        return Report(rows, f"{table}\n\nEvery order alone: {rows['single']['value']:.3f}.")


def write_submission(predictions: Sequence[Prediction], file: Path) -> None:
    """Write the workbook for MMBench's server: its own table without images and answers, with the
    column `prediction`."""
    with Workbook(file) as book:
        sheet = book.add_worksheet()
        for column, name in enumerate(EXPORTED):
            sheet.write_string(0, column, name)
        for row, p in enumerate(predictions, start=1):
            truth = p.truth
            choices = [truth["choices"].get(letter, "") for letter in LETTERS]
            cells = [truth["question"], truth["hint"], *choices, truth["category"],
                     truth["l2-category"], truth["split"], p.text]  # fmt: skip
            sheet.write_number(row, 0, int(p.key))
            for column, text in enumerate(cells, start=1):
                sheet.write_string(row, column, text[:_LONGEST_CELL])


def _picture(row: dict[str, str], pictures: dict[str, str]) -> str:
    coded = row["image"]
    return pictures.get(coded, coded) if len(coded) <= _LONGEST_INDEX else coded


def _said(row: dict[str, str], name: str) -> str:
    value = (row.get(name) or "").strip()
    # NaN stands for a missing choice; every question has A and B.
    return "" if value.casefold() in _NOTHING and name not in ("A", "B") else value


def _choices(row: dict[str, str]) -> dict[str, str]:
    return {letter: _said(row, letter) for letter in LETTERS if _said(row, letter)}


def _question(row: dict[str, str]) -> str:
    lines = [_said(row, "question"), *(f"{k}. {choice}" for k, choice in _choices(row).items())]
    asked = "\n".join([*lines, INSTRUCTION])
    # A hint may be a page long; only the hint is cut.
    hint = _said(row, "hint")[: max(0, MAX_QUESTION_CHARS - len(asked) - 1)]
    return f"{hint}\n{asked}" if hint else asked


def _truth(row: dict[str, str], split: str) -> dict[str, object]:
    names = ("question", "hint", "category", "l2-category", "answer")
    said = {name: _said(row, name) for name in names}
    return {**said, "choices": _choices(row), "split": split}
