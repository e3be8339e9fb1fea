"""Whose turn it is: order, priorities, batches of one frame, and when a full queue has room."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from chatspot_ros.engine.scheduling.job import JobHandle, Priority
from chatspot_ros.engine.scheduling.scheduler import (
    PATIENCE,
    SHARE,
    TOGETHER,
    RateEstimate,
    Scheduler,
)
from chatspot_ros.errors import BusyError, DeadlineError

BACKGROUND = Priority.BACKGROUND


@dataclass(eq=False)
class Batch:
    """What running jobs wait for; it only has a name."""

    name: str
    merges: bool = True

    def step(self) -> None:
        """Never called here."""


@dataclass
class Table:
    """A schedule, and what it has chosen, by name."""

    schedule: Scheduler = field(default_factory=lambda: Scheduler(queue_size=100))
    names: dict[JobHandle, str] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)

    def add(self, name: str, priority: Priority = Priority.INTERACTIVE, **more: object) -> None:
        handle = JobHandle(print, priority=priority, **more)  # type: ignore[arg-type]
        self.names[handle] = name
        self.schedule.add(handle)

    def turn(self, merges: bool = True) -> str:
        """Take a turn; return the name of the job that begins, or of the frame that goes on."""
        turn = self.schedule.next()
        if turn is None:
            return ""
        if turn.begin is None:
            assert isinstance(turn.steps, Batch)
            return f"frame {turn.steps.name}"
        frame = str(turn.begin.frame or self.names[turn.begin])
        batch = self.batches.get(frame)
        if batch is None or not merges:
            batch = self.batches[frame] = Batch(frame, merges)
        self.schedule.begin(turn.begin)
        turn.begin.waits_for = batch
        return self.names[turn.begin]

    def end(self, name: str) -> None:
        self.schedule.end(next(one for one in self.names if self.names[one] == name))


@pytest.fixture
def table() -> Table:
    return Table()


def test_jobs_of_other_frames_wait_for_each_other(table: Table) -> None:
    assert table.turn() == ""
    table.add("a", frame=1)
    table.add("b", frame=2)
    assert [table.turn() for _ in range(3)] == ["a", "frame 1", "frame 1"]
    table.end("a")
    assert [table.turn() for _ in range(2)] == ["b", "frame 2"]


def test_jobs_of_one_frame_come_together(table: Table) -> None:
    for name, frame in (("a", 1), ("b", 2), ("c", 1)):
        table.add(name, frame=frame)
    assert [table.turn() for _ in range(3)] == ["a", "c", "frame 1"]
    table.end("a")
    assert table.turn() == "frame 1"
    table.end("c")
    assert table.turn() == "b"


def test_jobs_without_a_frame_or_of_an_engine_that_merges_nothing_do_not(table: Table) -> None:
    for name in ("a", "b"):
        table.add(name, frame=1)
    assert [table.turn(merges=False) for _ in range(3)] == ["a", "frame 1", "frame 1"]
    other = Table()
    for name in ("a", "b"):
        other.add(name)
    assert [other.turn() for _ in range(3)] == ["a", "frame a", "frame a"]


def test_jobs_of_one_line_do_not(table: Table) -> None:
    table.add("s1", frame=1, session_key="s")
    table.add("s2", frame=1, session_key="s")
    table.add("s3", frame=1, session_key="s")
    table.add("t1", frame=1, session_key="t")
    assert [table.turn() for _ in range(3)] == ["s1", "t1", "frame 1"]
    table.end("s1")
    assert [table.turn() for _ in range(2)] == ["s2", "frame 1"]


def test_a_line_keeps_its_order_across_priorities(table: Table) -> None:
    table.add("background", BACKGROUND, frame=1, session_key="s")
    assert table.turn() == "background"
    table.add("urgent", frame=1, session_key="s")
    assert table.turn() == "frame 1"
    table.end("background")
    assert table.turn() == "urgent"


def test_a_question_pauses_a_background_job_on_another_frame(table: Table) -> None:
    table.add("background", BACKGROUND, frame=1)
    assert [table.turn() for _ in range(2)] == ["background", "frame 1"]
    table.add("question", frame=2)
    assert [table.turn() for _ in range(2)] == ["question", "frame 2"]
    table.end("question")
    assert table.turn() == "frame 1"


def test_a_question_joins_a_background_job_on_its_frame(table: Table) -> None:
    table.add("background", BACKGROUND, frame=1)
    table.turn()
    table.add("question", frame=1)
    assert [table.turn() for _ in range(3)] == ["question", "frame 1", "frame 1"]


def test_a_background_job_gets_its_share_of_the_turns(table: Table) -> None:
    table.add("background", BACKGROUND, frame=1)
    table.turn()
    turns = []
    for number in range(5):
        table.add(f"q{number}", frame=100 + number)
        turns += [table.turn() for _ in range(8)]
        table.end(f"q{number}")
    gaps = [k for k, turn in enumerate(turns) if turn == "frame 1"]
    assert gaps[0] < SHARE
    assert {after - before for before, after in pairwise(gaps)} == {SHARE}


def test_a_waiting_background_job_begins_under_a_stream_of_questions(table: Table) -> None:
    table.add("background", BACKGROUND, frame=1)
    table.add("q", frame=2)
    turns = [table.turn() for _ in range(SHARE)]
    assert turns[0] == "q"
    assert "background" in turns


def test_joining_has_an_end_for_those_who_wait(table: Table) -> None:
    table.add("first", frame=1)
    table.turn()
    table.add("other", frame=2)
    joined = 0
    for number in range(3 * PATIENCE):
        table.add(f"q{number}", frame=1)
        turn = table.turn()
        if turn.startswith("q"):
            joined += 1
            table.end(turn)
    assert joined == PATIENCE
    table.end("first")
    assert table.turn() == "other"


def test_only_so_many_run_together(table: Table) -> None:
    for number in range(TOGETHER + 3):
        table.add(f"q{number}", frame=1)
    turns = [table.turn() for _ in range(TOGETHER + 1)]
    assert turns == [*(f"q{number}" for number in range(TOGETHER)), "frame 1"]


# --- a full queue


def test_a_full_queue_says_when_there_is_room(table: Table) -> None:
    schedule = table.schedule = Scheduler(queue_size=2)
    for name in ("running", "b", "c"):
        table.add(name)
        if name == "running":
            table.turn()
    schedule.pace.worked(1.5)
    with pytest.raises(BusyError, match=r"2 waiting.*ask again in about 1\.5 s"):
        table.add("d")
    schedule.pace.worked(0.5)
    table.end("running")
    assert table.turn() == "b"
    schedule.pace.worked(0.8)
    table.add("d")
    with pytest.raises(BusyError, match=r"in about 1\.2 s"):
        table.add("e")
    schedule.pace.worked(60.0)
    with pytest.raises(BusyError, match=r"in about 0\.1 s"):
        table.add("e")


def test_the_estimate_follows_what_was_measured_last() -> None:
    pace = RateEstimate()
    for seconds in (*[9.0] * 5, *[1.0] * 16):
        pace.worked(seconds)
        pace.ended()
    assert pace.seconds_until_ended(3) == pytest.approx(3.0)


def test_a_question_takes_the_place_of_the_youngest_background_job() -> None:
    schedule = Scheduler(queue_size=3)
    handles = [
        JobHandle(print, priority=one) for one in (BACKGROUND, Priority.INTERACTIVE, BACKGROUND)
    ]
    for handle in handles:
        assert schedule.add(handle) == []
    ((displaced, error),) = schedule.add(JobHandle(print))
    assert displaced is handles[2]
    assert isinstance(error, BusyError)
    assert "more urgent" in str(error)
    with pytest.raises(BusyError, match="too many"):
        schedule.add(JobHandle(print, priority=BACKGROUND))
    ((displaced, _),) = schedule.add(JobHandle(print))
    assert displaced is handles[0]
    with pytest.raises(BusyError, match="too many"):
        schedule.add(JobHandle(print))


def test_the_late_make_room_first() -> None:
    schedule = Scheduler(queue_size=2)
    late = JobHandle(print, deadline_s=time.monotonic() - 1)
    background = JobHandle(print, priority=BACKGROUND)
    assert schedule.add(background) == []
    assert schedule.add(late) == []
    ((gone, error),) = schedule.add(JobHandle(print))
    assert gone is late
    assert isinstance(error, DeadlineError)
    assert background in schedule.waiting


# --- several cameras


def begun(schedule: Scheduler, worker: int = 0) -> JobHandle | None:
    """Begin the next job, if it is a job's turn, and end it at once."""
    turn = schedule.next(worker)
    if turn is None or turn.begin is None:
        return None
    schedule.begin(turn.begin, worker)
    schedule.end(turn.begin)
    return turn.begin


def test_cameras_take_turns_however_much_one_asks() -> None:
    schedule = Scheduler(queue_size=100)
    for camera in ("front",) * 6 + ("left", "rear", "left"):
        schedule.add(JobHandle(print, camera=camera))
    cameras = []
    while (handle := begun(schedule)) is not None:
        cameras.append(handle.camera)
    assert cameras == ["front", "left", "rear", "front", "left", *["front"] * 4]


def test_the_questions_of_one_camera_stay_in_order() -> None:
    schedule = Scheduler(queue_size=100)
    handles = [JobHandle(print, camera="front") for _ in range(4)]
    for handle in handles:
        schedule.add(handle)
        schedule.add(JobHandle(print, camera="left"))
    order = [begun(schedule) for _ in range(8)]
    assert [one for one in order if one in handles] == handles


def test_in_a_full_queue_the_camera_that_asks_most_makes_room() -> None:
    schedule = Scheduler(queue_size=4)
    fronts = [JobHandle(print, camera="front") for _ in range(4)]
    for handle in fronts:
        schedule.add(handle)
    ((displaced, error),) = schedule.add(JobHandle(print, camera="left"))
    assert displaced is fronts[-1]
    assert "another camera" in str(error)
    ((displaced, _),) = schedule.add(JobHandle(print, camera="left"))
    assert displaced is fronts[-2]
    # Two each: nobody has more than its share.
    for camera in ("front", "left"):
        with pytest.raises(BusyError, match="too many"):
            schedule.add(JobHandle(print, camera=camera))


# --- several workers


def test_a_frame_that_is_being_answered_stays_with_its_worker() -> None:
    schedule = Scheduler(queue_size=10, workers=2)
    first, same, other = (JobHandle(print, frame=frame) for frame in (1, 1, 2))
    for handle in (first, same, other):
        schedule.add(handle)
    schedule.begin(first, worker=0)
    turn = schedule.next(worker=1)
    assert turn is not None
    assert turn.begin is other
    schedule.begin(other, worker=1)
    first.waits_for = Batch("1")
    other.waits_for = Batch("2")
    turn = schedule.next(worker=1)
    assert turn is not None
    assert turn.steps is other.waits_for
    turn = schedule.next(worker=0)
    assert turn is not None
    assert turn.begin is same


def test_an_idle_worker_that_has_seen_the_frame_gets_it_and_a_busy_one_does_not() -> None:
    schedule = Scheduler(queue_size=10, workers=2)
    schedule.add(JobHandle(print, frame=1))
    assert begun(schedule, worker=0) is not None
    again = JobHandle(print, frame=1)
    schedule.add(again)
    assert schedule.next(worker=1) is None
    busy = JobHandle(print, frame=7)
    schedule.add(busy)
    schedule.begin(busy, worker=0)
    busy.waits_for = Batch("7")
    turn = schedule.next(worker=1)
    assert turn is not None
    assert turn.begin is again


def test_a_session_has_one_question_at_a_time_on_all_workers() -> None:
    schedule = Scheduler(queue_size=10, workers=2)
    first, second = (JobHandle(print, session_key="tour") for _ in range(2))
    schedule.add(first)
    schedule.add(second)
    schedule.begin(first, worker=0)
    assert schedule.next(worker=1) is None
    schedule.end(first)
    turn = schedule.next(worker=1)
    assert turn is not None
    assert turn.begin is second
