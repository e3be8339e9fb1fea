from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatspot_ros.engine.scheduling.worker import THREAD_NAME, InferenceWorker, JobHandle
from chatspot_ros.errors import (
    BusyError,
    CancelledError,
    ChatspotError,
    DeadlineError,
    ModelError,
    NotActiveError,
    RegionError,
)

PATIENCE_S = 20.0


class Ends:
    """Notes every end of every job: name -> [(result, error), ...]."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[object, ChatspotError | None]]] = {}

    def __call__(self, name: str) -> Callable[[Any, ChatspotError | None], None]:
        self.of[name] = []
        return lambda result, error: self.of[name].append((result, error))


class Gate:
    """A job that says when it has started and waits until it is opened."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.open = threading.Event()
        # When it is known, the job checks it, as an engine calls `should_stop`.
        self.handle: JobHandle | None = None

    def __call__(self, engine: str) -> str:
        self.started.set()
        while not self.open.wait(0.005):
            if self.handle is not None:
                self.handle.check()
        return "through"


@pytest.fixture
def worker() -> Iterator[InferenceWorker[str]]:
    worker = InferenceWorker("the engine", queue_size=2)
    yield worker
    worker.stop()


@pytest.fixture
def ends() -> Ends:
    return Ends()


def only(ends: Ends, name: str) -> tuple[object, ChatspotError | None]:
    (end,) = ends.of[name]
    return end


def block(worker: InferenceWorker[str], ends: Ends, asks: bool = False) -> tuple[Gate, JobHandle]:
    gate = Gate()
    handle = worker.submit(gate, on_done=ends("gate"))
    assert gate.started.wait(PATIENCE_S)
    gate.handle = handle if asks else None
    return gate, handle


def test_a_job_gets_the_engine_in_the_one_thread(worker: InferenceWorker[str], ends: Ends) -> None:
    threads = []

    def job(engine: str) -> str:
        threads.append(threading.current_thread())
        return engine.upper()

    for name in ("a", "b"):
        assert worker.submit(job, on_done=ends(name)).wait(PATIENCE_S)
        assert only(ends, name) == ("THE ENGINE", None)
    assert len(set(threads)) == 1
    assert threads[0].name == THREAD_NAME


def test_jobs_run_in_order(worker: InferenceWorker[str], ends: Ends) -> None:
    gate, _ = block(worker, ends)
    order: list[int] = []
    handles = [worker.submit(lambda _, n=n: order.append(n), on_done=ends(str(n))) for n in (0, 1)]
    gate.open.set()
    assert all(handle.wait(PATIENCE_S) for handle in handles)
    assert order == [0, 1]


def test_a_full_queue_is_busy_at_once(worker: InferenceWorker[str], ends: Ends) -> None:
    gate, _ = block(worker, ends)
    waiting = [worker.submit(lambda _: "ran", on_done=ends(str(n))) for n in range(2)]
    assert worker.waiting == 2
    began_s = time.monotonic()
    with pytest.raises(BusyError, match="2 waiting"):
        worker.submit(lambda _: "never", on_done=ends("refused"))
    assert time.monotonic() - began_s < 1
    gate.open.set()
    assert all(handle.wait(PATIENCE_S) for handle in waiting)
    assert ends.of["refused"] == []
    assert worker.submit(lambda _: "again", on_done=ends("again")).wait(PATIENCE_S)


def test_cancelling_a_waiting_job_ends_it_at_once_and_makes_room(
    worker: InferenceWorker[str], ends: Ends
) -> None:
    gate, _ = block(worker, ends)
    ran = []
    first, second = (worker.submit(ran.append, on_done=ends(name)) for name in ("first", "second"))
    first.cancel()
    assert first.done
    assert isinstance(only(ends, "first")[1], CancelledError)
    third = worker.submit(ran.append, on_done=ends("third"))
    gate.open.set()
    assert second.wait(PATIENCE_S)
    assert third.wait(PATIENCE_S)
    assert len(ran) == 2
    first.cancel()
    second.cancel()
    assert [len(ends.of[name]) for name in ("first", "second", "third")] == [1, 1, 1]
    assert only(ends, "second") == (None, None)


def test_cancelling_a_running_job_ends_it_at_its_next_check(
    worker: InferenceWorker[str], ends: Ends
) -> None:
    _, handle = block(worker, ends, asks=True)
    handle.cancel()
    assert handle.wait(PATIENCE_S)
    assert isinstance(only(ends, "gate")[1], CancelledError)


def test_a_job_that_never_asks_still_counts_as_cancelled(
    worker: InferenceWorker[str], ends: Ends
) -> None:
    gate, handle = block(worker, ends)
    handle.cancel()
    assert not handle.done
    gate.open.set()
    assert handle.wait(PATIENCE_S)
    assert isinstance(only(ends, "gate")[1], CancelledError)


def test_a_deadline_passes_while_waiting(worker: InferenceWorker[str], ends: Ends) -> None:
    gate, _ = block(worker, ends)
    ran: list[str] = []
    late = worker.submit(ran.append, deadline_s=time.monotonic() - 1, on_done=ends("late"))
    gate.open.set()
    assert late.wait(PATIENCE_S)
    assert isinstance(only(ends, "late")[1], DeadlineError)
    assert ran == []


def test_late_jobs_make_room(worker: InferenceWorker[str], ends: Ends) -> None:
    gate, _ = block(worker, ends)
    for name in ("a", "b"):
        worker.submit(lambda _: "", deadline_s=time.monotonic() - 1, on_done=ends(name))
    worker.submit(lambda _: "", on_done=ends("c"))
    # Told before the blocked thread could.
    assert isinstance(only(ends, "a")[1], DeadlineError)
    assert isinstance(only(ends, "b")[1], DeadlineError)
    gate.open.set()


def test_a_deadline_passes_while_running(worker: InferenceWorker[str], ends: Ends) -> None:
    gate = Gate()
    handle = gate.handle = worker.submit(
        gate, deadline_s=time.monotonic() + 0.05, on_done=ends("gate")
    )
    assert handle.wait(PATIENCE_S)
    assert isinstance(only(ends, "gate")[1], DeadlineError)


@pytest.mark.parametrize(
    "raised", [ValueError("bad weights"), MemoryError(), SystemExit(3), KeyboardInterrupt()]
)
def test_whatever_a_job_raises_becomes_a_model_error(
    worker: InferenceWorker[str], ends: Ends, raised: BaseException
) -> None:
    def job(engine: str) -> None:
        raise raised

    assert worker.submit(job, on_done=ends("bad")).wait(PATIENCE_S)
    error = only(ends, "bad")[1]
    assert isinstance(error, ModelError)
    assert error.__cause__ is raised
    assert type(raised).__name__ in str(error)
    assert worker.submit(lambda _: 1, on_done=ends("next")).wait(PATIENCE_S)
    assert only(ends, "next") == (1, None)


def test_our_own_errors_keep_their_type(worker: InferenceWorker[str], ends: Ends) -> None:
    mine = RegionError("wrong", value=1, remedy="mend")

    def job(engine: str) -> None:
        raise mine

    assert worker.submit(job, on_done=ends("mine")).wait(PATIENCE_S)
    assert only(ends, "mine") == (None, mine)


@pytest.mark.parametrize("raised", [ValueError(), SystemExit()])
def test_a_callback_that_fails_stops_nothing(
    worker: InferenceWorker[str], ends: Ends, raised: BaseException
) -> None:
    def on_done(result: object, error: object) -> None:
        raise raised

    assert worker.submit(lambda _: 1, on_done=on_done).wait(PATIENCE_S)
    assert worker.submit(lambda _: 2, on_done=ends("next")).wait(PATIENCE_S)
    assert only(ends, "next") == (2, None)


def test_stop_ends_everything_with_not_active(worker: InferenceWorker[str], ends: Ends) -> None:
    block(worker, ends, asks=True)
    for name in ("a", "b"):
        worker.submit(lambda _: "", on_done=ends(name))
    assert worker.stop(PATIENCE_S)
    for name in ("gate", "a", "b"):
        assert isinstance(only(ends, name)[1], NotActiveError)
    with pytest.raises(NotActiveError):
        worker.submit(lambda _: "", on_done=ends("later"))
    assert worker.stop()


def test_stop_does_not_wait_for_a_job_that_never_asks(
    worker: InferenceWorker[str], ends: Ends
) -> None:
    gate, handle = block(worker, ends)
    assert not worker.stop(timeout_s=0.05)
    assert handle.done
    assert isinstance(only(ends, "gate")[1], NotActiveError)
    gate.open.set()
    assert worker.stop(PATIENCE_S)
    assert len(ends.of["gate"]) == 1


def test_no_job_ends_twice_or_never_under_a_storm() -> None:
    worker = InferenceWorker("the engine", queue_size=4)
    ends = Ends()
    submitted: list[tuple[str, JobHandle]] = []
    lock = threading.Lock()

    def ask(number: int) -> None:
        for k in range(100):
            name = f"{number}-{k}"
            on_done = ends(name)
            try:
                handle = worker.submit(
                    lambda _: time.monotonic(),
                    deadline_s=time.monotonic() + (0.0005 if k % 3 == 0 else 60),
                    on_done=on_done,
                )
            except (BusyError, NotActiveError):
                continue
            with lock:
                submitted.append((name, handle))
            if k % 2:
                handle.cancel()

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(PATIENCE_S)
    assert worker.stop(PATIENCE_S)
    assert submitted
    for name, handle in submitted:
        assert handle.wait(PATIENCE_S)
        assert len(ends.of[name]) == 1


# --- several engines


def test_two_engines_run_two_jobs_at_the_same_time() -> None:
    worker = InferenceWorker("first", "second", queue_size=4)
    both = threading.Barrier(2, timeout=PATIENCE_S)
    used: list[str] = []

    def meet(engine: str) -> None:
        both.wait()
        used.append(engine)

    jobs = [worker.submit(meet) for _ in range(2)]
    assert all(job.wait(PATIENCE_S) for job in jobs)
    assert sorted(used) == ["first", "second"]
    assert worker.stop(PATIENCE_S)


def test_an_engine_that_cannot_be_made_stops_the_others() -> None:
    def fail() -> str:
        raise KeyError("no such device")

    before = threading.active_count()
    with pytest.raises(KeyError, match="no such device"):
        InferenceWorker.begin(lambda: "first", fail, queue_size=4)
    assert threading.active_count() == before


def test_a_stop_ends_the_jobs_of_all_threads(ends: Ends) -> None:
    worker = InferenceWorker("first", "second", queue_size=4)
    gates = [Gate() for _ in range(2)]
    handles = [worker.submit(gate, on_done=ends(str(k))) for k, gate in enumerate(gates)]
    for gate, handle in zip(gates, handles, strict=True):
        assert gate.started.wait(PATIENCE_S)
        gate.handle = handle
    assert worker.stop(PATIENCE_S)
    assert all(isinstance(only(ends, str(k))[1], NotActiveError) for k in range(2))


def test_a_job_left_to_a_busy_thread_is_taken_when_it_ends() -> None:
    worker = InferenceWorker("first", "second", queue_size=4)
    gate = Gate()
    first = worker.submit(gate, frame=1, session_key="tour")
    assert gate.started.wait(PATIENCE_S)
    later = [worker.submit(lambda _: None, frame=1, session_key="tour") for _ in range(3)]
    assert not any(one.done for one in later)
    gate.open.set()
    assert all(one.wait(PATIENCE_S) for one in (first, *later))
    assert worker.stop(PATIENCE_S)
