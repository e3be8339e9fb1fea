"""The action.

Words as they come, cancel while it runs and while it waits, deadline, side by side with the
service.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
from action_msgs.msg import GoalStatus

SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_CANCELED,
    GoalStatus.STATUS_ABORTED,
)


@pytest.fixture(scope="module")
def stamp(fake: Any) -> Any:
    return fake.publish_frame()


def test_words_come_as_feedback_and_make_up_the_answers(fake: Any, stamp: Any) -> None:
    regions = [fake.region((1, 1)), fake.region((2, 2))]

    feedback = fake.Collector()
    goal = fake.send_goal("say one two three", feedback, stamp=stamp, regions=regions)
    status, result = fake.result(goal)
    assert status == SUCCEEDED
    assert (result.name, len(result.answers)) == ("OK", 2)
    assert result.header.stamp == stamp
    assert [answer.text for answer in result.answers] == ["one two three"] * 2

    def heard(index: int) -> str:
        own = [one.feedback for one in feedback.items if one.feedback.answer_index == index]
        return "".join(one.text for one in own).strip()

    fake.wait_until(lambda: [heard(0), heard(1)] == ["one two three"] * 2)


def test_cancel_while_it_runs(fake: Any, stamp: Any) -> None:
    feedback = fake.Collector()
    goal = fake.send_goal("take 60", feedback, stamp=stamp)
    feedback.wait_for(lambda f: f.feedback.text == "w ")
    fake.finish(goal.cancel_goal_async())
    status, result = fake.result(goal)
    assert (status, result.name) == (CANCELED, "CANCELLED")
    # The engine is free again.
    assert fake.ask("what", stamp=stamp).name == "OK"


def keep_busy(fake: Any, gate: Any, stamp: Any) -> Any:
    """Ask what is not done before the gate opens; return the future of its reply."""
    running = fake.client.call_async(fake.request(gate.question, stamp=stamp, timeout_s=100.0))
    # A goal and a request travel apart, and may overtake each other.
    fake.process.wait_for(repr(gate.question))
    return running


def test_cancel_while_it_waits_for_another_one(fake: Any, stamp: Any, gate: Any) -> None:
    running = keep_busy(fake, gate, stamp)
    goal = fake.send_goal("say never", stamp=stamp)
    answer = fake.finish(goal.cancel_goal_async())
    assert len(answer.goals_canceling) == 1
    status, result = fake.result(goal)
    assert (status, result.name, result.answers) == (CANCELED, "CANCELLED", [])
    assert not running.done()
    gate.open()
    assert fake.finish(running).status == 0


def test_deadline_while_another_query_runs(fake: Any, stamp: Any, gate: Any) -> None:
    running = keep_busy(fake, gate, stamp)
    goal = fake.send_goal("say never", stamp=stamp, timeout_s=0.3)
    status, result = fake.result(goal)
    assert (status, result.name) == (ABORTED, "TIMEOUT")
    assert not running.done()
    gate.open()
    assert fake.finish(running).status == 0


def test_deadline_while_it_runs(fake: Any, stamp: Any) -> None:
    status, result = fake.result(fake.send_goal("take 60", stamp=stamp, timeout_s=0.5))
    assert (status, result.name) == (ABORTED, "TIMEOUT")


def test_what_is_wrong_comes_as_an_aborted_result(fake: Any, stamp: Any) -> None:
    status, result = fake.result(fake.send_goal("", stamp=stamp))
    assert (status, result.name) == (ABORTED, "BAD_REQUEST")
    assert "empty" in result.message
    status, result = fake.result(fake.send_goal("break", stamp=stamp))
    assert (status, result.name) == (ABORTED, "MODEL_ERROR")


def test_goals_and_service_share_one_queue(fake: Any, stamp: Any) -> None:
    goals = [fake.send_goal(f"say goal {n}", stamp=stamp) for n in range(3)]
    asked = [fake.client.call_async(fake.request(f"say call {n}", stamp=stamp)) for n in range(3)]
    for n, goal in enumerate(goals):
        assert fake.result(goal)[1].answers[0].text == f"goal {n}"
    for n, future in enumerate(asked):
        assert fake.finish(future).answers[0].text == f"call {n}"


def get_parameters(fake: Any, number: int) -> None:
    """Get a parameter so many times, and print how long that took."""
    from rcl_interfaces.srv import GetParameters

    waits_ms = []
    for _ in range(number):
        began_s = time.perf_counter()
        asked = fake.parameters.call_async(GetParameters.Request(names=["model"]))
        assert fake.finish(asked).values[0].string_value == "chatspot-tiny"
        waits_ms.append((time.perf_counter() - began_s) * 1000)
    p99_ms = statistics.quantiles(waits_ms, n=100)[98]
    print(f"parameter get: median {statistics.median(waits_ms):.1f} ms, p99 {p99_ms:.1f} ms")


def test_a_parameter_is_answered_while_the_engine_is_busy(fake: Any, stamp: Any, gate: Any) -> None:
    """With the engine in Python that gives way, and in a long computation that does not look up."""
    feedback = fake.Collector()
    goal = fake.send_goal("take 110", feedback, stamp=stamp, timeout_s=110.0)
    feedback.wait_for(lambda f: f.feedback.text == "w ")
    get_parameters(fake, 100)
    fake.finish(goal.cancel_goal_async())
    assert fake.result(goal)[0] == CANCELED
    running = keep_busy(fake, gate, stamp)
    get_parameters(fake, 100)
    assert not running.done()
    gate.open()
    assert fake.finish(running).status == 0
