"""Number words are whole numbers, letters of abbreviations stay, and the paper's row is there."""

from typing import Any

import pytest

from chatspot_train.evaluation.metrics.text import contains, vqa_accuracy
from chatspot_train.evaluation.suite import Prediction
from chatspot_train.evaluation.suites.pointqa import PointQa
from chatspot_train.evaluation.suites.vizwiz_grounding import VizWizGrounding


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("twenty-one", "21"), ("twenty one", "21"), ("21", "twenty-one"), ("Twenty‑one.", "21"),
        ("thirty", "30"), ("forty", "40"), ("fifty-five", "55"), ("ninety-nine", "99"),
        ("I count seventy two of them", "72"), ("one hundred", "100"),
        ("a hundred and five", "105"),
        ("two thousand", "2000"), ("1,000", "1000"), ("one thousand", "1,000"), ("two", "2"),
        ("there are two", "two"), ("twenty", "20"), ("zero", "0"), ("eleven cups", "11"),
    ],
)  # fmt: skip
def test_a_number_in_words_is_that_number(answer: str, truth: str) -> None:
    assert contains(answer, truth, numbers=True)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("twenty-one", "20"), ("twenty-one", "1"), ("twenty one", "20"), ("twenty-first", "20"),
        ("two thousand", "2"), ("thirty-two", "2"), ("seventy two", "2"), ("one hundred", "1"),
        ("two-thirds", "2"), ("21", "20"), ("fifty-five", "5"), ("105", "5"),
    ],
)  # fmt: skip
def test_a_number_is_not_a_part_of_another(answer: str, truth: str) -> None:
    assert not contains(answer, truth, numbers=True)


ALIKE = [
    ("3 a.m.", "3 am"), ("3 A.M.", "3 am"), ("U.S.A.", "USA"),
    ("the U.S.A", "usa"), ("5 p.m.", "5 pm"), ("I.D.", "id"), ("Ph.D.", "phd"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "people"), ALIKE)
def test_the_vqa_accuracy_keeps_letters_of_abbreviations(answer: str, people: str) -> None:
    """As the VQA challenge's own script, which takes points out without leaving a space."""
    assert vqa_accuracy(answer, [people] * 10) == 1.0
    assert vqa_accuracy(people, [answer] * 10) == 1.0


@pytest.mark.parametrize(
    ("answer", "people"),
    [("3 a.m.", "3 m"), ("3 a.m.", "3 p.m."), ("U.S.A.", "u s")],
)
def test_what_differs_by_a_letter_is_not_the_same(answer: str, people: str) -> None:
    assert vqa_accuracy(answer, [people] * 10) == 0.0


@pytest.mark.parametrize("letter", ["A", "a", "The A"])
def test_an_answer_that_is_a_letter_is_an_answer(letter: str) -> None:
    assert vqa_accuracy(letter, [letter] * 10) == 1.0


def vizwiz(text: str, answer: str) -> Prediction:
    return Prediction("a.jpg", text, truth={"answer": answer, "answers": [answer] * 10,
                                           "size": [9, 9]})  # fmt: skip


def pointqa(text: str, answer: str) -> Prediction:
    return Prediction("local-1-0-box", text, truth={
        "dataset": "local", "level": "", "shape": "box", "answer": answer, "size": [9, 9],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("suite", "make", "plain", "words"),
    [(VizWizGrounding(), vizwiz, "contains_plain", "contains"),
     (PointQa(), pointqa, "local_box_plain", "local_box")],
    ids=["vizwiz_grounding", "pointqa"],
)  # fmt: skip
def test_the_papers_plain_substring_stands_beside_whole_words(
    suite: Any, make: Any, plain: str, words: str
) -> None:
    """'answer contains the ground truth': as the paper counts, and as whole words."""
    report = suite.score([make("a blueberry", "blue"), make("blue", "blue")][:1])
    assert report.rows[plain]["value"] == 1.0
    assert report.rows[words]["value"] == 0.0
    assert "whole words" in report.table
