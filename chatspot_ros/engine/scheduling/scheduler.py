"""Which job of the inference thread is next (docs/adr/0011). Pure: no thread, no torch."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from chatspot_ros.engine.scheduling.job import JobHandle, Priority, StepwiseBatch
from chatspot_ros.errors import BusyError, ChatspotError

# While jobs of several priorities wait or run, each gets at least one of so many turns.
SHARE = 4
# Jobs that may run in one batch.
TOGETHER = 8
# A waiting job lets at most so many that came later begin before it.
PATIENCE = 8
# Ended jobs that the estimate looks at, and its least value in seconds.
RECENT = 16
SOONEST_S = 0.1

Job = JobHandle[Any]
Ended = tuple[Job, ChatspotError]


@dataclass(frozen=True)
class NextAction:
    """What the thread does next: begin a job, or go on with what some jobs wait for."""

    begin: Job | None = None
    steps: StepwiseBatch | None = None


class RateEstimate:
    """How long a job has taken the thread lately, so that a full queue can say when to come."""

    def __init__(self) -> None:
        self._busy_s = 0.0
        self._recent_s: deque[float] = deque(maxlen=RECENT)

    def worked(self, seconds: float) -> None:
        """Note that the thread has worked."""
        self._busy_s += seconds

    def ended(self) -> None:
        """Note that a job has ended."""
        self._recent_s.append(self._busy_s)
        self._busy_s = 0.0

    def seconds_until_ended(self, jobs: int) -> float:
        """How long so many jobs will take, the work since the last end counted off.

        Before any has ended: as long again as the running one has taken.
        """
        each_s = sum(self._recent_s) / len(self._recent_s) if self._recent_s else 2 * self._busy_s
        return max(SOONEST_S, each_s * jobs - self._busy_s)


class Scheduler:
    """The jobs that wait and those that run. Guarded by its user's lock."""

    def __init__(self, queue_size: int) -> None:
        """At most `queue_size` jobs wait."""
        self._queue_size = queue_size
        # Both in the order in which they came or began.
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.pace = RateEstimate()
        # Turns that each priority has let others have since its last one.
        self._passed: dict[Priority, int] = {}

    def add(self, handle: Job) -> list[Ended]:
        """Let a job wait; return those that have ended meanwhile or had to make room for it.

        In a full queue the youngest waiting job of the lowest priority makes room, if its priority
        is lower than the newcomer's. Raises BusyError when there is none.
        """
        ended = self.take_ended()
        if len(self.waiting) >= self._queue_size:
            last = max(self.waiting, key=lambda one: one.priority)
            last = [one for one in self.waiting if one.priority == last.priority][-1]
            if last.priority <= handle.priority:
                # Nothing has ended: it would have made room.
                raise self._busy("too many questions wait already")
            self.waiting.remove(last)
            ended.append((last, self._busy("a more urgent question took this one's place")))
        self.waiting.append(handle)
        return ended

    def take_ended(self) -> list[Ended]:
        """Take out the waiting jobs that were stopped or whose time ran out; return them."""
        kept: list[Job] = []
        ended: list[Ended] = []
        for handle in self.waiting:
            try:
                handle.check()
                kept.append(handle)
            except ChatspotError as error:
                ended.append((handle, error))
        self.waiting = kept
        return ended

    def begin(self, handle: Job) -> None:
        """Note that a job no longer waits but runs."""
        for older in self.waiting[: self.waiting.index(handle)]:
            older.overtaken += older.priority == handle.priority
        self.waiting.remove(handle)
        self.running.append(handle)

    def end(self, handle: Job) -> None:
        """Note that a running job has ended."""
        self.running.remove(handle)
        self.pace.ended()

    def next(self) -> NextAction | None:
        """Choose what is done next; None when there is nothing to do."""
        ready = [handle for handle in self.waiting if self._in_line(handle)]
        work = {handle.priority for handle in (*ready, *self.running)}
        if not work:
            return None
        chosen = self._choose(work)
        running = [handle for handle in self.running if handle.priority == chosen]
        for handle in ready:
            if handle.priority == chosen and (not running or self._may_join(handle)):
                return NextAction(begin=handle)
        if not running:
            raise RuntimeError(f"{chosen} has work and nothing to begin or to go on with")
        steps = running[0].waits_for
        for handle in self.running:
            if handle.waits_for is steps:
                self._passed[handle.priority] = 0
        return NextAction(steps=steps)

    def _choose(self, work: set[Priority]) -> Priority:
        """The highest priority that has work, unless another has let too many turns go."""
        self._passed = {one: self._passed.get(one, 0) for one in work}
        patient = [one for one in work if self._passed[one] >= SHARE - 1]
        chosen = max(patient, key=self._passed.__getitem__) if patient else min(work)
        for one in work:
            self._passed[one] = 0 if one == chosen else self._passed[one] + 1
        return chosen

    def _may_join(self, handle: Job) -> bool:
        """Whether a waiting job may begin beside the running ones: into a batch of its frame."""
        if handle.frame is None or len(self.running) >= TOGETHER:
            return False
        if not any(
            one.frame == handle.frame and one.waits_for is not None and one.waits_for.merges
            for one in self.running
        ):
            return False
        older = self.waiting[: self.waiting.index(handle)]
        return all(one.overtaken < PATIENCE for one in older if one.priority == handle.priority)

    def _in_line(self, handle: Job) -> bool:
        """Whether all jobs of its line that came before have ended."""
        if handle.session_key is None:
            return True
        before = self.waiting[: self.waiting.index(handle)]
        return all(one.session_key != handle.session_key for one in (*before, *self.running))

    def _busy(self, problem: str) -> BusyError:
        """The error of a job that there is no room for, with when there will be."""
        seconds = self.pace.seconds_until_ended(max(1, len(self.running)))
        return BusyError(
            problem,
            value=f"{len(self.waiting)} waiting",
            remedy=f"ask again in about {seconds:.1f} s",
        )
