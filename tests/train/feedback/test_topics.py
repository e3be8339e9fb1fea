"""Comments with the same words come together; strange ones do no harm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatspot_train.feedback.log_table import JudgedAnswer, read_lines
from chatspot_train.feedback.simulate import Scenario, simulate
from chatspot_train.feedback.topics import topics

DARK = ["too dark here", "the picture is dark", "so dark", "dark again", "very dark corner"]
SLOW = ["too slow", "so slow today", "slow answer again", "waited, slow", "it is slow"]
WRONG = ["wrong mug", "the mug is wrong", "wrong, no mug", "called a mug, wrong", "mug? wrong!"]


def said(*comments: str, rating: int = 1) -> list[JudgedAnswer]:
    (answer,) = read_lines(next(simulate(Scenario(""), 0, 1)) for _ in range(1)).answers
    return [replace(answer, rating=rating, comment=one) for one in comments]


def test_planted_topics_are_told_apart() -> None:
    answers = said(*DARK, rating=1) + said(*SLOW, *SLOW, rating=2) + said(*WRONG, rating=3)
    found = {one.name.split(", ")[0]: one for one in topics(answers)}
    assert {"dark", "slow"} <= set(found)
    assert {"mug", "wrong"} & set(found)
    assert (found["dark"].count, found["slow"].count) == (5, 10)
    assert (found["dark"].rating, found["slow"].rating) == (1.0, 2.0)
    assert set(found["dark"].examples) <= set(DARK)
    assert topics(answers)[0].name.startswith("slow")  # the most frequent first


@pytest.mark.parametrize(
    "comments",
    [["a"], ["the", "the", "the", "the", "the", "the"], ["1 2 3"] * 9, ["\x1b[31m!!"] * 7,
     ["same words"] * 9, ["<b>", "暗すぎる", "trop sombre", "\u202e", "x" * 1000, "?"] * 2],
)  # fmt: skip
def test_strange_comments_are_all_there(comments: list[str]) -> None:
    found = topics(said(*comments))
    assert sum(one.count for one in found) == len(comments)


def test_only_comments_of_ratings_count() -> None:
    assert topics(said("", "  ")) == []
    assert topics([replace(one, rating=None) for one in said("dark")]) == []
