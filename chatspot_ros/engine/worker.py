"""One thread owns the engine; everybody else hands it jobs and is told how each one ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from chatspot_ros.errors import (
    BusyError,
    CancelledError,
    ChatspotError,
    DeadlineError,
    ModelError,
    NotActiveError,
)

EngineT = TypeVar("EngineT")
ResultT = TypeVar("ResultT")
# A result and None, or None and why there is none.
OnDone = Callable[[ResultT | None, ChatspotError | None], None]

_log = logging.getLogger(__name__)
THREAD_NAME = "inference"


def _ignore(result: object, error: object) -> None:
    """Stand in for the callback of a job that nobody waits for."""


class JobHandle(Generic[ResultT]):
    """One job: ends exactly once, with `on_done(result, None)` or `on_done(None, error)`."""

    def __init__(
        self, job: Callable[..., ResultT], deadline_s: float | None, on_done: OnDone[ResultT]
    ) -> None:
        self.job = job
        self.deadline_s = deadline_s
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


class InferenceWorker(Generic[EngineT]):
    """The one thread that touches an engine, with a bounded queue before it."""

    def __init__(self, engine: EngineT, *, queue_size: int) -> None:
        """`queue_size` jobs may wait while one runs. The thread starts at once."""
        self._engine = engine
        self._queue_size = queue_size
        self._queue: deque[JobHandle[object]] = deque()
        self._running: JobHandle[object] | None = None
        self._stopped = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._news:
            return sum(not handle.done for handle in self._queue)

    def submit(
        self,
        job: Callable[[EngineT], ResultT],
        *,
        deadline_s: float | None = None,
        on_done: OnDone[ResultT] = _ignore,
    ) -> JobHandle[ResultT]:
        """Queue a job, which is called with the engine in the worker's thread.

        `deadline_s` is on the clock of time.monotonic. A waiting job whose deadline passes ends
        when the running one does, or when room is needed; a running one that passes
        `should_stop` on ends at its next check. `on_done` is called once, in the worker's thread
        or in the one that cancelled or stopped.

        Raises:
            BusyError: the queue is full.
            NotActiveError: the worker was stopped.
        """
        handle = JobHandle(job, deadline_s, on_done)
        with self._news:
            if self._stopped:
                raise self._not_active()
            late = self._take_ended()
            full = len(self._queue) >= self._queue_size
            if not full:
                self._queue.append(handle)  # type: ignore[arg-type]
                self._news.notify()
        for one, error in late:
            one.end(None, error)
        if full:
            raise BusyError(
                "too many questions wait already",
                value=f"{self._queue_size} waiting",
                remedy="ask again later",
            )
        return handle

    def should_stop(self) -> bool:
        """Raise why the running job is to end; False while it may go on. For the engine to call."""
        running = self._running
        return running.check() if running is not None else False

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End all jobs with NotActiveError and the thread too; return whether the thread ended.

        The running job gets `timeout_s` to come to its next check; after that it is reported as
        ended while its thread still computes, and what it returns is dropped.
        """
        with self._news:
            self._stopped = True
            waiting = list(self._queue)
            self._queue.clear()
            running = self._running
            self._news.notify_all()
        for handle in waiting:
            handle.stop(self._not_active())
        if running is not None:
            running.stop(self._not_active())
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        if running is not None:
            running.end(None, self._not_active())
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._stopped)
                if self._stopped:
                    return
                handle = self._running = self._queue.popleft()
            try:
                if handle.start():
                    handle.end(*self._outcome(handle))
            except BaseException:  # a callback that wants to end the process ends only its job
                _log.exception("a callback of an ended job failed; going on")
            finally:
                self._running = None

    def _outcome(self, handle: JobHandle[object]) -> tuple[object, ChatspotError | None]:
        """Run a job; return its result, or None and its error, whatever it raised."""
        try:
            handle.check()
            result = handle.job(self._engine)
            # A job that does not ask must not turn a cancel into a success.
            handle.check_stopped()
        except ChatspotError as error:
            return None, error
        except BaseException as error:  # the thread must outlive everything
            _log.exception("a job failed")
            return None, _as_model_error(error)
        return result, None

    def _take_ended(self) -> list[tuple[JobHandle[object], ChatspotError]]:
        """Take the jobs that wait no longer out of the queue; return those whose time ran out."""
        kept: deque[JobHandle[object]] = deque()
        late: list[tuple[JobHandle[object], ChatspotError]] = []
        for handle in self._queue:
            try:
                handle.check()
                kept.append(handle)
            except ChatspotError as error:
                late.append((handle, error))
        self._queue = kept
        return late

    def _not_active(self) -> NotActiveError:
        return NotActiveError(
            "the model was stopped",
            value="a question after the stop",
            remedy="start the node again",
        )


def _as_model_error(error: BaseException) -> ModelError:
    failure = ModelError(
        "the model failed",
        value=f"{type(error).__name__}: {error}",
        remedy="see the log; if it stays, restart the node",
    )
    failure.__cause__ = error
    return failure
