"""The node with a copy of the model on each of two devices, over DDS."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.world import finish


@pytest.fixture
def node(spawn: Any, ros_node: Any, make_world: Any) -> Any:
    process = spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-p", "threads:=1", "-p", "device:=[cpu, cpu]", "-p", "warm_up:=false"),
        ready="ready: region_query_node",
        timeout_s=120.0,
    )
    world = make_world(ros_node, process)
    world.wait_for_node()
    return world


def test_questions_about_two_frames_get_the_answers_that_each_gets_alone(node: Any) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    heard = node.Collector()
    node.ros.create_subscription(DiagnosticArray, "/diagnostics", heard, 10)
    stamps = [node.publish_frame(colour=colour) for colour in ((200, 10, 30), (10, 200, 30))]
    regions = [node.region((5, 5), (60, 40))]
    asked = [(stamp, task) for stamp in stamps for task in ("describe", "state")] * 2

    def told(reply: Any) -> tuple[int, str, float]:
        (answer,) = reply.answers
        return reply.status, answer.text, round(answer.confidence, 4)

    def request(stamp: Any, task: str) -> Any:
        return node.request("What is this?", task=task, stamp=stamp, regions=regions)

    together = [node.client.call_async(request(*one)) for one in asked]
    replies = [told(finish(future)) for future in together]
    assert replies == [told(finish(node.client.call_async(request(*one)))) for one in asked]
    assert {status for status, _, _ in replies} == {0}
    assert len({text for _, text, _ in replies}) > 1
    said = heard.wait_for(lambda array: array.status and array.status[0].hardware_id)
    assert said.status[0].hardware_id == "cpu, cpu"
