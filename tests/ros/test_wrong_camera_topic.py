"""Why no picture comes: one diagnosis, in the log, in the reply and on /diagnostics."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy

SOON = ("-p", "no_image_warning:=0.3")


def publisher(world: Any, kind: str, topic: str, reliability: str = "BEST_EFFORT") -> Any:
    from sensor_msgs.msg import CompressedImage, Image

    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability])
    return world.ros.create_publisher(
        {"raw": Image, "compressed": CompressedImage}[kind], f"{world.namespace}/{topic}", qos
    )


def other_topic(world: Any) -> Any:
    return publisher(world, "raw", "front/image_raw")


def other_type(world: Any) -> Any:
    return publisher(world, "compressed", "cam")


def reliable_wanted(world: Any) -> Any:
    return publisher(world, "raw", "cam", "BEST_EFFORT")


def doubled(world: Any) -> Any:
    return publisher(world, "compressed", "cam/compressed")


def only_compressed(world: Any) -> Any:
    return publisher(world, "compressed", "cam/compressed")


def only_raw(world: Any) -> Any:
    return publisher(world, "raw", "cam")


CASES: dict[str, tuple[Callable[[Any], Any], tuple[str, ...], tuple[str, ...], str]] = {
    # what publishes, the node's arguments, what must be said, the topic that is listened on
    "no publisher": (other_topic, ("-r", "image:=cam"), ("no publisher",), "cam"),
    "another type": (other_type, ("-r", "image:=cam"), ("CompressedImage", "sensor_msgs/msg/Image"),
                     "cam"),
    "another QoS": (reliable_wanted, ("-r", "image:=cam", "-p", "image_reliability:=reliable"),
                    ("best_effort",), "cam"),
    "/compressed twice": (
        doubled, ("-r", "image:=cam/compressed", "-p", "image_transport:=compressed"),
        ("cam/compressed/compressed",), "cam/compressed/compressed"),
    "raw where only compressed is": (only_compressed, ("-r", "image:=cam"),
                                     ("image_transport:=compressed",), "cam"),
    "compressed where only raw is": (
        only_raw, ("-r", "image:=cam", "-p", "image_transport:=compressed"),
        ("image_transport:=raw",), "cam/compressed"),
}  # fmt: skip


def frame() -> Any:
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message

    return to_image_message(np.zeros((4, 4, 3), np.uint8), Header())


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, start_fake: Any) -> Any:
    publish, arguments, said, topic = CASES[request.param]
    world = start_fake(*SOON, *arguments)
    world.wait_for_services()
    world.publisher = publish(world)
    world.said, world.topic = said, f"{world.namespace}/{topic}"
    yield world
    world.ros.destroy_publisher(world.publisher)


def test_the_reply_names_topic_and_cause(case: Any) -> None:
    def told() -> Any:
        reply = case.ask("what")
        assert reply.name == "NO_IMAGE"
        return all(word in reply.message for word in (case.topic, *case.said))

    case.wait_until(told, 15.0)


def test_the_log_names_topic_and_cause_once(case: Any) -> None:
    def told() -> Any:
        case.ask("what")
        warned = [line for line in case.process.lines if case.topic in line and "WARN" in line]
        return [line for line in warned if all(word in line for word in case.said)]

    # Another cause may be told later, and the same one again after a longer time.
    times: dict[str, list[float]] = {}
    for line in case.wait_until(told, 15.0):
        stamp, text = re.search(r"\[(\d+\.\d+)\].*?\]: (.*)", line).groups()
        times.setdefault(text, []).append(float(stamp))
    gaps = [after - before for one in times.values() for before, after in itertools.pairwise(one)]
    assert all(gap > 0.5 for gap in gaps)
    assert not [line for line in case.process.lines if "reliability:=reliable" in line]


def test_diagnostics_name_topic_and_cause(case: Any) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    heard = case.Collector()
    case.ros.create_subscription(DiagnosticArray, "/diagnostics", heard, 50)

    def tells(message: Any) -> bool:
        return any(
            case.topic in (text := " ".join([one.message, *(v.value for v in one.values)]))
            and all(word in text for word in case.said)
            for one in message.status
        )

    heard.wait_for(tells, 20.0)


def test_a_camera_that_stopped_is_not_told_about_qos(start_fake: Any) -> None:
    world = start_fake(*SOON, "-p", "max_image_age:=0.5")
    world.wait_for_node()
    world.publish_frame()
    before = len(world.process.lines)

    def stale() -> Any:
        reply = world.ask("what")
        return reply if reply.name == "STALE_IMAGE" else None

    message = world.wait_until(stale, 15.0).message
    assert f"{world.namespace}/image" in message
    assert "1 publisher" in message
    line = world.process.wait_for("the camera has stopped", 15.0, after=before)
    assert "WARN" not in line
    later = world.process.lines[before:]
    assert not [line for line in later if "image_reliability" in line]


def test_lost_frames_name_the_transports_cause(start_fake: Any) -> None:
    """A reliable node told to become reliable is the contradiction of today."""
    world = start_fake(*SOON, "-p", "image_reliability:=reliable", "-r", "image:=cam")
    world.wait_for_services()
    offered = publisher(world, "raw", "cam", "BEST_EFFORT")

    def warned() -> list[str]:
        offered.publish(frame())
        return [line for line in world.process.lines if "WARN" in line and "cam" in line]

    world.wait_until(lambda: any("best_effort" in line for line in warned()), 30.0)
    told = " ".join(line for line in warned() if "best_effort" in line)
    assert world.ask("what").name == "NO_IMAGE"
    assert "image_reliability:=reliable" not in told
