"""The inference threads: each owns an engine and runs the jobs that other threads submit."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Generic, TypeVar

from chatspot_ros.engine.scheduling.job import (
    JobHandle,
    OnDone,
    Priority,
    StepwiseBatch,
    StepwiseJob,
    ignore,
)
from chatspot_ros.engine.scheduling.scheduler import Job, Scheduler
from chatspot_ros.errors import ChatspotError, ModelError, NotActiveError

EngineT = TypeVar("EngineT")
ResultT = TypeVar("ResultT")

_log = logging.getLogger(__name__)
THREAD_NAME = "inference"


class InferenceWorker(Generic[EngineT]):
    """The threads that use one engine each, behind one bounded queue of jobs.

    A job that is a generator runs in steps, between which other jobs get their turns: it yields
    the batch that it waits for (`job.StepwiseBatch`), and its return value is the result.
    """

    def __init__(self, *engines: EngineT, queue_size: int) -> None:
        """`queue_size` jobs may wait while others run. The threads start at once."""
        self._prepare(len(engines), queue_size)
        for number, engine in enumerate(engines):
            self._start(number, lambda engine=engine: engine)  # type: ignore[misc]

    def _prepare(self, threads: int, queue_size: int) -> None:
        self._schedule = Scheduler(queue_size, threads)
        self._stopped = False
        # Guards the schedule. Each change rings, and the idle threads look again: a queue written
        # in C wakes them sooner than a condition, which waits in Python.
        self._lock = threading.Lock()
        self._bells: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(threads)]
        self._threads: list[threading.Thread] = []

    @classmethod
    def begin(cls, *makes: Callable[[], EngineT], queue_size: int) -> InferenceWorker[EngineT]:
        """Start a thread for each engine and make the engine in it, one after the other.

        Recorded steps belong to their thread. Errors of a `make` go through.
        """
        worker: InferenceWorker[EngineT] = cls.__new__(cls)
        worker._prepare(len(makes), queue_size)
        try:
            for number, make in enumerate(makes):
                worker._start(number, make)
        except BaseException:
            worker.stop()
            raise
        return worker

    def _start(self, number: int, make: Callable[[], EngineT]) -> None:
        """Start a thread and wait until its engine is made."""
        made: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                engine = make()
            except BaseException as error:
                made.put(error)
                return
            made.put(None)
            self._run(number, engine)

        name = f"{THREAD_NAME}-{number}" if number else THREAD_NAME
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        failure = made.get()
        if failure is not None:
            thread.join()
            raise failure
        self._threads.append(thread)

    @property
    def waiting(self) -> int:
        """The number of waiting jobs."""
        with self._lock:
            return sum(not handle.done for handle in self._schedule.waiting)

    def submit(
        self,
        job: Callable[[EngineT], ResultT | StepwiseJob[ResultT]],
        *,
        deadline_s: float | None = None,
        on_done: OnDone[ResultT] = ignore,
        priority: Priority = Priority.INTERACTIVE,
        frame: Hashable = None,
        session_key: Hashable = None,
        camera: Hashable = None,
    ) -> JobHandle[ResultT]:
        """Queue a job, to be called with the engine of the thread that takes it.

        `deadline_s` is on the clock of time.monotonic. A waiting job whose deadline passes ends
        at the next turn of a thread, or when room is needed; a running one between its steps.
        Jobs of one `frame` may share a batch; those of one `session_key` run one after the other,
        as they came. Each `camera` gets its turn. `on_done` is called once, in the thread that ran
        the job or in the one that cancelled, stopped or took its place.

        Raises:
            BusyError: the queue is full of jobs that are no less urgent.
            NotActiveError: the worker was stopped.
        """
        handle: JobHandle[ResultT] = JobHandle(
            job, deadline_s, on_done,
            priority=priority, frame=frame, session_key=session_key, camera=camera,
        )  # fmt: skip
        with self._lock:
            if self._stopped:
                raise self._not_active()
            ended = self._schedule.add(handle)
        self._ring()
        # Yields Python's lock to the woken thread, which would else wait until this one blocks.
        time.sleep(0)
        _tell(ended)
        return handle

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End all jobs with NotActiveError and the threads too; return whether these ended.

        The running jobs get `timeout_s` to reach their next check; afterwards they are reported as
        ended while a thread still computes, and their results are dropped.
        """
        with self._lock:
            self._stopped = True
            waiting, running = list(self._schedule.waiting), list(self._schedule.running)
            self._schedule.waiting.clear()
        self._ring()
        for handle in (*waiting, *running):
            handle.stop(self._not_active())
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until_s - time.monotonic()))
        for handle in running:
            handle.end(None, self._not_active())
        return not any(thread.is_alive() for thread in self._threads)

    def _ring(self) -> None:
        """Wake the idle threads after a change of the schedule."""
        for bell in self._bells:
            if bell.empty():  # else it is awake already
                bell.put(None)

    def _run(self, number: int, engine: EngineT) -> None:
        """Take turns in thread `number` until the stop."""
        while True:
            with self._lock:
                stopped = self._stopped
                ended = self._schedule.take_ended()
                turn = None if stopped else self._schedule.next(number)
                if turn is not None and turn.begin is not None:
                    self._schedule.begin(turn.begin, number)
            _tell(ended)
            if stopped:
                for handle in self._running_on(number):
                    self._go_on(handle, self._not_active())
                return
            if turn is None:
                self._bells[number].get()
                continue
            began_s = time.monotonic()
            try:
                if turn.begin is not None:
                    self._begin(turn.begin, engine)
                elif turn.steps is not None:
                    self._step(turn.steps, number)
            finally:
                with self._lock:
                    self._schedule.pace.worked(time.monotonic() - began_s)

    def _running_on(self, number: int) -> list[Job]:
        with self._lock:
            return [one for one in self._schedule.running if one.worker == number]

    def _begin(self, handle: Job, engine: EngineT) -> None:
        """Begin a job: run it, or its generator up to the batch that it waits for."""
        if not handle.start():
            self._end(handle, None, None)
            return
        try:
            handle.check()
            result = handle.job(engine)
        except BaseException as error:
            self._end(handle, None, _as_our_own(error))
            return
        if isinstance(result, Generator):
            handle.steps = result
            self._go_on(handle)
        else:
            self._end(handle, result, None)

    def _step(self, steps: StepwiseBatch, number: int) -> None:
        """Step a batch, then resume the jobs that wait for it."""
        handles = [one for one in self._running_on(number) if one.waits_for is steps]
        for handle in list(handles):
            try:
                handle.check()
            except ChatspotError as error:
                handles.remove(handle)
                self._go_on(handle, error)
        failure: BaseException | None = None
        if handles:
            try:
                steps.step()
            except BaseException as error:
                failure = error
        for handle in handles:
            self._go_on(handle, failure)

    def _go_on(self, handle: Job, error: BaseException | None = None) -> None:
        """Resume a job in steps, or raise an error in it; it ends or waits again."""
        if handle.steps is None:  # a plain function, which ends by itself
            return
        result: object = None
        ended_by: ChatspotError | None = None
        try:
            if error is None:
                handle.waits_for = next(handle.steps)
            else:
                handle.waits_for = handle.steps.throw(error)
            return
        except StopIteration as end:
            result = end.value
        except BaseException as raised:
            ended_by = _as_our_own(raised)
        self._end(handle, result, ended_by)

    def _end(self, handle: Job, result: object, error: ChatspotError | None) -> None:
        """Remove a job and end its handle."""
        with self._lock:
            self._schedule.end(handle)
        if len(self._threads) > 1:
            # Another thread may have left a job of this session or frame to this one.
            self._ring()
        try:
            # A job without checks must not turn a cancel into a success.
            if error is None:
                handle.check_stopped()
        except ChatspotError as stopped:
            result, error = None, stopped
        _tell([(handle, error)], result)

    def _not_active(self) -> NotActiveError:
        return NotActiveError(
            "the model was stopped",
            value="a question after the stop",
            remedy="start the node again",
        )


def _tell(ended: Sequence[tuple[Job, ChatspotError | None]], result: object = None) -> None:
    for handle, error in ended:
        try:
            handle.end(result, error)
        except BaseException:  # a callback that wants to end the process ends only its job
            _log.exception("a callback of an ended job failed; going on")


def _as_our_own(error: BaseException) -> ChatspotError:
    """Return a job's exception as a ChatspotError: the thread must outlive every failure."""
    if isinstance(error, ChatspotError):
        return error
    _log.error("a job failed", exc_info=error)
    failure = ModelError(
        "the model failed",
        value=f"{type(error).__name__}: {error}",
        remedy="see the log; if it stays, restart the node",
    )
    failure.__cause__ = error
    return failure
