"""Answers in the caller's form, asked of a real node with the bundled model."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

SCHEMA = json.dumps({
    "type": "object", "required": ["door", "things"], "properties": {
        "door": {"enum": ["open", "closed"]},
        "things": {"type": "integer", "minimum": 2, "maximum": 9}},
})  # fmt: skip


@pytest.fixture(scope="module")
def node(module_spawn: Any, module_ros_node: Any, make_world: Any) -> Any:
    process = module_spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-p", "threads:=1", "-p", "default_timeout:=600.0", "-p", "max_image_age:=600.0"),
        ready="ready: region_query_node",
        timeout_s=600.0,
    )
    world = make_world(module_ros_node, process)
    world.wait_for_node()
    return world


def test_a_service_call_gets_the_probability_of_each_choice(node: Any) -> None:
    stamp = node.publish_frame()
    regions = [node.region((10, 10), (40, 40)), node.region((20, 5), (60, 30))]
    choices = ["yes", "no", "unclear"]
    reply = node.ask("Is this open?", stamp=stamp, regions=regions, choices=choices)
    assert reply.name == "OK"
    assert len(reply.answers) == 2
    for answer in reply.answers:
        assert len(answer.choice_probabilities) == 3
        assert sum(answer.choice_probabilities) == pytest.approx(1, abs=1e-5)
        best = max(range(3), key=lambda k: answer.choice_probabilities[k])
        assert answer.text == choices[best]
        assert answer.confidence == pytest.approx(answer.choice_probabilities[best])
        assert not answer.json


def test_words_that_are_no_question_are_one_with_choices(node: Any) -> None:
    stamp = node.publish_frame()
    reply = node.ask("Hello there", stamp=stamp, choices=["open", "closed"])
    assert (reply.name, len(reply.answers)) == ("OK", 1)


def test_an_action_gets_json_and_everybody_hears_of_it(node: Any) -> None:
    stamp = node.publish_frame()
    goal = node.send_goal("What is it?", stamp=stamp, task="json", json_schema=SCHEMA)
    _, result = node.result(goal)
    (answer,) = result.answers
    assert result.name == "OK"
    said = json.loads(answer.json)
    assert said["door"] in ("open", "closed")
    assert 2 <= said["things"] <= 9
    assert answer.text == answer.json
    heard = node.answers.wait_for(lambda message: message.json_schema == SCHEMA)
    assert heard.answers[0].json == answer.json
    node.ask("Is it?", stamp=stamp, choices=["a", "b"])
    heard = node.answers.wait_for(lambda message: list(message.choices) == ["a", "b"])
    assert len(heard.answers[0].choice_probabilities) == 2


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"choices": ["yes"]}, "2 to 64"), ({"choices": ["yes", "YES "]}, "same words"),
        ({"choices": ["yes", ""]}, "no visible"), ({"choices": ["yes", "x" * 10_000]}, "longer"),
        ({"choices": ["yes", "</s>"]}, "control tokens"),
        ({"choices": [str(k) for k in range(10_000)]}, "2 to 64"),
        ({"choices": ["yes", "no"], "task": "state"}, "without a task"),
        ({"task": "json"}, "needs a JSON schema"), ({"json_schema": SCHEMA}, "task json"),
        ({"task": "json", "json_schema": "{"}, "no JSON"),
        ({"task": "json", "json_schema": "[" * 20_000}, "longer than"),
        ({"task": "json", "json_schema": '{"$ref": "https://example.org/s"}'}, "at #/$ref"),
        ({"task": "json", "json_schema": '{"$defs": {"a": {"$ref": "#/$defs/a"}}, '
                                         '"$ref": "#/$defs/a"}'}, "refers to itself"),
        ({"task": "json", "json_schema": '{"type": "string", "pattern": "(a+)+$"}'}, "#/pattern"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_kept_is_refused_with_the_place(
    node: Any, fields: dict[str, Any], why: str
) -> None:
    stamp = node.publish_frame()
    reply = node.ask("What is it?", stamp=stamp, **fields)
    assert (reply.name, len(reply.answers)) == ("BAD_REQUEST", 0)
    assert why in reply.message
    assert len(reply.message) < 1000
    assert node.ask("Is it open?", stamp=stamp, choices=["yes", "no"]).name == "OK"


def test_a_conversation_mixes_forms(node: Any) -> None:
    stamp = node.publish_frame()
    region = [node.region((10, 10), (40, 40))]
    about = {"stamp": stamp, "regions": region, "session": "forms"}
    assert node.ask("Is it open?", choices=["yes", "no"], **about).name == "OK"
    assert node.ask("What is it?", task="json", json_schema=SCHEMA, **about).name == "OK"
    follow = node.ask("And this one?", **about)
    assert follow.name == "OK"
    assert not follow.answers[0].json
    assert node.ask("And now?", choices=["yes", "no"], **about).answers[0].choice_probabilities
