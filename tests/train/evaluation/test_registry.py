"""A suite of one class: registered, it is found by the command line, the tables and compare."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from chatspot_ros.core.geometry import RgbImage
from chatspot_train import evaluate
from chatspot_train.evaluation import registry
from chatspot_train.evaluation.report import summary
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    JudgingSuite,
    Option,
    Prediction,
    Report,
    Suite,
    SuiteOptionError,
    markdown,
)


def black() -> RgbImage:
    return np.zeros((2, 2, 3), np.uint8)


class Adder:
    """Answers a sum; one too many for those that `wrong` names."""

    name = "adder"
    identity = None

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong

    def answer_all(self, image_rgb: RgbImage, items: list[Item]) -> list[Prediction]:
        return [
            Prediction(i.key, str(i.truth["sum"] + (i.key == self.wrong)), truth=i.truth)
            for i in items
        ]


class Sums(JudgingSuite):
    """Sums of a number with itself."""

    name = "sums"
    wants = "nothing"
    headline: ClassVar[Mapping[str, str]] = {"right": "sums that are right"}
    options = (Option("wrong", "the sum to get wrong"), Option("of", "shared with noise"))
    on_kitchen = True

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Sums":
        return cls(options.get("wrong") or "")

    @property
    def paper(self) -> Mapping[str, float]:
        return {"right": 0.25}

    def answerer(self) -> Adder:
        return Adder(self.wrong)

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        for k in range(limit):
            yield Item(str(k), black, (AskedTurn(f"{k} + {k}?"),), {"sum": 2 * k})

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        return [p.text == str(p.truth["sum"]) for p in predictions]

    def score(self, predictions: Sequence[Prediction]) -> Report:
        rows = self.rows(predictions)
        return Report(rows, markdown(["sums", "right"], [["all", rows["right"]["value"]]]))


@pytest.fixture
def sums() -> Iterator[type[Suite]]:
    yield registry.register(Sums)
    registry._SUITES.pop("sums")


def test_a_registered_suite_is_measured_and_compared(
    sums: type[Suite], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, wrong in (("a", "1"), ("b", "none")):
        evaluate.main(["--suite", "sums", "--wrong", wrong, "--limit", "4",
                       "--out", str(tmp_path / folder)])  # fmt: skip
    assert "0.250" in capsys.readouterr().out  # the paper's value
    rows = json.loads((tmp_path / "a" / "results.json").read_text())["rows"]
    assert (rows["right"]["value"], rows["right"]["n"]) == (0.75, 4)
    assert "| all | 0.750 |" in (tmp_path / "a" / "report.md").read_text()
    evaluate.main(["--suite", "sums", "--compare", str(tmp_path / "a"), str(tmp_path / "b"),
                   "--out", str(tmp_path / "both")])  # fmt: skip
    compared = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert compared["rows"]["right"]["value"] == 0.25
    assert "1 + 1?" in (tmp_path / "both" / "comparison.html").read_text()


def test_its_headline_stands_in_the_table_of_the_kitchen(sums: type[Suite]) -> None:
    found = registry.suites()["sums"].kitchen_variants(Path())
    predictions = [Prediction("1", "2", truth={"sum": 2})]
    table = summary({"sums": found["sums"].score(predictions)}, found)
    assert "| `sums` | sums that are right | 1.000 | " in table


def test_options_are_shared_and_told_by_suite(
    sums: type[Suite], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "calibration, noise: the suite to ask again" in told
    assert "sums: shared with noise" in told


def test_two_suites_with_one_name_are_refused(sums: type[Suite]) -> None:
    with pytest.raises(ValueError, match="two suites named sums"):
        registry.register(sums)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("noise", {"of": "pope"}, "no such suite.*coco_text"),
        ("kitchen", {"split": "dev"}, "val or test"),
        ("mmbench", {"split": "val"}, "dev or test"),
        ("mmvet", {"grade": "http://localhost/v1"}, "both --grade and --grader"),
        ("mmvet", {"grade": "http://x/v1", "grader": "m", "grade_runs": 0}, "--grade-runs 1"),
    ],
)
def test_a_wrong_option_is_named_with_a_remedy(
    name: str, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SuiteOptionError, match=problem):
        registry.make(name, options)
