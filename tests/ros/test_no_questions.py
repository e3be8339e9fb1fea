"""What people say to a robot that is no question: a status for a planner, a text for the person."""

from __future__ import annotations

from typing import Any

import pytest

SAID = {
    "SMALL_TALK": "Good morning, robot!",
    "UNSUPPORTED": "When does the next train leave?",
    "COMMAND": "Turn left.",
    "STOP": "Stop moving now!",
}


@pytest.fixture
def screening(start_fake: Any) -> Any:
    world = start_fake()
    world.wait_for_node()
    world.stamp = world.publish_frame()  # asks until the frame is there, in words of its own
    assert world.set_parameter("screen_questions", True).successful
    return world


def test_words_that_are_no_question_get_a_status_and_a_text(start_fake: Any) -> None:
    world = start_fake("-p", "screen_questions:=true")
    world.wait_for_node()
    # No frame has come: to say so would be no answer to "Stop!".
    for status, said in SAID.items():
        reply = world.ask(said)
        assert (reply.name, len(reply.answers)) == (status, 1), reply.message
        assert reply.answers[0].text
        assert reply.answers[0].text != said
        assert not reply.answers[0].steps
        assert "screen_questions" in reply.message
        assert said in reply.message
    assert "nothing was stopped" in world.ask(SAID["STOP"]).message


def test_a_task_and_the_parameter_win(screening: Any) -> None:
    world = screening
    stamp = world.stamp
    assert world.ask("say stop", stamp=stamp, task="read").name == "OK"
    assert world.ask(SAID["STOP"], stamp=stamp, task="plan").name == "OK"
    assert world.ask("What is this?", stamp=stamp).name == "OK"
    assert world.set_parameter("screen_questions", False).successful
    for said in SAID.values():
        assert world.ask(said, stamp=stamp).name == "OK"


def test_it_is_no_fault_and_no_turn_of_a_conversation(screening: Any) -> None:
    world = screening
    stamp = world.stamp
    assert world.ask("What is this?", stamp=stamp, session="talk").name == "OK"
    assert world.ask(SAID["SMALL_TALK"], session="talk").name == "SMALL_TALK"
    reply = world.ask("And that?", session="talk")
    assert reply.name == "OK"
    assert reply.answers[0].text.count("What is this?") == 1
    assert SAID["SMALL_TALK"] not in reply.answers[0].text


def test_the_action_says_so_too(screening: Any) -> None:
    world = screening
    goal = world.send_goal(SAID["STOP"], world.Collector())
    _, result = world.result(goal)
    assert result.name == "STOP"
    assert result.answers[0].text
