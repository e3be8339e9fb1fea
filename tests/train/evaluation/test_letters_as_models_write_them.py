"""MMBench: the letter of a choice in the forms in which models write it; and what is no choice."""

import pytest

from chatspot_train.evaluation.suite import Prediction
from chatspot_train.evaluation.suites.mmbench import MMBenchSuite

CHOICES = {"A": "a red mug", "B": "a blue cup", "C": "a green pan", "D": "a lid"}


def is_right(text: str, letter: str) -> bool:
    truth = {"question": "Which?", "hint": "", "category": "", "l2-category": "", "split": "dev",
             "answer": letter, "choices": CHOICES}  # fmt: skip
    (right,) = MMBenchSuite().right([Prediction("1", text, truth=truth)])
    return right


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Answer: (a)", "A"), ("answer: b", "B"), ("The answer is a", "A"), ("ANSWER: C", "C"),
        ("The correct answer is (c)", "C"), ("Final answer: (d).", "D"),
        ("option a", "A"), ("Option (b).", "B"), ("Choice: d", "D"), ("Choose b", "B"),
        ("**A**", "A"), ("*B*", "B"), ("__C__", "C"), ("`D`", "D"), ('"A"', "A"), ("“B”", "B"),
        ("**Answer:** B", "B"), ("**Answer: B**", "B"), ("### Answer\nB", "B"),
        ("A is correct.", "A"), ("B is the correct answer", "B"), ("(C) is right", "C"),
        ("A, because it is red", "A"), ("A because it is red", "A"), ("B; the rest is wrong", "B"),
        ("C – it is green", "C"), ("D!", "D"), ("It's B.", "B"), ("It is (b).", "B"),
        ("I would say B.", "B"), ("B\nIt is blue.", "B"), ("A.\n\nExplanation: B is wrong", "A"),
        (r"\boxed{A}", "A"), (r"$\boxed{B}$", "B"), (r"\boxed{\text{C}}", "C"),
        (r"The answer is \boxed{D}.", "D"), (r"\(\boxed{A}\)", "A"),
        ("<answer>A</answer>", "A"), ("[B]", "B"), ("{C}", "C"), ("<B>", "B"),
        ("Ａ", "A"), ("（Ｂ）", "B"), ("Ｃ。", "C"), ("【D】", "D"), ("「A」", "A"),
        ("答案是A", "A"), ("答案：B", "B"), ("答案是：（C）", "C"), ("答案为D", "D"),
        ("答案：Ａ", "A"),
        ("选A", "A"), ("选择B", "B"), ("選C", "C"), ("选项D正确", "D"), ("我认为答案是 D。", "D"),
        ("A。", "A"), ("B、蓝色的杯子", "B"), ("正确答案是C。", "C"), ("应该选B", "B"),
        ("C是正确的", "C"),
        ("Answer: B, a blue cup", "B"), ("B. A blue cup", "B"), ("Answer: A red mug", "A"),
        ("答えはA", "A"), ("正解はＢです", "B"),
    ],
)  # fmt: skip
def test_the_letter_is_read(text: str, letter: str) -> None:
    assert is_right(text, letter)
    assert not is_right(text, "ABCD"[("ABCD".index(letter) + 1) % 4])


@pytest.mark.parametrize(
    "text",
    [
        "", "A or B", "A and B", "Both A and B are right", "None of them", "Neither A nor B",
        "A nice picture", "I see a mug that I like", "An apple", "Cannot tell", "Be careful",
        "A car is parked", "E", "a dog", "Answer: unknown", "The answer is a dog",
        "The options are A, B, C and D",
    ],
)  # fmt: skip
def test_no_letter_is_made_up(text: str) -> None:
    assert not any(is_right(text, letter) for letter in "ABCD")


@pytest.mark.parametrize(
    ("text", "letter"),
    [("The answer is not A but B", "B"), ("Not A. B", "B"), ("It isn't C; the answer is D", "D"),
     ("A? No: the answer is C", "C")],
)  # fmt: skip
def test_a_letter_that_is_denied_is_not_taken(text: str, letter: str) -> None:
    assert is_right(text, letter)
