"""The order of the inference thread's jobs (docs/adr/0011). Pure: no thread, no torch."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from chatspot_ros.engine.scheduling.job import JobHandle, Priority, StepwiseBatch
from chatspot_ros.errors import BusyError, ChatspotError

# While jobs of several priorities wait or run, each priority gets one of so many turns.
SHARE = 4
# Jobs that may run in one batch.
TOGETHER = 8
# A waiting job lets at most so many that came later begin before it.
PATIENCE = 8
# Ended jobs behind the estimate, and its lower bound in seconds.
RECENT = 16
SOONEST_S = 0.1

Job = JobHandle[Any]
Ended = tuple[Job, ChatspotError]


@dataclass(frozen=True)
class NextAction:
    """The thread's next action: begin a job, or step the batch that jobs wait for."""

    begin: Job | None = None
    steps: StepwiseBatch | None = None


class RateEstimate:
    """The mean time of recent jobs, from which a full queue says when to ask again."""

    def __init__(self) -> None:
        self._busy_s = 0.0
        self._recent_s: deque[float] = deque(maxlen=RECENT)

    def worked(self, seconds: float) -> None:
        """Add time that the thread has worked."""
        self._busy_s += seconds

    def ended(self) -> None:
        """Count a job that has ended."""
        self._recent_s.append(self._busy_s)
        self._busy_s = 0.0

    def seconds_until_ended(self, jobs: int) -> float:
        """Return the expected time of so many jobs, less the work since the last end.

        Before the first end: as long again as the running one has taken.
        """
        each_s = sum(self._recent_s) / len(self._recent_s) if self._recent_s else 2 * self._busy_s
        return max(SOONEST_S, each_s * jobs - self._busy_s)


class Scheduler:
    """The waiting and the running jobs. Guarded by its user's lock."""

    def __init__(self, queue_size: int) -> None:
        """At most `queue_size` jobs wait."""
        self._queue_size = queue_size
        # Both in order of arrival or start.
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.pace = RateEstimate()
        # Turns of other priorities since the last one of each.
        self._passed: dict[Priority, int] = {}

    def add(self, handle: Job) -> list[Ended]:
        """Queue a job; return the jobs that have ended meanwhile or make room for it.

        In a full queue the youngest waiting job of the lowest priority makes room, if its priority
        is lower than the new one's. Raises BusyError when there is none.
        """
        ended = self.take_ended()
        if len(self.waiting) >= self._queue_size:
            last = max(self.waiting, key=lambda one: one.priority)
            last = [one for one in self.waiting if one.priority == last.priority][-1]
            if last.priority <= handle.priority:
                # No job has ended, or there would be room.
                raise self._busy("too many questions wait already")
            self.waiting.remove(last)
            ended.append((last, self._busy("a more urgent question took this one's place")))
        self.waiting.append(handle)
        return ended

    def take_ended(self) -> list[Ended]:
        """Remove the waiting jobs that were stopped or ran out of time; return them."""
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
        """Move a job from the waiting to the running ones."""
        for older in self.waiting[: self.waiting.index(handle)]:
            older.overtaken += older.priority == handle.priority
        self.waiting.remove(handle)
        self.running.append(handle)

    def end(self, handle: Job) -> None:
        """Remove a running job that has ended."""
        self.running.remove(handle)
        self.pace.ended()

    def next(self) -> NextAction | None:
        """Choose the next action; None when there is no work."""
        ready = [handle for handle in self.waiting if self._session_free(handle)]
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
        """Return the highest priority with work, unless another has waited too many turns."""
        self._passed = {one: self._passed.get(one, 0) for one in work}
        patient = [one for one in work if self._passed[one] >= SHARE - 1]
        chosen = max(patient, key=self._passed.__getitem__) if patient else min(work)
        for one in work:
            self._passed[one] = 0 if one == chosen else self._passed[one] + 1
        return chosen

    def _may_join(self, handle: Job) -> bool:
        """Return whether a waiting job may join a running batch of its frame."""
        if handle.frame is None or len(self.running) >= TOGETHER:
            return False
        if not any(
            one.frame == handle.frame and one.waits_for is not None and one.waits_for.merges
            for one in self.running
        ):
            return False
        older = self.waiting[: self.waiting.index(handle)]
        return all(one.overtaken < PATIENCE for one in older if one.priority == handle.priority)

    def _session_free(self, handle: Job) -> bool:
        """Return True if no earlier job of this session is pending."""
        if handle.session_key is None:
            return True
        before = self.waiting[: self.waiting.index(handle)]
        return all(one.session_key != handle.session_key for one in (*before, *self.running))

    def _busy(self, problem: str) -> BusyError:
        """Return the error of a full queue, with the expected wait."""
        seconds = self.pace.seconds_until_ended(max(1, len(self.running)))
        return BusyError(
            problem,
            value=f"{len(self.waiting)} waiting",
            remedy=f"ask again in about {seconds:.1f} s",
        )
