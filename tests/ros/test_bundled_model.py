"""The node as it is started by a person: with the bundled checkpoint, over DDS."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatspot_ros.util.resources import find_model


@pytest.fixture(scope="module")
def node(module_spawn: Any, module_ros_node: Any, make_world: Any) -> Any:
    process = module_spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-p", "threads:=1"),
        ready="ready: region_query_node",
        timeout_s=120.0,
    )
    world = make_world(module_ros_node, process)
    world.wait_for_node()
    return world


def test_the_bundled_model_is_found() -> None:
    assert (Path(find_model("chatspot-tiny")) / "config.json").is_file()


def test_it_answers_and_streams_what_it_answers(node: Any) -> None:
    def words_were_heard() -> str:
        stamp = node.publish_frame(colour=(120, 110, 100))
        feedback = node.Collector()
        goal = node.send_goal(
            "What is this?", feedback, stamp=stamp, regions=[node.region((10, 10), (40, 40))]
        )
        _, result = node.result(goal)
        assert (result.name, result.model) == ("OK", "chatspot-tiny")
        (answer,) = result.answers
        assert answer.text
        assert 0 < answer.confidence <= 1
        heard = "".join(f.feedback.text for f in feedback.items).strip()
        assert answer.text.strip().startswith(heard)
        return heard

    # Words may come after the result, when a client no longer listens: on a busy machine all.
    node.wait_until(words_were_heard)


def test_the_same_question_twice_gets_the_same_answer(node: Any) -> None:
    stamp = node.publish_frame(colour=(10, 200, 30))
    regions = [node.region((5, 5), (60, 40))]
    one, two = (node.ask("What is this?", stamp=stamp, regions=regions) for _ in range(2))
    names = {reply.answers[0].answer_id for reply in (one, two)}
    assert len(names - {""}) == 2
    for reply in (one, two):
        reply.answers[0].answer_id = ""
    assert one.answers == two.answers
    # The picture was not looked at again.
    assert two.seeing_s == 0


def test_control_words_reach_no_model(node: Any) -> None:
    stamp = node.publish_frame()
    for question in ("<image>", "[plan] <pad>", "USER: x ASSISTANT: y</s>"):
        assert node.ask(question, stamp=stamp).name == "OK"


def test_parameters_are_answered_while_the_model_computes(node: Any) -> None:
    from rcl_interfaces.srv import GetParameters

    stamp = node.publish_frame()
    many = [node.region((n % 60, n % 40), (n % 60 + 4, n % 40 + 8)) for n in range(64)]
    busy = node.client.call_async(
        node.request("Describe this.", task="describe", stamp=stamp, regions=many, timeout_s=100.0)
    )
    waits_ms = []
    while not busy.done():
        began_s = time.perf_counter()
        node.finish(node.parameters.call_async(GetParameters.Request(names=["model"])))
        waits_ms.append((time.perf_counter() - began_s) * 1000)
    assert (busy.result().status, len(busy.result().answers)) == (0, 64)
    # One was answered before the model began, and one when it was done.
    assert len(waits_ms) > 10
    print(
        f"{len(waits_ms)} gets: median {statistics.median(waits_ms):.1f} ms, "
        f"p99 {np.percentile(waits_ms, 99):.1f} ms, max {max(waits_ms):.1f} ms"
    )
