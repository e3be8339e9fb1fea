"""The rule by which a short answer is right."""

import pytest

from chatspot_train.evaluation.metrics.short_answers import right_by_words, says_yes


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("yes, on the left", "Yes, in the green one.", True),
        ("No.", "no", True),
        ("no", "Yes.", False),
        ("the green one", "Yes", False),
        ("2", "Two.", True),
        ("There are two people", "2", True),
        ("12", "Two", False),
        ("It is a silver fridge.", "Refrigerator", True),
        ("black", "Black with handwritten lettering", True),
        ("On the left shelf, by the door", "Left shelf; near the window", True),
        ("On the shelf", "The left shelf", False),
        ("left", "The one on the left", True),
        ("right", "The one on the left", False),
        ("the baskets", "A basket.", True),
        ("nobody", "None", True),
        ("0", "None", True),
        ("three", "None", False),
        ("at half past 10:30", "10:30", True),
        ("10:31", "10:30", False),
        ("3.5 litres", "3.5", True),
        ("3 litres", "3.5", False),
        ("", "Red", False),
        ("red", "", False),
        ("gray", "Grey.", True),
        ("No person is there", "No people in it", True),
        ("夏季限定", "夏季限定", True),
    ],
)
def test_right_by_words(answer: str, truth: str, right: bool) -> None:
    assert right_by_words(answer, truth) is right


@pytest.mark.parametrize(
    ("answer", "said"), [("Yeah, it is", True), ("nope", False), ("door: open", None), ("", None)]
)
def test_yes_and_no(answer: str, said: bool | None) -> None:
    assert says_yes(answer) is said
