"""`chatspot ask` and `chatspot watch` beside real nodes."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from chatspot_ros.tools.ask import main as ask
from chatspot_ros.tools.watch import main as watch

PROGRAM = (sys.executable, "-m", "chatspot_ros.tools.cli")


def test_a_question_over_ros(fake: Any, capsys: Any) -> None:
    fake.publish_frame(colour=(10, 200, 30))
    status = ask(["--box", "1,2,30,40", "--camera", "camera", "--task", "state", "say it is open"])
    assert (status, capsys.readouterr().out.splitlines()) == (
        0,
        ["box 1,2,30,40: it is open", "  state: door = open", "  steps: 1. open fridge",
         "  places: box 1,2,3,4 (thing)"],
    )  # fmt: skip
    assert ask(["--json", "--session", "talk", "colour"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "colour=10,200,30" in told["answers"][0]["text"]
    assert ask(["--json", "--session", "talk", "again"]) == 0
    assert "turns=colour=" in json.loads(capsys.readouterr().out)["answers"][0]["text"]


def test_what_goes_wrong_over_ros_is_in_plain_words(fake: Any, capsys: Any) -> None:
    fake.publish_frame()
    assert ask(["--camera", "attic", "say a"]) == 1
    assert "cannot be asked like that (BAD_REQUEST)" in capsys.readouterr().err
    assert ask(["--timeout", "0.2", "take 60"]) == 1
    assert "the time ran out (TIMEOUT)" in capsys.readouterr().err
    assert ask(["--node", "/nobody", "say a"]) == 1
    said = capsys.readouterr().err
    assert "cannot be reached (UNREACHABLE)" in said
    assert "there is /region_query_node" in said
    assert ask(["--node", "no name", "say a"]) == 1
    assert "no name of a node" in capsys.readouterr().err


def test_ctrl_c_stops_the_answer(fake: Any, spawn: Any) -> None:
    fake.publish_frame()
    before = len(fake.process.lines)
    asking = spawn(*PROGRAM, "ask", "--timeout", "100", "take 90")
    fake.process.wait_for("'take 90'", after=before)
    asking.send(signal.SIGINT)
    assert asking.wait() == 130
    fake.process.wait_for("CANCELLED after", after=before)


def test_watch_shows_answers_and_says_what_is_wrong(fake: Any, spawn: Any) -> None:
    watching = spawn(*PROGRAM, "watch", "--json", "--count", "2")
    fake.wait_until(
        lambda: len(fake.ros.get_subscriptions_info_by_topic("/region_query_node/answers")) == 2
    )
    fake.publish_frame()

    def is_seen() -> bool:
        # The node may learn of the watching program later than this test does.
        fake.ask("say a mug", regions=[fake.region((1, 2), (30, 40))])
        return any('"kind": "answers"' in line for line in watching.lines)

    fake.wait_until(is_seen)
    assert watching.wait() == 0
    lines = [json.loads(line) for line in watching.lines if line.startswith("{")]
    assert len(lines) == 2
    assert lines[0]["status"] in ("OK", "NO_IMAGE")
    nowhere = spawn(*PROGRAM, "watch", "--node", "/nowhere")
    nowhere.wait_for("there is no /nowhere in ROS domain")
    nowhere.send(signal.SIGINT)
    assert nowhere.wait() == 0


def test_watch_shows_changes_of_state(fake: Any, spawn: Any) -> None:
    from chatspot_ros.msg import StateChange

    changes = fake.make(
        lambda: fake.ros.create_publisher(StateChange, "/region_query_node/states", 10)
    )
    before = changes.get_subscription_count()
    watching = spawn(*PROGRAM, "watch", "--changes", "--count", "1")
    fake.wait_until(lambda: changes.get_subscription_count() == before + 1)
    changes.publish(
        StateChange(thing="fridge_1", label="fridge", attribute="door", old_value="closed",
                    new_value="open", confidence=0.93)
    )  # fmt: skip
    watching.wait_for("fridge_1: door closed -> open (confidence 0.93)")
    assert watching.wait() == 0


def test_watch_shows_conditions_that_become_true(fake: Any, spawn: Any) -> None:
    from chatspot_ros.msg import StateChange

    events = fake.make(
        lambda: fake.ros.create_publisher(StateChange, "/region_query_node/events", 10)
    )
    before = events.get_subscription_count()
    watching = spawn(*PROGRAM, "watch", "--changes", "--count", "2")
    fake.wait_until(lambda: events.get_subscription_count() == before + 1)
    told = StateChange(thing="fridge_1", label="fridge", attribute="door", old_value="closed",
                       new_value="open", confidence=0.93)  # fmt: skip
    told.condition = "door changes to open for 2 s"
    events.publish(told)
    watching.wait_for("fridge_1: door changes to open for 2 s (door closed -> open, ")
    told.old_value, told.condition = "", "stays open for 60 s"
    events.publish(told)
    watching.wait_for("fridge_1: stays open for 60 s (door open, confidence 0.93)")
    assert watching.wait() == 0


def test_watch_shows_the_past_and_ends(fake: Any, capsys: Any) -> None:
    # This node has no watch list; tests/ros/test_watch.py has one with a past.
    assert watch(["--history"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "", "chatspot watch: nothing is watched: set the parameter watch\n"
    )  # fmt: skip
    for words in (["--thing", "fridge_1"], ["--history", "--count", "-1"]):
        with pytest.raises(SystemExit):
            watch(words)
