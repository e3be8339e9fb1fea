"""Conversations: one frame each, bounded in number, idle time and turns."""

from __future__ import annotations

from chatspot_ros.server.sessions import SessionStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_store(clock: Clock, number: int = 3, turns: int = 4) -> SessionStore[str, str]:
    return SessionStore(max_sessions=number, max_idle_s=60.0, max_turns=turns, clock=clock)


def test_a_new_name_starts_a_conversation_and_says_so() -> None:
    store = make_store(Clock())
    assert store.frame_of("a") is None
    assert store.enter("a", "frame 1") == "session 'a' is new"
    assert store.enter("a", "frame 1") == ""
    assert store.frame_of("a") == "frame 1"


def test_turns_belong_to_their_frame() -> None:
    store = make_store(Clock())
    store.enter("a", "frame 1")
    store.add_turns("a", "frame 1", ["first", "second"])
    assert store.turns("a", "frame 1") == ("first", "second")
    assert store.turns("a", "frame 2") == ()
    assert "anew on another frame, without its 2 turns" in store.enter("a", "frame 2")
    assert store.turns("a", "frame 2") == ()
    # What was said on the old frame meanwhile does not slip in.
    store.add_turns("a", "frame 1", ["late"])
    assert store.turns("a", "frame 2") == ()


def test_only_the_last_turns_are_kept() -> None:
    store = make_store(Clock(), turns=2)
    store.enter("a", "frame")
    store.add_turns("a", "frame", ["1", "2", "3"])
    assert store.turns("a", "frame") == ("2", "3")


def test_the_least_recently_used_one_ends_when_there_are_too_many() -> None:
    clock = Clock()
    store = make_store(clock, number=2)
    for name in ("a", "b"):
        store.enter(name, "frame")
    store.enter("a", "frame")
    store.enter("c", "frame")
    assert len(store) == 2
    assert store.frame_of("b") is None
    assert store.frame_of("a") == "frame"


def test_an_idle_conversation_ends() -> None:
    clock = Clock()
    store = make_store(clock)
    store.enter("a", "frame")
    clock.now = 59.0
    store.add_turns("a", "frame", ["x"])
    clock.now = 118.0
    assert store.frame_of("a") == "frame"
    clock.now = 120.0
    assert store.frame_of("a") is None
    assert store.enter("a", "frame") == "session 'a' is new"


def test_a_failed_first_question_leaves_no_trace() -> None:
    store = make_store(Clock())
    store.enter("a", "frame")
    store.drop_if_silent("a", "frame")
    assert len(store) == 0
    store.enter("a", "frame")
    store.add_turns("a", "frame", ["said"])
    store.drop_if_silent("a", "frame")
    assert store.turns("a", "frame") == ("said",)


def test_smaller_bounds_take_effect() -> None:
    store = make_store(Clock())
    for name in "abc":
        store.enter(name, "frame")
    store.configure(max_sessions=1, max_idle_s=60.0, max_turns=1)
    store.enter("c", "frame")
    assert len(store) == 1
