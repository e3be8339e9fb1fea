"""What counts as asking again, and as another region, right after an answer."""

from __future__ import annotations

import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.server.follow_ups import WITHIN_S, FollowUps

BOX = Region.box(100, 100, 200, 200)
SHIFTED = Region.box(105, 100, 205, 200)
LARGER = Region.box(100, 100, 300, 300)
ELSEWHERE = Region.box(400, 400, 500, 500)
IMAGE = Region.image()
DONE_S = 100.0


def follow(
    question: str, region: Region, after_s: float = 2.0, *, first: Region = BOX, caller: str = "a"
) -> list[str]:
    """Ask "What is this?" of `first`, then this; return the kinds that were noticed."""
    seen = FollowUps()
    old = [Answer("mug", regions=(first,), id="old")]
    assert seen.note("a", "What is this?", old, DONE_S - 1, DONE_S) == []
    new = [Answer("mug", regions=(region,), id="new")]
    began_s = DONE_S + after_s
    found = seen.note(caller, question, new, began_s, began_s + 1)
    assert all(one.answer_id == "old" and one.after_s == pytest.approx(after_s) for one in found)
    return [one.kind for one in found]


@pytest.mark.parametrize("region", [BOX, SHIFTED])
@pytest.mark.parametrize("question", ["What is this?", "what  IS this", "What is that?"])
def test_the_same_place_in_almost_the_same_words_is_asking_again(
    question: str, region: Region
) -> None:
    assert follow(question, region) == ["asked_again"]
    assert follow(question, region, after_s=0.0) == ["asked_again"]


@pytest.mark.parametrize(
    ("first", "region"),
    [(BOX, LARGER), (Region.point(50, 50), Region.point(60, 45)), (BOX, Region.point(150, 150))],
)
def test_the_same_words_about_an_overlapping_region_are_another_region(
    first: Region, region: Region
) -> None:
    assert follow("What is this?", region, first=first) == ["another_region"]


@pytest.mark.parametrize(
    ("question", "region", "after_s", "first", "caller"),
    [
        ("Is the door open?", BOX, 2.0, BOX, "a"),
        ("What is this?", ELSEWHERE, 2.0, BOX, "a"),
        ("What is this?", BOX, WITHIN_S + 1, BOX, "a"),
        ("What is this?", BOX, -0.5, BOX, "a"),
        ("What is this?", BOX, 2.0, BOX, "b"),
        ("What is this?", LARGER, 0.1, BOX, "a"),
        ("What is this?", BOX, 2.0, IMAGE, "a"),
    ],
    ids=["other words", "elsewhere", "too late", "before the answer", "another caller",
         "sooner than a hand", "closer than the whole image"],
)  # fmt: skip
def test_the_rest_is_no_follow_up(
    question: str, region: Region, after_s: float, first: Region, caller: str
) -> None:
    assert follow(question, region, after_s, first=first, caller=caller) == []


def test_typed_regions_are_places_and_not_words() -> None:
    seen = FollowUps()
    answers = [Answer("yes", regions=(BOX,), id="old")]
    seen.note("a", "Is <box>100,100,200,200</box> a mug?", answers, 0, 1)
    again = [Answer("yes", regions=(LARGER,), id="new")]
    (found,) = seen.note("a", "Is <box>100,100,300,300</box> a mug?", again, 3, 4)
    assert found.kind == "another_region"


def test_callers_are_forgotten() -> None:
    seen = FollowUps()
    for number in range(1000):
        seen.note(f"session {number}", "what", [], 0, 1)
    assert len(seen._last) <= 100
