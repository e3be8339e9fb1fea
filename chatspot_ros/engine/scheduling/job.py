"""One job of the inference thread: what is to be done, when, and that it ends exactly once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Hashable
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar

from chatspot_ros.errors import CancelledError, ChatspotError, DeadlineError

ResultT = TypeVar("ResultT")
# A result and None, or None and why there is none.
OnDone = Callable[[ResultT | None, ChatspotError | None], None]

_log = logging.getLogger(__name__)


class Priority(IntEnum):
    """Which jobs come first: the smaller number."""

    INTERACTIVE = 0  # somebody waits for this answer
    BACKGROUND = 1  # all detections of a frame, and what is asked again and again


class StepwiseBatch(Protocol):
    """What goes on step by step, for all jobs that wait for it; see `api.Batch`."""

    @property
    def merges(self) -> bool:
        """Whether further jobs on the same frame are cheaper in it than after it."""

    def step(self) -> None:
        """Go on by one step."""


# A job that is done in steps: it yields what it waits for, until that has a result for it.
StepwiseJob = Generator[StepwiseBatch, None, ResultT]


def ignore(result: object, error: object) -> None:
    """Stand in for the callback of a job that nobody waits for."""


class JobHandle(Generic[ResultT]):
    """One job: ends exactly once, with `on_done(result, None)` or `on_done(None, error)`."""

    def __init__(
        self,
        job: Callable[..., Any],
        deadline_s: float | None = None,
        on_done: OnDone[ResultT] = ignore,
        *,
        priority: Priority = Priority.INTERACTIVE,
        frame: Hashable = None,
        session_key: Hashable = None,
    ) -> None:
        self.job = job
        self.deadline_s = deadline_s
        self.priority, self.frame, self.session_key = priority, frame, session_key
        # While it runs in steps: the job itself, and what it waits for.
        self.steps: StepwiseJob[ResultT] | None = None
        self.waits_for: StepwiseBatch | None = None
        # How many jobs that came later have begun before it.
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
        """Wait until the job has ended and `on_done` has returned; whether it has."""
        return self._done.wait(timeout_s)

    def cancel(self) -> None:
        """End the job with CancelledError: at once while it waits, at its next check while it runs.

        Nothing happens when it has ended. Safe from any thread.
        """
        self.stop(CancelledError("the job was cancelled", value="a cancel", remedy="ask again"))

    def stop(self, error: ChatspotError) -> None:
        """End the job with an error, as `cancel` does."""
        with self._lock:
            if self._stop_error is None:
                self._stop_error = error
            waits = not self._started
        if waits:
            self.end(None, error)

    def check(self) -> bool:
        """Raise why the job is to end; return False while it may go on."""
        self.check_stopped()
        if self.deadline_s is not None and time.monotonic() >= self.deadline_s:
            raise DeadlineError(
                "the time ran out",
                value="a deadline in the past",
                remedy="allow more time, or ask when fewer queries wait",
            )
        return False

    def check_stopped(self) -> None:
        """Raise why the job was stopped from outside, if it was."""
        if self._stop_error is not None:
            raise self._stop_error

    def start(self) -> bool:
        """Note that the job begins; False when it has ended or been stopped before."""
        with self._lock:
            if self._started or self._stop_error is not None:
                return False
            self._started = True
            return True

    def end(self, result: ResultT | None, error: ChatspotError | None) -> None:
        """Tell how the job ended; only the first call counts."""
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
