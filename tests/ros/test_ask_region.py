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
    feedback = fake.Collector()
    regions = [fake.region((1, 1)), fake.region((2, 2))]
    goal = fake.send_goal("say one two three", feedback, stamp=stamp, regions=regions)
    status, result = fake.result(goal)
    assert status == SUCCEEDED
    assert (result.name, len(result.answers)) == ("OK", 2)
    assert result.header.stamp == stamp
    for index, answer in enumerate(result.answers):
        heard = [f.feedback.text for f in feedback.items if f.feedback.answer_index == index]
        # An empty text says that the answer has begun. Feedback and result travel apart, and a
        # client no longer listens once it has the result: the last words may be missing.
        assert answer.text == "one two three"
        assert heard == ["", "one ", "two ", "three "][: len(heard)]
        assert len(heard) > 1


def test_cancel_while_it_runs(fake: Any, stamp: Any) -> None:
    feedback = fake.Collector()
    goal = fake.send_goal("take 60", feedback, stamp=stamp)
    feedback.wait_for(lambda f: f.feedback.text == "w ")
    fake.finish(goal.cancel_goal_async())
    status, result = fake.result(goal)
    assert (status, result.name) == (CANCELED, "CANCELLED")
    # The engine is free again.
    assert fake.ask("what", stamp=stamp).name == "OK"


def test_cancel_while_it_waits_for_another_one(fake: Any, stamp: Any) -> None:
    running = fake.client.call_async(fake.request("block 3", stamp=stamp))
    goal = fake.send_goal("say never", stamp=stamp)
    answer = fake.finish(goal.cancel_goal_async())
    assert len(answer.goals_canceling) == 1
    status, result = fake.result(goal)
    assert (status, result.name, result.answers) == (CANCELED, "CANCELLED", [])
    assert not running.done()
    assert fake.finish(running).status == 0


def test_deadline_while_another_query_runs(fake: Any, stamp: Any) -> None:
    running = fake.client.call_async(fake.request("block 3", stamp=stamp))
    goal = fake.send_goal("say never", stamp=stamp, timeout_s=0.3)
    status, result = fake.result(goal)
    assert (status, result.name) == (ABORTED, "TIMEOUT")
    assert not running.done()
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


def measure_parameter_gets(fake: Any, number: int) -> list[float]:
    """Times of single gets, in ms."""
    from rcl_interfaces.srv import GetParameters

    waits_ms = []
    for _ in range(number):
        began_s = time.perf_counter()
        asked = fake.parameters.call_async(GetParameters.Request(names=["model"]))
        assert fake.finish(asked).values[0].string_value == "chatspot-tiny"
        waits_ms.append((time.perf_counter() - began_s) * 1000)
    return waits_ms


def test_a_parameter_is_answered_within_100_ms_while_the_engine_is_busy(
    fake: Any, stamp: Any
) -> None:
    feedback = fake.Collector()
    goal = fake.send_goal("take 110", feedback, stamp=stamp, timeout_s=110.0)
    feedback.wait_for(lambda f: f.feedback.text == "w ")
    rounds = []
    # Other programs on the machine can hold both processes up, but not three times in a row.
    while len(rounds) < 3 and (not rounds or rounds[-1] >= 100):
        waits_ms = measure_parameter_gets(fake, 200)
        rounds.append(statistics.quantiles(waits_ms, n=100)[98])
        print(
            f"parameter get: median {statistics.median(waits_ms):.1f} ms, p99 {rounds[-1]:.1f} ms"
        )
    fake.finish(goal.cancel_goal_async())
    assert fake.result(goal)[0] == CANCELED
    assert rounds[-1] < 100
