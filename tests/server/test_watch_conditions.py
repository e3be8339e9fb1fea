"""Conditions of the watch list: what a person may write, and when it becomes true."""

from __future__ import annotations

import pytest

from chatspot_ros.server.watch_conditions import Condition, Waiting, parse_condition


@pytest.mark.parametrize(
    ("text", "attribute", "old", "new", "stays", "for_s"),
    [
        ("door changes to open for 2 s", "door", "", "open", False, 2),
        ("Door  Changes from Closed to OPEN", "door", "closed", "open", False, 0),
        ("to open", "", "", "open", False, 0),
        ("from open", "", "open", "", False, 0),
        ("door from open for 0.5 h", "door", "open", "", False, 1800),
        ("door changes", "door", "", "", False, 0),
        ("changes", "", "", "", False, 0),
        ("left door to half open for 1min", "left door", "", "half open", False, 60),
        ("stays open for 60 s", "", "", "open", True, 60),
        ("burner stays on for 10 min", "burner", "", "on", True, 600),
    ],
)
def test_what_a_person_may_write(
    text: str, attribute: str, old: str, new: str, stays: bool, for_s: float
) -> None:
    spelled = " ".join(text.split())
    assert parse_condition(text) == Condition(spelled, attribute, old, new, stays, for_s)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "none of the words"),
        ("door open", "none of the words"),
        ("door changes open", "`open` after `changes`"),
        ("door to", "nothing after `to`"),
        ("door to open from closed", "`from` where it cannot stand"),
        ("door to open to closed", "`to` where it cannot stand"),
        ("door to open for 2", "`for 2`"),
        ("door to open for 0 s", "`for 0 s`"),
        ("door to open for -1 s", "`for -1 s`"),
        ("door to open for two s", "`for two s`"),
        ("door to open for 999 h", "168 h"),
        ("door stays open", "goes with `for`"),
        ("door stays open to closed for 2 s", "goes with `for`"),
        ("door for 2 s", "what changes"),
        ("door from open to open", "one value"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_forms(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="write `door changes to open for 2 s`") as caught:
        parse_condition(text)
    assert words in str(caught.value)


def told(text: str, *steps: tuple[float, str]) -> list[float]:
    """Return the times at which a condition becomes true.

    Steps are (time, value) of answers; an empty value is a look at which nothing has changed.
    """
    waiting, times = Waiting((parse_condition(text),)), []
    for now_s, said in steps:
        found = waiting.answered({"door": said}, 0.9, now_s) if said else waiting.unchanged(now_s)
        times += [now_s for _ in found]
    return times


C, O = "closed", "open"  # noqa: E741


@pytest.mark.parametrize(
    ("text", "steps", "times"),
    [
        # The first value is no change; each change is told once.
        ("door to open", [(0, O), (1, O), (2, C), (3, O), (4, O), (5, C), (6, O)], [3, 6]),
        ("door from open", [(0, O), (1, C), (2, "ajar"), (3, O), (4, C)], [1, 4]),
        ("changes", [(0, O), (1, C), (2, C), (3, O)], [1, 3]),
        ("from closed to open", [(0, "ajar"), (1, O), (2, C), (3, O)], [3]),
        ("window to open", [(0, C), (1, O)], []),
        # It must hold; a look or an answer shows that it does, once.
        ("door to open for 2 s", [(0, C), (10, O), (11, ""), (12, ""), (13, "")], [12]),
        ("door to open for 2 s", [(0, C), (10, O), (11, O), (14, O)], [14]),
        ("door to open for 2 s", [(0, C), (10, O), (11, C), (12, O), (13, ""), (14, "")], [14]),
        ("door to open for 2 s", [(0, O), (10, O), (20, "")], []),
        ("door from open for 5 s", [(0, O), (1, C), (4, "ajar"), (6, "")], [6]),
        ("door changes for 5 s", [(0, O), (1, C), (4, "ajar"), (6, ""), (9, "")], [9]),
        # It is true without a change too, once for each stretch.
        ("stays open for 60 s", [(0, O), (30, O), (60, O), (90, O), (91, C), (92, O), (152, "")],
         [60, 152]),
        ("stays open for 60 s", [(0, C), (30, O), (89, ""), (90, "")], [90]),
    ],
)  # fmt: skip
def test_when_it_becomes_true(
    text: str, steps: list[tuple[float, str]], times: list[float]
) -> None:
    assert told(text, *steps) == times
    # In any case.
    assert told(text.upper().replace(" S", " s"), *steps) == times


def test_it_says_what_was_before_and_how_sure_the_last_answer_is() -> None:
    waiting = Waiting((parse_condition("to open for 2 s"), parse_condition("stays open for 1 s")))
    waiting.answered({"door": "closed"}, 0.5, 0.0)
    assert not waiting.is_due(100.0)
    waiting.answered({"door": "open"}, 0.6, 10.0)
    assert (waiting.is_due(10.5), waiting.is_due(11.0)) == (False, True)
    (stays,) = waiting.answered({"door": "open"}, 0.8, 11.0)
    assert (stays.old, stays.new, stays.confidence) == ("closed", "open", 0.8)
    (found,) = waiting.unchanged(12.0)
    assert (found.condition.text, found.attribute) == ("to open for 2 s", "door")
    assert (found.old, found.new, found.confidence) == ("closed", "open", 0.8)
    assert not waiting.is_due(100.0)


def test_time_that_is_set_back_counts_anew() -> None:
    waiting = Waiting((parse_condition("to open for 2 s"),))
    waiting.answered({"door": "closed"}, 0.5, 1000.0)
    waiting.answered({"door": "open"}, 0.5, 1001.0)
    waiting.restart(5.0)
    assert waiting.unchanged(6.9) == []
    assert len(waiting.unchanged(7.0)) == 1


def test_attributes_that_a_model_makes_up_fill_no_memory() -> None:
    waiting = Waiting((parse_condition("stays open for 1 h"),))
    for number in range(1000):
        waiting.answered({f"door{number}": "open"}, 0.5, float(number))
    assert max(len(waiting._waits), len(waiting._values)) < 300


def test_only_what_the_last_answer_says_is_known_to_hold() -> None:
    waiting = Waiting((parse_condition("stays open for 5 s"),))
    waiting.answered({"door": "open"}, 0.9, 0.0)
    waiting.answered({"plug": "in"}, 0.9, 4.0)
    assert waiting.unchanged(6.0) == []
    assert len(waiting.answered({"door": "open"}, 0.9, 7.0)) == 1
