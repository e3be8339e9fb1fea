"""Faults, between real processes: after each the next good question is answered, and no request is
left without a status.

What is wrong with a request has its statuses in test_query_statuses.py; start, end and parameters
are in test_node_life.py, transitions and time that jumps back in test_lifecycle.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FAULTY_NODE = str(Path(__file__).with_name("faulty_node.py"))
NODE = ("-m", "chatspot_ros.region_query_node")
CLIENTS = 50
# Sends a question by service, and another one as a goal, says so, and waits for ever.
DYING_CLIENT = """
import sys, threading
import rclpy
from rclpy.action import ActionClient
from chatspot_ros.action import AskRegion
from chatspot_ros.srv import RegionQuery

rclpy.init()
node = rclpy.create_node("dying")
name = sys.argv[1]
query = node.create_client(RegionQuery, f"{name}/region_query")
goals = ActionClient(node, AskRegion, f"{name}/ask_region")
assert query.wait_for_service(60.0) and goals.wait_for_server(60.0)
query.call_async(RegionQuery.Request(question="take 1 asked"))
goals.send_goal_async(AskRegion.Goal(question="take 1 goal"))
rclpy.spin(node)
"""


def assert_good(world: Any, **fields: Any) -> None:
    """The node answers a good question about a new frame."""
    reply = world.ask("say fine", stamp=world.publish_frame(), **fields)
    assert (reply.name, reply.answers[0].text) == ("OK", "fine")


# --- cameras and detectors


def picture(world: Any, encoding: str, width: int, height: int, grey: int) -> Any:
    """An image of one grey, with a stamp of now."""
    from sensor_msgs.msg import Image

    step = width * {"mono8": 1, "rgb8": 3, "bgra8": 4}[encoding]
    data = bytes([grey]) * (step * height)
    image = Image(height=height, width=width, encoding=encoding, step=step, data=data)
    image.header.stamp = world.now()
    return image


def test_a_camera_that_stops_resumes_and_changes_its_pictures(fake: Any) -> None:
    assert_good(fake)
    assert fake.set_parameter("max_image_age", 0.5).successful
    fake.wait_until(lambda: fake.ask().name == "STALE_IMAGE")
    assert fake.set_parameter("max_image_age", 600.0).successful
    session = fake.ask("say hello", session="steady")
    assert session.name == "OK"
    for encoding, width, height, grey in (
        ("rgb8", 64, 48, 100),
        ("mono8", 33, 21, 150),
        ("bgra8", 320, 240, 200),
        ("rgb8", 1, 1, 50),
    ):
        image = picture(fake, encoding, width, height, grey)
        fake.publish_until_it_comes(fake.images, image)
        text = fake.ask("what", stamp=image.header.stamp).answers[0].text
        assert f"size={width}x{height} colour={grey},{grey},{grey}" in text
        # A region of the size before is clipped, or refused by name.
        reply = fake.ask("what", stamp=image.header.stamp, regions=[fake.region((40, 30))])
        assert reply.name == ("OK" if width >= 40 else "BAD_REGION")
    # The conversation is still about its own frame.
    assert fake.ask("say on", session="steady").header.stamp == session.header.stamp


def test_pictures_that_are_none_in_mid_stream(fake: Any) -> None:
    good = fake.publish_frame()
    for spoil in ({"data": b""}, {"step": 1}, {"encoding": "nonsense"}, {"height": 2**31}):
        image = picture(fake, "rgb8", 8, 8, 9)
        for field, value in spoil.items():
            setattr(image, field, value)
        fake.publish_until_it_comes(fake.images, image)
        reply = fake.ask("what", stamp=image.header.stamp)
        assert (reply.name, bool(reply.message)) == ("BAD_IMAGE", True), spoil
        assert fake.ask("say still", stamp=good).name == "OK"
    assert_good(fake)


def test_a_detector_ten_times_faster_than_the_node(fake: Any) -> None:
    from builtin_interfaces.msg import Time
    from vision_msgs.msg import BoundingBox2D, Detection2D, Detection2DArray

    stamp = fake.publish_frame()
    box = BoundingBox2D(size_x=10.0, size_y=10.0)
    box.center.position.x = box.center.position.y = 20.0
    message = Detection2DArray(detections=[Detection2D(bbox=box)] * 20)
    assert fake.set_parameter("frame_wait", 10.0).successful
    asked = []
    for number in range(300):
        # Every other one is of a frame that never came.
        message.header.stamp = Time(sec=stamp.sec, nanosec=stamp.nanosec ^ (number % 2))
        fake.detections.publish(message)
        if number % 100 == 0:
            query = fake.request("take 0.02", stamp=stamp, use_detections=True, timeout_s=100.0)
            asked.append(fake.client.call_async(query))
    replies = [fake.finish(one) for one in asked]
    assert [(fake.names[one.status], len(one.answers)) for one in replies] == [("OK", 20)] * 3
    assert fake.set_parameter("frame_wait", 0.5).successful
    assert_good(fake)


def test_a_clock_that_jumps_ahead_and_stands_still(start_fake: Any) -> None:
    from rosgraph_msgs.msg import Clock

    from chatspot_ros.ros.conversions import to_time

    world = start_fake("-p", "use_sim_time:=true", "-p", "max_image_age:=2.0")
    world.wait_for_node()
    # Nothing has said yet what time it is; time limits go on.
    assert world.ask("take 60", stamp=world.publish_frame(), timeout_s=0.2).name == "TIMEOUT"
    clock = world.ros.create_publisher(Clock, "/clock", 10)
    world.wait_until(clock.get_subscription_count)
    seconds = 1000
    running = world.send_goal("take 1", stamp=world.publish_frame(to_time(seconds * 10**9)))

    def is_stale() -> bool:
        clock.publish(Clock(clock=to_time((seconds + 3600) * 10**9)))
        return world.ask("what").name == "STALE_IMAGE"

    world.wait_until(is_stale)
    # What was asked before the jump is answered all the same.
    assert world.result(running)[1].name == "OK"
    assert_good(world)
    stamp = world.publish_frame(to_time((seconds + 3600) * 10**9))
    assert world.ask("what", stamp=stamp).name == "OK"


# --- clients


def test_fifty_clients_at_once_each_get_a_status(fake: Any) -> None:
    from chatspot_ros.srv import RegionQuery
    from rclpy.qos import QoSProfile

    stamp = fake.publish_frame()
    service = fake.client.srv_name
    # Each hears the replies to all: of the usual 10 most would be lost before it gets to its own.
    qos = QoSProfile(depth=1000)
    clients = [
        fake.make(lambda: fake.ros.create_client(RegionQuery, service, qos_profile=qos))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        assert client.wait_for_service(60.0)

    def reply_of(client: Any, question: str) -> Any:
        return client.call_async(fake.request(question, stamp=stamp, timeout_s=100.0))

    # A server that does not know a client's reader yet loses its reply; it gets to know the last
    # one last.
    fake.wait_until(lambda: fake.soon(reply_of(clients[-1], "say here")))
    asked = [reply_of(client, f"say {number}") for number, client in enumerate(clients)]
    replies = [fake.finish(one) for one in asked]
    statuses = Counter(fake.names[reply.status] for reply in replies)
    assert set(statuses) <= {"OK", "BUSY"}, statuses
    assert statuses["OK"] >= 8
    for number, reply in enumerate(replies):
        if fake.names[reply.status] == "OK":
            assert reply.answers[0].text == str(number)
        else:
            assert "wait" in reply.message
    for client in clients:
        fake.make(lambda client=client: fake.ros.destroy_client(client))
    assert_good(fake)


def test_a_client_that_dies_with_a_query_in_flight(fake: Any) -> None:
    fake.publish_frame()
    client = subprocess.Popen([sys.executable, "-c", DYING_CLIENT, "/region_query_node"])
    try:
        for question in ("take 1 asked", "take 1 goal"):
            fake.process.wait_for(question)
    finally:
        client.kill()
        client.wait()
    # Both are ended as if somebody listened.
    for question in ("take 1 asked", "take 1 goal"):
        fake.answers.wait_for(lambda one, question=question: one.question == question)
    assert_good(fake)


def test_killed_and_started_again_while_clients_wait(
    spawn: Any, ros_node: Any, make_world: Any
) -> None:
    command = (sys.executable, FAULTY_NODE, "--ros-args", "-r", "__ns:=/killed")
    world = make_world(ros_node, spawn(*command, ready="ready: region_query_node"), "/killed")
    world.wait_for_node()
    stamp = world.publish_frame()
    waiting = world.client.call_async(world.request("take 60", stamp=stamp, timeout_s=60.0))
    goal = world.send_goal("take 60 too", stamp=stamp, timeout_s=60.0)
    world.process.wait_for("'take 60'")
    world.process.send(signal.SIGKILL)
    assert world.process.wait() == -signal.SIGKILL
    # Nobody is left to reply: a client must have a time limit of its own.
    assert not waiting.done()
    world.process = spawn(*command, ready="ready: region_query_node")
    world.wait_for_node()
    # The same clients and publishers serve on.
    assert_good(world)
    _, result = world.result(world.send_goal("say again", stamp=world.publish_frame()))
    assert (result.name, result.answers[0].text) == ("OK", "again")
    world.client.remove_pending_request(waiting)
    assert goal.accepted


# --- parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_image_age", float("nan")),
        ("max_image_age", float("inf")),
        ("default_timeout", -1.0),
        ("frame_wait", "soon"),
        ("max_pixels", 0),
        ("max_regions", 2**40),
        ("max_question_chars", -5),
        ("detection_space", "letterboxed 0x0"),
        ("default_question", ["7"]),
        ("watch", "/etc/passwd"),
        ("model", "/etc"),
        ("cameras", ["other"]),
        ("no_such_parameter", 1),
    ],
)
def test_a_parameter_set_to_nonsense_is_refused_with_the_reason(
    fake: Any, name: str, value: Any
) -> None:
    result = fake.set_parameter(name, value)
    assert (result.successful, bool(result.reason)) == (False, True)
    assert_good(fake)
