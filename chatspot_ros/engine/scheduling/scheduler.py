"""The order of the inference threads' jobs (docs/adr/0011, 0031). Pure: no thread, no torch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable
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
# Frames whose last worker is remembered: it has their scenes.
REMEMBERED = 256
# Ended jobs behind the estimate, and its lower bound in seconds.
RECENT = 16
SOONEST_S = 0.1

Job = JobHandle[Any]
Ended = tuple[Job, ChatspotError]


@dataclass(frozen=True)
class NextAction:
    """A thread's next action: begin a job, or step the batch that jobs wait for."""

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
    """The waiting and the running jobs. Guarded by its user's lock.

    Its workers are threads with an engine each, numbered from 0. Cameras take turns: of the jobs
    that may begin, one of the camera goes first whose last one began the longest ago.
    """

    def __init__(self, queue_size: int, workers: int = 1) -> None:
        """At most `queue_size` jobs wait."""
        self._queue_size = queue_size
        self._workers = workers
        # Both in order of arrival or start.
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.pace = RateEstimate()
        # By worker: the turns of other priorities since the last one of each.
        self._passed: list[dict[Priority, int]] = [{} for _ in range(workers)]
        # By camera, how many jobs had begun when its last one did.
        self._last_begun: dict[Hashable, int] = {}
        self._begun = 0
        # By frame, the worker that answered about it last.
        self._worker_of: dict[Hashable, int] = {}

    def add(self, handle: Job) -> list[Ended]:
        """Queue a job; return the jobs that have ended meanwhile or make room for it.

        In a full queue the youngest waiting job of the lowest priority makes room, if its priority
        is lower than the new one's; else the youngest of the camera with the most waiting jobs, if
        the new one's camera still has fewer afterwards. Raises BusyError when there is none.
        """
        ended = self.take_ended()
        if len(self.waiting) >= self._queue_size:
            last, why = self._to_make_room(handle)
            # No job has ended, or there would be room.
            if last is None:
                raise self._busy("too many questions wait already")
            self.waiting.remove(last)
            ended.append((last, self._busy(why)))
        self.waiting.append(handle)
        return ended

    def _to_make_room(self, handle: Job) -> tuple[Job | None, str]:
        """Return the waiting job whose place a new one takes, if any, and the reason."""
        lowest = max(one.priority for one in self.waiting)
        last = [one for one in self.waiting if one.priority == lowest]
        if lowest > handle.priority:
            return last[-1], "a more urgent question took this one's place"
        if lowest < handle.priority:
            return None, ""
        waiting = Counter(one.camera for one in last)
        camera, most = waiting.most_common(1)[0]
        if most <= waiting[handle.camera] + 1:
            return None, ""
        crowd = [one for one in last if one.camera == camera]
        return crowd[-1], "a question about another camera, which asks less, took this one's place"

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

    def begin(self, handle: Job, worker: int = 0) -> None:
        """Move a job from the waiting to the running ones of a worker."""
        if self._running_on(worker, handle.priority):
            for older in self.waiting[: self.waiting.index(handle)]:
                older.overtaken += older.priority == handle.priority
        self.waiting.remove(handle)
        handle.worker = worker
        self.running.append(handle)
        self._worker_of.pop(handle.frame, None)
        self._worker_of[handle.frame] = worker
        if len(self._worker_of) > REMEMBERED:
            del self._worker_of[next(iter(self._worker_of))]
        self._begun += 1
        self._last_begun[handle.camera] = self._begun

    def end(self, handle: Job) -> None:
        """Remove a running job that has ended."""
        self.running.remove(handle)
        self.pace.ended()

    def next(self, worker: int = 0) -> NextAction | None:
        """Choose a worker's next action; None when it has no work."""
        ready = [
            handle
            for handle in self.waiting
            if self._session_free(handle) and not self._is_of_another(handle, worker)
        ]
        mine = self._running_on(worker)
        work = {handle.priority for handle in (*ready, *mine)}
        if not work:
            return None
        chosen = self._choose(work, worker)
        ready = [handle for handle in ready if handle.priority == chosen]
        running = [handle for handle in mine if handle.priority == chosen]
        if running:
            ready = [handle for handle in ready if self._may_join(handle, mine)]
        if ready:
            return NextAction(begin=self._first_in_turn(ready))
        if not running:
            raise RuntimeError(f"{chosen} has work and nothing to begin or to go on with")
        steps = running[0].waits_for
        for handle in mine:
            if handle.waits_for is steps:
                self._passed[worker][handle.priority] = 0
        return NextAction(steps=steps)

    def _first_in_turn(self, ready: Iterable[Job]) -> Job:
        """Return the oldest job of the camera whose last one began the longest ago."""
        return min(ready, key=lambda one: self._last_begun.get(one.camera, 0))

    def _choose(self, work: set[Priority], worker: int) -> Priority:
        """Return the highest priority with work, unless another has waited too many turns."""
        passed = {one: self._passed[worker].get(one, 0) for one in work}
        patient = [one for one in work if passed[one] >= SHARE - 1]
        chosen = max(patient, key=passed.__getitem__) if patient else min(work)
        self._passed[worker] = {one: 0 if one == chosen else passed[one] + 1 for one in work}
        return chosen

    def _running_on(self, worker: int, priority: Priority | None = None) -> list[Job]:
        """Return the running jobs of a worker, of one priority or of all."""
        return [
            one for one in self.running if one.worker == worker and priority in (None, one.priority)
        ]

    def _is_of_another(self, handle: Job, worker: int) -> bool:
        """Return whether a waiting job is left to the worker that answers about its frame now, or
        to an idle one that has its scene."""
        if handle.frame is None:
            return False
        if any(
            one.frame == handle.frame
            and one.worker != worker
            and (one.waits_for is None or one.waits_for.merges)
            for one in self.running
        ):
            return True
        last = self._worker_of.get(handle.frame, worker)
        return last != worker and not self._running_on(last)

    def _may_join(self, handle: Job, running: list[Job]) -> bool:
        """Return whether a waiting job may join a running batch of its frame."""
        if handle.frame is None or len(running) >= TOGETHER:
            return False
        if not any(
            one.frame == handle.frame and one.waits_for is not None and one.waits_for.merges
            for one in running
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
        jobs = max(1, len(self.running))
        seconds = max(SOONEST_S, self.pace.seconds_until_ended(jobs) / self._workers)
        return BusyError(
            problem,
            value=f"{len(self.waiting)} waiting",
            remedy=f"ask again in about {seconds:.1f} s",
        )
