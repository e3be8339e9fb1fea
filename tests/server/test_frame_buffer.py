"""The frame buffer: exactly the frame of a stamp, or why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.errors import FrameExpiredError, NoImageError, StaleImageError
from chatspot_ros.server.frame_buffer import NS, Frame, FrameBuffer, format_ns


def make_buffer(
    stamps_s: tuple[float, ...] = (), *, seconds: float = 10.0, size: int = 1, most: int = 10**9
) -> FrameBuffer[str]:
    buffer: FrameBuffer[str] = FrameBuffer(name="front", max_seconds=seconds, max_bytes=most)
    for stamp_s in stamps_s:
        buffer.add(Frame(ns(stamp_s), f"at {stamp_s:g}", size))
    return buffer


def ns(seconds: float) -> int:
    return round(seconds * NS)


def test_exact_stamp_or_nothing() -> None:
    buffer = make_buffer((100.0, 100.1, 100.2))
    assert buffer.at(ns(100.1)).payload == "at 100.1"
    with pytest.raises(NoImageError, match=r"nearest is 100\.100000000"):
        buffer.at(ns(100.1) + 1)


def test_newest_is_the_latest_stamp() -> None:
    buffer = make_buffer((100.0, 100.2, 100.1))
    assert buffer.newest().payload == "at 100.2"


def test_an_empty_buffer_says_so() -> None:
    with pytest.raises(NoImageError, match="camera 'front'"):
        make_buffer().newest()
    with pytest.raises(NoImageError):
        make_buffer().at(5)


def test_expired_differs_from_never_seen() -> None:
    buffer = make_buffer((100.0, 105.0, 112.0), seconds=10.0)
    assert len(buffer) == 2
    with pytest.raises(FrameExpiredError, match="buffer_seconds"):
        buffer.at(ns(100.0))
    # Before the first frame that ever came: nothing was dropped there.
    young = make_buffer((100.0,))
    with pytest.raises(NoImageError):
        young.at(ns(50.0))
    # Within what is held, but never there.
    with pytest.raises(NoImageError):
        buffer.at(ns(107.0))


def test_a_stamp_in_the_future_is_named_so() -> None:
    buffer = make_buffer((100.0,))
    with pytest.raises(NoImageError, match=r"50\.000 s in the future"):
        buffer.at(ns(151.0), now_ns=ns(101.0))
    with pytest.raises(NoImageError, match="with that stamp"):
        buffer.at(ns(100.5), now_ns=ns(101.0))


def test_a_stale_newest_frame_is_refused_only_with_a_limit() -> None:
    buffer = make_buffer((100.0,))
    now_ns = ns(104.0)
    assert buffer.newest(now_ns=now_ns, max_age_s=4.0).payload == "at 100"
    assert buffer.newest(now_ns=now_ns, max_age_s=0.0).payload == "at 100"
    with pytest.raises(StaleImageError, match=r"4\.0 s old.*max_image_age"):
        buffer.newest(now_ns=now_ns, max_age_s=3.9)
    # An old frame that is asked for by its stamp is what was wanted.
    assert buffer.at(ns(100.0), now_ns=now_ns)


def test_time_going_backwards_drops_all_frames() -> None:
    buffer = make_buffer((100.0, 101.0, 102.0))
    assert buffer.add(Frame(ns(50.0), "again")) is True
    assert buffer.newest().payload == "again"
    assert len(buffer) == 1
    with pytest.raises(NoImageError):
        buffer.at(ns(101.0))
    # A bag that loops, or a simulation that restarts, within what is held: an earlier stamp may
    # come again, on another picture.
    assert buffer.add(Frame(ns(52.0), "b")) is False
    assert buffer.add(Frame(ns(51.0), "c")) is True
    assert buffer.newest().payload == "c"
    with pytest.raises(NoImageError):
        buffer.at(ns(50.0))


def test_cleared_is_as_new() -> None:
    buffer = make_buffer((100.0, 105.0, 112.0), size=7)
    buffer.clear()
    assert (len(buffer), buffer.total_bytes, list(buffer)) == (0, 0, [])
    with pytest.raises(NoImageError, match="has come yet"):
        buffer.at(ns(100.0))
    assert buffer.add(Frame(ns(1.0), "a")) is False


def test_two_publishers_may_overtake_each_other_a_little() -> None:
    buffer = make_buffer((100.0, 100.2))
    assert buffer.add(Frame(ns(100.1), "late")) is False
    assert [buffer.at(ns(s)).stamp_ns for s in (100.0, 100.1, 100.2)]


def test_the_same_stamp_again_replaces() -> None:
    buffer = make_buffer((100.0,), size=3)
    buffer.add(Frame(ns(100.0), "new", 5))
    assert (len(buffer), buffer.total_bytes, buffer.newest().payload) == (1, 5, "new")


def test_bounded_in_bytes_but_the_newest_stays() -> None:
    buffer = make_buffer(tuple(100 + n / 10 for n in range(20)), size=100, most=350)
    assert (len(buffer), buffer.total_bytes) == (3, 300)
    with pytest.raises(FrameExpiredError, match="buffer_megabytes"):
        buffer.at(ns(100.0))
    buffer.add(Frame(ns(103.0), "huge", 1000))
    assert len(buffer) == 1
    assert buffer.newest().payload == "huge"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50)), min_size=1, max_size=60))
def test_bounds_hold_whatever_comes(frames: list[tuple[int, int]]) -> None:
    buffer = make_buffer(seconds=10.0, most=120)
    for stamp_s, size in frames:
        buffer.add(Frame(ns(stamp_s), "x", size))
        newest = buffer.newest()
        assert newest.stamp_ns == ns(stamp_s)
        assert buffer.at(ns(stamp_s)) is newest
        assert buffer.total_bytes <= max(120, newest.size_bytes)


def test_get_and_within() -> None:
    buffer = make_buffer((100.0, 100.1, 100.2))
    assert buffer.get(ns(100.1)) is buffer.at(ns(100.1))
    assert buffer.get(ns(100.1) - 1) is None
    assert [f.stamp_ns for f in buffer.within(ns(100.1), ns(0.1))] == [f.stamp_ns for f in buffer]
    assert [f.stamp_ns for f in buffer.within(ns(100.1), ns(0.1) - 1)] == [ns(100.1)]
    assert buffer.within(ns(99.0), ns(0.5)) == []


def test_the_only_frame_that_can_be_meant() -> None:
    buffer = make_buffer((100.0, 100.1, 100.2))
    assert buffer.only_near(ns(100.104), ns(0.01)) is buffer.get(ns(100.1))
    assert buffer.only_near(ns(100.2) + ns(0.004), ns(0.01)) is buffer.get(ns(100.2))
    assert buffer.only_near(ns(100.115), ns(0.01)) is None
    # Wider than half the time between frames: another one could be meant, held or lost.
    assert buffer.only_near(ns(100.104), ns(0.05)) is None
    # Nobody knows how fast the camera is.
    assert make_buffer((100.0,)).only_near(ns(100.0), ns(0.01)) is None


def test_a_dropped_frame_may_have_been_meant() -> None:
    buffer = make_buffer((100.0, 100.1, 100.2, 100.3), size=100, most=250)
    assert [f.stamp_ns for f in buffer] == [ns(100.2), ns(100.3)]
    assert buffer.only_near(ns(100.199), ns(0.01)) is buffer.get(ns(100.2))
    assert buffer.only_near(ns(100.11), ns(0.0499)) is None
    # One frame is near, but the dropped one is as near as the tolerance allows.
    buffer = make_buffer((100.0, 100.06, 100.3), size=100, most=250)
    assert [f.stamp_ns for f in buffer] == [ns(100.06), ns(100.3)]
    assert buffer.only_near(ns(100.035), ns(0.035)) is None
    assert buffer.only_near(ns(100.035), ns(0.035) - 1) is buffer.get(ns(100.06))


def test_newest_where() -> None:
    buffer = make_buffer((100.0, 100.1, 100.2))
    found = buffer.newest_where(lambda frame: frame.stamp_ns < ns(100.15))
    assert found is not None
    assert found.payload == "at 100.1"
    assert buffer.newest_where(lambda _: False) is None


def test_stamps_are_written_exactly() -> None:
    assert format_ns(12 * NS + 345) == "12.000000345"
