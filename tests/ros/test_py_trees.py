"""The behaviours of chatspot_ros.py_trees in trees beside real nodes, and every way to be left."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import py_trees
import pytest
from chatspot_ros.action import AskRegion as AskRegionAction
from py_trees.common import Status

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import Ask
from chatspot_ros.py_trees import AskRegion, CheckState, FetchPlan
from chatspot_ros.ros.conversions import to_ns
from chatspot_ros.ros.operator_client import RosOperatorClient

BOX = (Region.box(2, 2, 20, 30),)
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


@pytest.fixture(autouse=True)
def clean_blackboard() -> Iterator[None]:
    yield
    py_trees.blackboard.Blackboard.clear()


@pytest.fixture(scope="module")
def client(fake: Any) -> Iterator[RosOperatorClient]:
    made = RosOperatorClient()
    yield made
    made.close()


@pytest.fixture
def connect() -> Iterator[Callable[[str], RosOperatorClient]]:
    clients: list[RosOperatorClient] = []

    def make(name: str) -> RosOperatorClient:
        clients.append(RosOperatorClient(name))
        return clients[-1]

    yield make
    for one in clients:
        one.close()


def tick_until(root: Any, ended: Callable[[], Any], timeout_s: float = 60.0) -> int:
    """Tick as a robot does, until something is so; return how often."""
    until_s = time.monotonic() + timeout_s
    for ticks in itertools.count(1):
        root.tick_once()
        if ended():
            return ticks
        assert time.monotonic() < until_s, root.feedback_message
        time.sleep(0.01)
    raise AssertionError


def run(behaviour: Any, timeout_s: float = 60.0) -> Status:
    tick_until(behaviour, lambda: behaviour.status != Status.RUNNING, timeout_s)
    return behaviour.status


def on_board(key: str) -> Any:
    return py_trees.blackboard.Blackboard.storage.get(f"/{key}")


def picture(fake: Any, colour: Any = RED) -> int:
    return to_ns(fake.publish_frame(colour=colour))


def test_it_runs_while_it_asks_and_leaves_the_result(fake: Any, client: Any, gate: Any) -> None:
    stamp_ns = picture(fake)
    asking = AskRegion("ask", client, Ask(gate.question, BOX, stamp_ns=stamp_ns))
    asking.tick_once()
    assert (asking.status, on_board("region_result")) == (Status.RUNNING, None)
    # The node computes; ticks return all the same.
    for _ in range(20):
        asking.tick_once()
    assert asking.status == Status.RUNNING
    gate.open()
    assert run(asking) == Status.SUCCESS
    result = on_board("region_result")
    assert isinstance(result, AskRegionAction.Result)
    assert [one.text for one in result.answers] == ["held"]
    assert to_ns(result.header.stamp) == stamp_ns
    assert asking.feedback_message == "held"


def test_a_stop_button_above_it_frees_the_node(fake: Any, client: Any) -> None:
    button = py_trees.behaviours.CheckBlackboardVariableExists("pressed", "pressed")
    asking = AskRegion("ask", client, Ask("take 60", BOX, stamp_ns=picture(fake)))
    root = py_trees.composites.Selector("robot", memory=False, children=[button, asking])
    tick_until(root, lambda: "it says: w" in asking.feedback_message)
    py_trees.blackboard.Blackboard.set("/pressed", True)
    root.tick_once()
    assert (root.status, asking.status) == (Status.SUCCESS, Status.INVALID)
    # It had 60 s to go, and the node has time at once.
    assert fake.ask("what", stamp=fake.publish_frame(), patience_s=30.0).name == "OK"
    assert on_board("region_result") is None


def test_after_its_time_it_fails_and_frees_the_node(fake: Any, client: Any) -> None:
    asking = AskRegion("ask", client, Ask("take 60", BOX, stamp_ns=picture(fake)), timeout_s=1.0)
    assert run(asking, 20.0) == Status.FAILURE
    assert "no answer in 1 s" in asking.feedback_message
    assert fake.ask("what", stamp=fake.publish_frame(), patience_s=30.0).name == "OK"


def test_what_the_node_refuses_is_a_failure_with_its_words(fake: Any, client: Any) -> None:
    asking = AskRegion("ask", client, Ask("say a", BOX, camera="attic"), if_unsure="look_again")
    assert run(asking) == Status.FAILURE
    assert "BAD_REQUEST" in asking.feedback_message
    assert "attic" in asking.feedback_message
    assert on_board("region_result").message in asking.feedback_message


def test_a_missing_node_is_a_failure_within_seconds(connect: Any) -> None:
    asking = AskRegion("ask", connect("/nowhere/region_query_node"), Ask("say a"))
    assert run(asking, 20.0) == Status.FAILURE
    assert "there is no /nowhere/region_query_node" in asking.feedback_message


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_goes_in_the_middle_is_a_failure(
    start_fake: Any, connect: Any, how: signal.Signals
) -> None:
    world = start_fake()
    world.wait_for_node()
    stamp_ns = to_ns(world.publish_frame())
    asking = AskRegion(
        "ask", connect(f"{world.namespace}/region_query_node"), Ask("take 60", stamp_ns=stamp_ns)
    )
    tick_until(asking, lambda: "it says: w" in asking.feedback_message)
    world.process.send(how)
    assert run(asking, 30.0) == Status.FAILURE
    words = ("has ended", "says nothing any more", "has lost", "NOT_ACTIVE")
    assert any(word in asking.feedback_message for word in words), asking.feedback_message


def test_an_uncertain_answer_fails_or_is_looked_at_again(fake: Any, client: Any) -> None:
    asks: list[str] = []

    def sure_at_last() -> Ask:
        asks.append("doubt" if len(asks) < 2 else "say a mug")
        return Ask(asks[-1], BOX, stamp_ns=picture(fake))

    doubt = Ask("doubt", BOX, stamp_ns=picture(fake))
    failing = AskRegion("ask", client, doubt)
    assert run(failing) == Status.FAILURE
    assert "not sure of" in failing.feedback_message
    giving_up = AskRegion("ask", client, doubt, if_unsure="look_again", looks=2)
    assert run(giving_up) == Status.FAILURE
    assert "(2 looks)" in giving_up.feedback_message
    again = AskRegion("ask", client, sure_at_last, if_unsure="look_again", looks=3)
    assert run(again) == Status.SUCCESS
    assert (len(asks), again.feedback_message) == (3, "a mug")


def check(client: Any, fake: Any, colour: Any, **options: Any) -> CheckState:
    ask = Ask("state by colour", BOX, stamp_ns=picture(fake, colour))
    return CheckState("door", client, ask, {"door": "open"}, **options)


def test_a_state_is_as_wanted_or_another_or_not_sure(fake: Any, client: Any) -> None:
    opened = check(client, fake, GREEN)
    assert run(opened) == Status.SUCCESS
    assert opened.feedback_message == "door: open (0.90)"
    closed = check(client, fake, RED)
    assert run(closed) == Status.FAILURE
    assert closed.feedback_message == "door: closed (0.90), wanted door: open"
    unsure = check(client, fake, BLUE, if_unsure="fail")
    assert run(unsure) == Status.FAILURE
    assert "not sure of" in unsure.feedback_message
    strict = check(client, fake, GREEN, min_confidence=0.95, looks=2)
    assert run(strict) == Status.FAILURE
    assert "confidence 0.90 below 0.95 (2 looks)" in strict.feedback_message


def test_an_unsure_state_is_looked_at_in_a_newer_picture(fake: Any, client: Any) -> None:
    colours = iter((BLUE, BLUE, GREEN))

    def newest() -> Ask:
        return Ask("state by colour", BOX, stamp_ns=picture(fake, next(colours)))

    checking = CheckState("door", client, newest, {"door": "open"})
    assert run(checking) == Status.SUCCESS
    assert next(colours, None) is None
    # It may be ticked again in another round, and forgets the last one.
    colours = iter((RED,))
    assert run(checking) == Status.FAILURE


def test_what_the_answer_does_not_tell_is_not_sure(fake: Any, client: Any) -> None:
    ask = Ask("state by colour", BOX, stamp_ns=picture(fake, GREEN))
    wanted = {"door": "open", "plug": "in"}
    strict = CheckState("fridge", client, ask, wanted, if_unsure="fail")
    assert run(strict) == Status.FAILURE
    assert "does not tell plug" in strict.feedback_message
    assert run(CheckState("fridge", client, ask, wanted, only_told=True)) == Status.SUCCESS
    nothing = CheckState("fridge", client, ask, {"plug": "in"}, only_told=True, if_unsure="fail")
    assert run(nothing) == Status.FAILURE


def test_every_region_must_be_in_the_state(fake: Any, client: Any) -> None:
    two = (*BOX, Region.point(3, 3))
    ask = Ask("state by colour", two, stamp_ns=picture(fake, GREEN))
    checking = CheckState("doors", client, ask, {"door": "open"})
    assert run(checking) == Status.SUCCESS
    assert checking.feedback_message == "door: open (0.90); door: open (0.90)"


def test_a_plan_stands_on_the_blackboard_only_where_it_is_certain(fake: Any, client: Any) -> None:
    asks = {"ask": Ask("say a plan", BOX, stamp_ns=picture(fake))}
    planning = FetchPlan("plan", client, lambda: asks["ask"], if_unsure="fail")
    assert run(planning) == Status.SUCCESS
    assert [(step.action, step.target) for step in on_board("plan")] == [("open", "fridge")]
    assert planning.feedback_message == "open fridge"
    asks["ask"] = Ask("doubt", BOX, stamp_ns=picture(fake))
    assert run(planning) == Status.FAILURE
    assert on_board("plan") is None, "an old plan must not be followed"


def test_a_question_may_stand_on_the_blackboard(fake: Any, client: Any) -> None:
    asking = AskRegion("ask", client, "question", result_key="mine")
    asking.tick_once()
    assert asking.status == Status.RUNNING
    assert "waiting for a picture" in asking.feedback_message
    py_trees.blackboard.Blackboard.set("/question", Ask("say hi", BOX, stamp_ns=picture(fake)))
    assert run(asking) == Status.SUCCESS
    assert on_board("mine").answers[0].text == "hi"
    py_trees.blackboard.Blackboard.set("/question", "say hi")
    with pytest.raises(RequestError, match="Ask of chatspot_ros"):
        asking.tick_once()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"looks": 0}, "looks"),
        ({"if_unsure": "guess"}, "look_again or fail"),
        ({"min_confidence": 1.5}, "min_confidence"),
        ({"wanted": {}}, "wants no state"),
    ],
)
def test_what_cannot_be_is_refused(client: Any, options: dict[str, Any], words: str) -> None:
    wanted = options.pop("wanted", {"door": "open"})
    with pytest.raises(RequestError, match=words):
        CheckState("door", client, Ask(""), wanted, **options)


def test_without_the_library_the_remedy_is_said() -> None:
    code = "import sys; sys.modules['py_trees'] = None; import chatspot_ros.py_trees"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "pip install 'py_trees" in ended.stderr
