"""A node whose model is on a server, and a server that misbehaves: every query has its status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from misbehaving_server import MisbehavingServer

NODE = (sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args")
QUESTION = "What is this?"


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    found = MisbehavingServer().start()
    yield found
    found.stop()


def settings(folder: Path, server: MisbehavingServer, **more: object) -> Path:
    given = {"url": server.url, "model": "qwen2.5-vl-served", "breaker_failures": 2, **more}
    file = folder / "server.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
    return file


def start(spawn: Any, ros_node: Any, make_world: Any, file: Path, namespace: str) -> Any:
    process = spawn(
        *NODE, "-r", f"__ns:={namespace}", "-p", f"model:={file}", "-p", "threads:=1",
        "-p", "max_image_age:=600.0", "-p", "buffer_seconds:=600.0",
        ready="ready: region_query_node", timeout_s=120.0,
        env={"NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    world = make_world(ros_node, process, namespace)
    world.wait_for_node()
    return world


@pytest.fixture(scope="module")
def node(
    module_spawn: Any, module_ros_node: Any, make_world: Any, server: MisbehavingServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:  # fmt: skip
    """A node without a fallback; its breaker is half open again after a moment."""
    file = settings(tmp_path_factory.mktemp("alone"), server, breaker_seconds=0.05)
    return start(module_spawn, module_ros_node, make_world, file, "/served")


def test_it_answers_with_the_servers_words(node: Any, server: MisbehavingServer) -> None:
    stamp = node.publish_frame(colour=(200, 20, 20))
    regions = [node.region((10, 10), (40, 40)), node.region((0, 0), (20, 20))]
    reply = node.ask(QUESTION, stamp=stamp, regions=regions)
    assert (reply.name, reply.model) == ("OK", "qwen2.5-vl-served")
    assert [one.text for one in reply.answers] == ["a thing of 200.0,20.0,20.0"] * 2
    assert all(0.8 < one.confidence <= 1 and not one.uncertain for one in reply.answers)


def test_another_picture_gets_another_answer(node: Any) -> None:
    stamps = {
        colour: node.publish_frame(colour=colour) for colour in ((200, 20, 20), (20, 20, 200))
    }
    for colour, stamp in stamps.items():
        reply = node.ask(QUESTION, stamp=stamp)
        said = ",".join(str(round(float(value), -1)) for value in colour)
        assert reply.answers[0].text == f"a thing of {said}"


@pytest.mark.parametrize(
    ("mode", "status", "says"),
    [
        ("500", "MODEL_ERROR", "status 500"),
        ("401", "MODEL_ERROR", "key in the environment"),
        ("429", "BUSY", "too much to do"),
        ("html", "MODEL_ERROR", "ended in the middle"),
        ("unfinished_json", "MODEL_ERROR", "no chat completion"),
        ("no_end", "MODEL_ERROR", "ended in the middle"),
        ("foreign", "MODEL_ERROR", "another request"),
        ("silent", "OK", "no log-probabilities"),
    ],
)
def test_a_wrong_reply_has_a_status_and_a_message(
    node: Any, server: MisbehavingServer, mode: str, status: str, says: str
) -> None:
    stamp = node.publish_frame(colour=(1, 2, 3))
    server.modes.append(mode)
    reply = node.ask(QUESTION, stamp=stamp)
    assert reply.name == status, reply.message
    assert says in reply.message
    assert node.ask(QUESTION, stamp=stamp).name == "OK"


def test_a_timeout_and_a_cancel_free_the_servers_slot(node: Any, server: MisbehavingServer) -> None:
    stamp = node.publish_frame(colour=(1, 2, 3))
    closed = server.closed
    server.modes.append("hang")
    assert node.ask(QUESTION, stamp=stamp, timeout_s=0.3).name == "TIMEOUT"
    server.wait_until(lambda: server.closed == closed + 1)
    server.modes.append("hang")
    goal = node.send_goal(QUESTION, stamp=stamp)
    server.wait_until(lambda: server.now == 1)
    node.finish(goal.cancel_goal_async())
    server.wait_until(lambda: server.closed == closed + 2)
    assert node.result(goal)[1].name == "CANCELLED"


def test_diagnostics_tell_of_the_breaker(node: Any, server: MisbehavingServer) -> None:
    heard = node.Collector()
    subscription = node.ros.create_subscription(DiagnosticArray, "/diagnostics", heard, 10)

    def values(message: Any) -> dict[str, str]:
        ours = (one for one in message.status if one.name.startswith("/served/"))
        return {pair.key: pair.value for one in ours for pair in one.values}

    found = values(heard.wait_for(lambda message: "circuit breaker" in values(message)))
    node.ros.destroy_subscription(subscription)
    assert found["circuit breaker"] in ("closed", "open", "half open")
    assert found["server"] == server.url


def test_the_fallback_answers_when_the_server_is_gone(
    spawn: Any, ros_node: Any, make_world: Any, tmp_path: Path
) -> None:
    server = MisbehavingServer().start()
    file = settings(tmp_path, server, fallback="chatspot-tiny", connect_timeout=0.5)
    node = start(spawn, ros_node, make_world, file, "/falls")
    stamp = node.publish_frame(colour=(120, 110, 100))
    assert node.ask(QUESTION, stamp=stamp).model == "qwen2.5-vl-served"
    server.stop()
    for _ in range(3):
        reply = node.ask(QUESTION, stamp=stamp)
        assert (reply.name, reply.model) == ("OK", "chatspot-tiny")
        assert "answered by chatspot-tiny on this machine" in reply.message
        assert reply.answers[0].text


def test_a_password_in_the_address_stops_the_start_and_is_in_no_log(spawn: Any) -> None:
    model = "openai:http://me:hunter2@127.0.0.1:9/v1#qwen2.5-vl"
    process = spawn(*NODE, "-r", "__ns:=/leaks", "-p", f"model:={model}", ready="cannot start")
    assert "credentials" in process.output
    assert "hunter2" not in process.output
