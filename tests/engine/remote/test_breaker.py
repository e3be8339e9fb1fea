"""When a server is left alone, and when it is tried again."""

import pytest

from chatspot_ros.engine.remote.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from chatspot_ros.engine.remote.errors import OpenCircuitError, RefusedError, ServerFailedError

FAILED = ServerFailedError("status 500", value="s", remedy="r")
REFUSED = RefusedError("status 400", value="s", remedy="r")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(2, 10.0, clock)


def fail(breaker: Breaker) -> None:
    breaker.failed(FAILED, breaker.enter())


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker)
    breaker.enter()
    breaker.succeeded()
    fail(breaker)
    assert breaker.state == CLOSED
    fail(breaker)
    assert (breaker.state, breaker.why) == (OPEN, "status 500")
    with pytest.raises(OpenCircuitError, match=r"10\.0 s"):
        breaker.enter()


def test_one_probe_goes_through_when_the_time_is_over(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    fail(breaker)
    clock.now += 10.0
    assert breaker.state == HALF_OPEN
    assert breaker.enter() is True
    with pytest.raises(OpenCircuitError):
        breaker.enter()
    breaker.failed(FAILED, True)
    assert breaker.state == OPEN
    clock.now += 10.0
    assert breaker.enter() is True
    breaker.succeeded()
    assert (breaker.state, breaker.why) == (CLOSED, "")


def test_a_probe_that_was_cancelled_leaves_its_place(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    fail(breaker)
    clock.now += 10.0
    breaker.left(breaker.enter())
    assert breaker.enter() is True


def test_a_refusal_is_no_failure_of_the_server(breaker: Breaker, clock: Clock) -> None:
    for _ in range(5):
        breaker.failed(REFUSED, breaker.enter())
    assert breaker.state == CLOSED
    fail(breaker)
    fail(breaker)
    clock.now += 10.0
    breaker.failed(REFUSED, breaker.enter())
    assert breaker.state == CLOSED
