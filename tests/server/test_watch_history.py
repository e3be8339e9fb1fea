"""The history of changes: what it finds, what it drops, what it says."""

from __future__ import annotations

from chatspot_ros.server.watch_history import SeenChange, WatchHistory
from chatspot_ros.server.watch_tracker import Change


def seen(stamp_ns: int, thing: str = "fridge_1", attribute: str = "door") -> SeenChange:
    return SeenChange(Change(thing, "fridge", attribute, "closed", "open", 0.9), stamp_ns, "cam")


def stamps(found: tuple[list[SeenChange], str]) -> list[int]:
    return [one.stamp_ns for one in found[0]]


def filled(limit: int = 100) -> WatchHistory:
    history = WatchHistory(limit)
    for one in (seen(1), seen(2, "oven_1"), seen(3, attribute="plug"), seen(4)):
        history.add(one)
    return history


def test_by_thing_attribute_time_and_number() -> None:
    history = filled()
    assert history.find() == ([seen(1), seen(2, "oven_1"), seen(3, attribute="plug"), seen(4)], "")
    assert stamps(history.find(thing="Fridge_1")) == [1, 3, 4]
    assert stamps(history.find(attribute="DOOR")) == [1, 2, 4]
    assert stamps(history.find(since_ns=2)) == [2, 3, 4]
    assert stamps(history.find(limit=2)) == [3, 4]
    assert stamps(history.find("fridge_1", "door", 2, 1)) == [4]


def test_why_there_is_nothing() -> None:
    assert WatchHistory(5).find() == ([], "nothing has changed yet")
    assert WatchHistory(0).find()[1] == "no change is kept: set the parameter watch_history"
    assert filled().find(thing="sink")[1] == (
        "'sink' has not changed; what has: fridge_1, oven_1"
    )  # fmt: skip
    assert filled().find(since_ns=9) == ([], "no kept change is like that")


def test_the_oldest_make_room_and_it_says_so() -> None:
    found = filled(limit=3).find()
    assert stamps(found) == [2, 3, 4]
    assert found[1] == "1 older changes were dropped (parameter watch_history)"
    none = WatchHistory(0)
    none.add(seen(1))
    assert stamps(none.find()) == []


def test_time_that_was_set_back_loses_nothing_and_is_told_while_it_matters() -> None:
    history = filled(limit=5)
    history.time_was_set_back()
    history.add(seen(1))
    assert stamps(history.find()) == [1, 2, 3, 4, 1]
    assert "set back" in history.find()[1]
    for _ in range(4):
        history.add(seen(2))
    assert "set back" not in history.find()[1]
