"""MMBench: letters are found, a question's orders count together, the server gets its table."""

import base64
import csv
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from chatspot_ros.core.prompts import MAX_QUESTION_CHARS
from chatspot_ros.errors import ImageError
from chatspot_train.evaluation.dataset_files import MalformedDataError
from chatspot_train.evaluation.metrics.choices import chosen_letter
from chatspot_train.evaluation.suite import MissingDataError, Prediction
from chatspot_train.evaluation.suites.mmbench import (
    EncodedPicture,
    MMBenchSuite,
    write_submission,
)

CHOICES = {"A": "left", "B": "left hand", "C": "茶", "D": "a mug"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("(b)", "B"), ("b.", "B"), ("C. 茶", "C"), ("A) left", "A"),
        ("The answer is D", "D"), ("Answer: (C) 茶", "C"), ("I choose option B.", "B"),
        ("It is a mug!", "D"), ("Her left hand.", "B"), ("LEFT", "A"), ("茶", "C"),
        ("A mug or 茶", ""), ("", ""), ("E", ""), ("I do not know", ""), ("Apple", ""),
        ("A red thing", ""), ("leftover", ""),
    ],
)  # fmt: skip
def test_which_choice_an_answer_takes(text: str, letter: str) -> None:
    assert chosen_letter(text, CHOICES) == letter


def encoded(colour: tuple[int, int, int]) -> str:
    data = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


RED, BLUE = encoded((255, 0, 0)), encoded((0, 0, 255))
ROWS = [
    # index, question, hint, A, B, C, D, answer, category, l2-category, image, split
    (7, "Which\nway?", "nan", "left", "right", "", "", "A", "way", "reasoning", RED, "dev"),
    (8, "What is it?", "A hint.", "mug", "None", "cup", "nan", "B", "name", "perception", BLUE,
     "dev"),
    (1_000_007, "Which\nway?", "", "right", "left", "", "", "B", "way", "reasoning", "7", "dev"),
    (9, "Not here", "", "x", "y", "", "", "A", "way", "reasoning", RED, "test"),
]  # fmt: skip
COLUMNS = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "l2-category",
           "image", "split")  # fmt: skip


def make_data(folder: Path, columns: tuple[str, ...] = COLUMNS, name: str = "dev") -> Path:
    with (folder / f"mmbench_{name}_20230712.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(columns)
        writer.writerows([value for c, value in zip(COLUMNS, row, strict=True) if c in columns]
                         for row in ROWS)  # fmt: skip
    return folder


def read_workbook(file: Path) -> list[dict[str, str]]:
    """The rows of the only sheet, by the names in its first row; empty cells may be missing."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with ZipFile(file) as book:
        strings = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
        texts = ["".join(one.itertext()) for one in strings.iter(f"{space}si")]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows: list[dict[str, str]] = []
    for row in sheet.iter(f"{space}row"):
        cells = {}
        for cell in row.iter(f"{space}c"):
            value = cell.findtext(f"{space}v") or ""
            cells[cell.attrib["r"].rstrip("0123456789")] = (
                texts[int(value)] if cell.get("t") == "s" else value
            )
        rows.append(cells)
    names = rows[0]
    return [{names[column]: value for column, value in row.items()} for row in rows[1:]]


def answered(folder: Path, texts: list[str], suite: MMBenchSuite) -> list[Prediction]:
    items = list(suite.items(folder, 0, 0))
    return [Prediction(i.key, t, truth=i.truth) for i, t in zip(items, texts, strict=True)]


def test_the_table_is_read_with_its_pictures(tmp_path: Path) -> None:
    items = list(MMBenchSuite().items(make_data(tmp_path), 0, 0))
    assert [item.key for item in items] == ["7", "1000007", "8"]
    first, again, other = (item.image for item in items)
    assert first == again != other
    assert callable(first)
    assert first().shape == (4, 6, 3)
    assert tuple(np.asarray(first())[0, 0]) == (255, 0, 0)
    assert items[0].turns[0].question.startswith("Which\nway?\nA. left\nB. right\n")
    assert items[2].turns[0].question.startswith("A hint.\nWhat is it?\nA. mug\nB. None\nC. cup\n")
    assert "D." not in items[2].turns[0].question


def test_a_limit_takes_whole_questions(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    sizes = {len(list(MMBenchSuite().items(data, 1, seed))) for seed in range(8)}
    assert sizes == {1, 2}


def test_a_question_counts_when_every_order_is_right(tmp_path: Path) -> None:
    suite, data = MMBenchSuite(), make_data(tmp_path)
    predictions = answered(data, ["A", "B", "None"], suite)
    report = suite.score(predictions)
    assert report.rows["circular"]["value"] == 1.0
    assert report.rows["circular"]["n"] == 2
    half = [predictions[0], replace(predictions[1], text="A"), predictions[2]]
    rows = suite.score(half).rows
    assert rows["circular"]["value"] == 0.5
    assert rows["circular/reasoning"]["value"] == 0.0
    assert rows["circular/name"]["value"] == 1.0
    assert rows["single"]["value"] == pytest.approx(2 / 3)
    assert suite.right(half) == [True, False, True]
    assert "0.645" in report.table
    with pytest.raises(ValueError, match="no answers"):
        suite.score([])


def test_the_servers_table_holds_what_was_asked_and_said(tmp_path: Path) -> None:
    predictions = answered(make_data(tmp_path), ["A\tor\nB", "", '=茶 "tea"'], MMBenchSuite())
    write_submission(predictions, tmp_path / "out.xlsx")
    rows = read_workbook(tmp_path / "out.xlsx")
    assert [row.get("prediction", "") for row in rows] == ["A\tor\nB", "", '=茶 "tea"']
    assert [row["index"] for row in rows] == ["7", "1000007", "8"]
    assert rows[0]["question"] == "Which\nway?"
    assert rows[2]["B"] == "None"
    assert not {"image", "answer"} & set(rows[0])


def test_a_split_without_answers_is_not_scored(tmp_path: Path) -> None:
    columns = tuple(c for c in COLUMNS if c != "answer")
    suite = MMBenchSuite("test")
    predictions = answered(make_data(tmp_path, columns, "test"), ["A"], suite)
    report = suite.score(predictions)
    assert report.rows == {}
    assert "upload submission.xlsx" in report.table
    suite.export(predictions, tmp_path)
    assert [row["prediction"] for row in read_workbook(tmp_path / "submission.xlsx")] == ["A"]
    MMBenchSuite().export(predictions, tmp_path / "no such folder")  # dev has nothing to submit
    assert suite.right(predictions) == [False]


def test_a_long_hint_is_cut_and_the_question_is_not(tmp_path: Path) -> None:
    make_data(tmp_path)
    file = tmp_path / "mmbench_dev_20230712.tsv"
    file.write_text(file.read_text().replace("A hint.", "long " * 1000))
    question = list(MMBenchSuite().items(tmp_path, 0, 0))[2].turns[0].question
    assert len(question) == MAX_QUESTION_CHARS
    assert "What is it?\nA. mug" in question


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"mmbench_dev_20230712\.tsv"):
        next(MMBenchSuite().items(tmp_path, 0, 0))
    make_data(tmp_path, tuple(c for c in COLUMNS if c != "B"))
    with pytest.raises(MalformedDataError, match="no column B"):
        next(MMBenchSuite().items(tmp_path, 0, 0))
    for broken in ("no base64!", base64.b64encode(b"no picture").decode()):
        with pytest.raises(ImageError, match="decoded"):
            EncodedPicture(broken)()
