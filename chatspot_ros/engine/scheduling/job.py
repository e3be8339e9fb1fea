"""One job of the inference thread, which ends exactly once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Hashable
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar

from chatspot_ros.errors import CancelledError, ChatspotError, DeadlineError

ResultT = TypeVar("ResultT")
# A result and None, or None and the error.
OnDone = Callable[[ResultT | None, ChatspotError | None], None]

_log = logging.getLogger(__name__)


class Priority(IntEnum):
    """The priority of a job; the smaller number goes first."""

    INTERACTIVE = 0  # a person or planner waits for this answer
    BACKGROUND = 1  # all detections of a frame, and repeated questions


class StepwiseBatch(Protocol):
    """A batch that advances one decoding step at a time; see `api.Batch`."""

    @property
    def merges(self) -> bool:
        """Whether further jobs on the same frame are cheaper in this batch than after it."""

    def step(self) -> None:
        """Advance by one step."""


# A job in steps: it yields the batch that it waits for, until the batch has its result.
StepwiseJob = Generator[StepwiseBatch, None, ResultT]


def ignore(result: object, error: object) -> None:
    """Ignore the end of a job without a callback."""


class JobHandle(Generic[ResultT]):
    """One job, which ends exactly once: `on_done(result, None)` or `on_done(None, error)`."""

    def __init__(
        self,
        job: Callable[..., Any],
        deadline_s: float | None = None,
        on_done: OnDone[ResultT] = ignore,
        *,
        priority: Priority = Priority.INTERACTIVE,
        frame: Hashable = None,
        session_key: Hashable = None,
        camera: Hashable = None,
    ) -> None:
        self.job = job
        self.deadline_s = deadline_s
        self.priority, self.frame, self.session_key = priority, frame, session_key
        self.camera = camera
        # The number of the thread that runs it, once it runs.
        self.worker = 0
        # While the job runs in steps: its generator, and the batch that it waits for.
        self.steps: StepwiseJob[ResultT] | None = None
        self.waits_for: StepwiseBatch | None = None
        # The number of later jobs that began before it.
        self.overtaken = 0
        self._on_done = on_done
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._stop_error: ChatspotError | None = None
        self._started = False
        self._told = False

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._done.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the job has ended and `on_done` has returned; return whether it has."""
        return self._done.wait(timeout_s)

    def cancel(self) -> None:
        """End the job with CancelledError: at once while waiting, at its next check while running.

        An ended job stays as it is. Safe from any thread.
        """
        self.stop(CancelledError("the job was cancelled", value="a cancel", remedy="ask again"))

    def stop(self, error: ChatspotError) -> None:
        """End the job with an error, in the way of `cancel`."""
        with self._lock:
            if self._stop_error is None:
                self._stop_error = error
            waits = not self._started
        if waits:
            self.end(None, error)

    def check(self) -> bool:
        """Raise the error that ends the job; return False while there is none."""
        self.check_stopped()
        if self.deadline_s is not None and time.monotonic() >= self.deadline_s:
            raise DeadlineError(
                "the time ran out",
                value="a deadline in the past",
                remedy="allow more time, or ask when fewer queries wait",
            )
        return False

    def check_stopped(self) -> None:
        """Raise the error of a `stop` or `cancel`, if any."""
        if self._stop_error is not None:
            raise self._stop_error

    def start(self) -> bool:
        """Mark the job as started; return False when it has ended or been stopped before."""
        with self._lock:
            if self._started or self._stop_error is not None:
                return False
            self._started = True
            return True

    def end(self, result: ResultT | None, error: ChatspotError | None) -> None:
        """End the job and call `on_done`; only the first call counts."""
        with self._lock:
            if self._told:
                return
            self._told = self._started = True
        try:
            self._on_done(result, error)
        except Exception:
            _log.exception("a callback of an ended job failed; going on")
        finally:
            self._done.set()
