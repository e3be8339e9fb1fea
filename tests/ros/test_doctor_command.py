"""`chatspot doctor` beside nodes and cameras, and large images on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from chatspot_ros.ros.operator_client import RosOperatorClient
from chatspot_ros.ros.operator_link import CameraTopics
from chatspot_ros.ros.transports import LARGER_BUFFERS, VARIABLE
from chatspot_ros.tools.checks.finding import Finding, Level, ok
from chatspot_ros.tools.checks.ros import (
    check_clock,
    check_node,
    check_publishers,
    check_transport,
)
from chatspot_ros.tools.doctor import main as doctor


@pytest.fixture(scope="module")
def client(fake: Any) -> Iterator[RosOperatorClient]:
    with RosOperatorClient() as made:
        yield made


@pytest.mark.parametrize(
    ("buffers", "levels"),
    # A busy machine may lose some with larger buffers, and a quiet one lets some through without.
    [(LARGER_BUFFERS, {Level.OK, Level.WARN}), ("DEFAULT", {Level.WARN, Level.BAD})],
)
def test_large_images_get_through_with_larger_buffers_and_not_without(
    client: RosOperatorClient,
    monkeypatch: pytest.MonkeyPatch,
    buffers: str,
    levels: set[Level],
) -> None:
    monkeypatch.setenv(VARIABLE, buffers)  # only the publisher needs it
    found = check_transport(client)
    assert found.level in levels, found
    assert (VARIABLE in found.remedy) == (found.level != Level.OK)


def test_the_report_and_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What takes long, torch and the images, has tests of its own."""
    monkeypatch.setattr("chatspot_ros.tools.doctor.check_gpu", lambda: ok("GPU", "none"))
    monkeypatch.setattr("chatspot_ros.tools.doctor.check_models", lambda given, device: ())
    monkeypatch.setattr(
        "chatspot_ros.tools.checks.ros.check_transport", lambda client: ok("large images", "all")
    )
    monkeypatch.setenv(VARIABLE, LARGER_BUFFERS)
    assert doctor(["--json", "--node", "/nowhere"]) == 0
    told = json.loads(capsys.readouterr().out)
    levels = {one["about"]: one["level"] for one in told["findings"]}
    assert told["ok"] is True
    assert levels.keys() >= {"Python", "packages", "GPU", "ROS 2", "domain", "large images", "node"}
    monkeypatch.setenv("ROS_DOMAIN_ID", "kitchen")
    assert doctor([]) == 1
    said = capsys.readouterr().out
    assert "BAD  domain" in said
    assert "-> set it to a number" in said


def test_a_node_and_its_camera_are_looked_at(fake: Any, client: RosOperatorClient) -> None:
    fake.publish_frame()
    found = list(check_node(client))
    assert [one.about for one in found[:1]] == ["node"]
    (camera,) = (one for one in found if one.about == "camera camera")
    assert (camera.level, "best_effort" in camera.says) == (Level.OK, True)


def test_publishers_that_the_node_cannot_hear_are_named(
    fake: Any, client: RosOperatorClient
) -> None:
    def publish(kind: Any, topic: str, qos: Any) -> None:
        fake.make(lambda: fake.ros.create_publisher(kind, topic, qos))
        fake.wait_until(lambda: client.node.get_publishers_info_by_topic(topic))

    def listen(topic: str, reliability: Any) -> None:
        qos = QoSProfile(depth=1, reliability=reliability)
        fake.make(lambda: fake.ros.create_subscription(Image, topic, print, qos))
        fake.wait_until(lambda: client.node.get_subscriptions_info_by_topic(topic))

    def look(topic: str) -> list[Finding]:
        name = fake.ros.get_fully_qualified_name()
        return list(check_publishers(client.node, name, "front", CameraTopics(topic, "")))

    listen("/deaf", ReliabilityPolicy.RELIABLE)
    publish(Image, "/deaf", qos_profile_sensor_data)
    (deaf,) = look("/deaf")
    assert (deaf.level, "image_reliability" in deaf.remedy) == (Level.BAD, True)
    listen("/other", ReliabilityPolicy.BEST_EFFORT)
    # One participant has one type for a name; the client has a participant of its own.
    client.in_thread(lambda: client.node.create_publisher(CompressedImage, "/other", 10))
    fake.wait_until(lambda: client.node.get_publishers_info_by_topic("/other"))
    (other,) = look("/other")
    assert (other.level, "CompressedImage" in other.says) == (Level.BAD, True)
    (nothing,) = look("/nothing")
    assert (nothing.level, "nothing publishes /nothing" in nothing.says) == (Level.BAD, True)


@pytest.mark.parametrize(
    ("behind_s", "level"), [(0.0, Level.OK), (5.0, Level.WARN), (-60.0, Level.BAD)]
)
def test_the_clock_of_the_stamps(
    fake: Any, client: RosOperatorClient, behind_s: float, level: Level
) -> None:
    """A camera beside the node's: its stamps are told by no node."""
    import numpy as np
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message, to_time

    def publish() -> None:
        now_ns = fake.ros.get_clock().now().nanoseconds
        header = Header(stamp=to_time(now_ns - round(behind_s * 1e9)))
        fake.images.publish(to_image_message(np.zeros((4, 4, 3), np.uint8), header))

    timer = fake.make(lambda: fake.ros.create_timer(0.05, publish))
    try:
        topics = CameraTopics("/image", "")
        found = check_clock(client, "camera", topics)
    finally:
        fake.make(lambda: fake.ros.destroy_timer(timer))
    assert found.level == level, found
    assert ("chrony" in found.remedy) == (level != Level.OK)
