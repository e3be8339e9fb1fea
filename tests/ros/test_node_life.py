"""Start, parameters, warnings and the end of the node's process."""

from __future__ import annotations

import signal
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FAKE_NODE = str(Path(__file__).with_name("fake_node.py"))


# --- start


def run_with(spawn: Any, *arguments: str, **env: str) -> Any:
    return spawn(sys.executable, FAKE_NODE, "--ros-args", *arguments, env=env)


def test_a_broken_model_ends_the_process_with_one_clear_line(spawn: Any) -> None:
    process = run_with(spawn, FAKE_LOAD_FAILS="the weights are gone")
    assert process.wait(60.0) == 1
    line = process.wait_for("cannot start")
    assert "the weights are gone (got /nowhere): look there" in line
    assert "Traceback" not in process.output
    assert "ready:" not in process.output


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("queue_size:=0", "queue_size"),
        ("max_image_age:=-1.0", "max_image_age"),
        ("default_timeout:=soon", "a number between 0.01 and 3600"),
        ("image_transport:=theora", "raw, compressed"),
        ("cameras:=['']", "cameras"),
        ("cameras:=['a b']", "a letter first"),
        ("detection_space:=letterbox", "letterboxed 960x544"),
        ("image_reliability:=some", "best_available"),
    ],
)
def test_a_bad_parameter_ends_the_process_with_its_name(
    spawn: Any, argument: str, words: str
) -> None:
    process = run_with(spawn, "-p", argument)
    assert process.wait(60.0) == 1
    assert words in process.wait_for("cannot start")
    assert "Traceback" not in process.output


def test_a_model_that_is_not_there(spawn: Any) -> None:
    process = spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node"),
        *("--ros-args", "-p", "model:=no-such-model"),
    )
    assert process.wait(60.0) == 1
    assert "no-such-model" in process.wait_for("cannot start")


def test_skills_that_cannot_be_read(spawn: Any) -> None:
    process = spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-p", "model:=/tmp", "-p", "skills_file:=/nowhere/skills.yaml"),
    )
    assert process.wait(60.0) == 1
    assert "skills_file" in process.wait_for("cannot start")


# --- parameters while it runs


def test_parameters_have_descriptions_ranges_and_read_only_flags(start_fake: Any) -> None:
    from rcl_interfaces.srv import DescribeParameters

    from chatspot_ros.server.settings import SPECS

    world = start_fake()
    name = f"{world.namespace}/region_query_node"
    client = world.ros.create_client(DescribeParameters, f"{name}/describe_parameters")
    assert client.wait_for_service(60.0)
    world.wait_for_node()
    names = [spec.name for spec in SPECS]
    described = world.finish(client.call_async(DescribeParameters.Request(names=names)))
    for spec, descriptor in zip(SPECS, described.descriptors, strict=True):
        assert descriptor.description == spec.text
        assert descriptor.read_only == spec.read_only
        assert bool(descriptor.floating_point_range or descriptor.integer_range) == (
            spec.high is not None
        )
    # Refused: out of range, of the wrong type, read-only, not one of the choices.
    for parameter, value in (
        ("max_regions", 0),
        ("max_regions", "many"),
        ("model", "other"),
        ("default_timeout", 0.0),
    ):
        result = world.set_parameter(parameter, value)
        assert not result.successful
        assert parameter in result.reason or result.reason
    # Taken, at once.
    stamp = world.publish_frame()
    assert world.set_parameter("max_regions", 1).successful
    reply = world.ask("what", stamp=stamp, regions=[world.region((1, 1))] * 2)
    assert (reply.name, "more than 1" in reply.message) == ("BAD_REGION", True)


# --- the end


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_pending_queries_are_answered_at_the_end(start_fake: Any, signum: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    stamp = world.publish_frame()
    running = world.send_goal("take 60", stamp=stamp, timeout_s=60.0)
    # A goal and a request travel apart, and may overtake each other.
    world.process.wait_for("'take 60'")
    waiting = world.client.call_async(world.request("what", stamp=stamp, timeout_s=60.0))
    world.process.wait_for("'what'")
    world.process.send(signum)
    reply = world.finish(waiting)
    assert world.names[reply.status] == "NOT_ACTIVE"
    assert "shutting down" in reply.message
    assert world.result(running)[1].name == "NOT_ACTIVE"
    assert world.process.wait() == 0
    assert "Traceback" not in world.process.output


def test_the_end_does_not_wait_for_a_long_computation(start_fake: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    stamp = world.publish_frame()
    asked = world.client.call_async(world.request("block 100", stamp=stamp, timeout_s=100.0))
    world.process.wait_for("'block 100'")
    world.process.send(signal.SIGINT)
    assert world.names[world.finish(asked).status] == "NOT_ACTIVE"
    assert world.process.wait() == 0


# --- images


def test_compressed_transport(start_fake: Any) -> None:
    import cv2
    from sensor_msgs.msg import CompressedImage

    world = start_fake("-p", "image_transport:=compressed")
    world.wait_for_node()
    picture = np.full((24, 32, 3), (50, 100, 200), np.uint8)
    message = CompressedImage(format="png", data=bytes(cv2.imencode(".png", picture)[1]))
    message.header.stamp = world.now()
    world.publish_until_it_comes(world.compressed, message)
    assert "size=32x24 colour=200,100,50" in world.ask("what").answers[0].text


def test_two_cameras_by_name(start_fake: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message

    world = start_fake("-p", "cameras:=['front','rear']")
    world.wait_for_services()
    header = Header(stamp=world.now())
    for name, colour in (("front", 1), ("rear", 9)):
        images = world.ros.create_publisher(Image, f"{world.namespace}/{name}/image", 10)
        world.wait_until(images.get_subscription_count)
        header.frame_id = f"{name}_optical"
        picture = to_image_message(np.full((8, 8, 3), colour, np.uint8), header)
        world.publish_until_it_comes(images, picture, camera=name)
    reply = world.ask("what", camera="rear")
    assert "colour=9,9,9" in reply.answers[0].text
    assert reply.header.frame_id == "rear_optical"
    assert "colour=1,1,1" in world.ask("what", camera="front").answers[0].text
    assert "colour=1,1,1" in world.ask("what").answers[0].text
    assert "front, rear" in world.ask("what", camera="left").message
    for topic in ("image", "detections", "click"):
        assert not world.ros.count_subscribers(f"{world.namespace}/{topic}")


def test_a_silent_publisher_is_warned_about_with_the_remedy(start_fake: Any) -> None:
    world = start_fake("-p", "no_image_warning:=1.0")
    world.wait_for_node()
    line = world.process.wait_for("no frame has come")
    assert "FASTDDS_BUILTIN_TRANSPORTS='DEFAULT?max_msg_size=60KB&sockets_size=16MB'" in line
    assert "image_reliability:=reliable" in line
    assert f"{world.namespace}/image" in line


def test_an_incompatible_qos_is_warned_about(start_fake: Any) -> None:
    # The test's camera publishes best effort, as sensors do.
    world = start_fake("-p", "image_reliability:=reliable")
    assert "image_reliability:=best_effort" in world.process.wait_for("does not accept")


@pytest.mark.parametrize("reliability", ["best_available", "system_default"])
def test_a_reliable_camera_meets_what_is_left_to_the_middleware(
    start_fake: Any, reliability: str
) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message

    world = start_fake("-p", f"image_reliability:={reliability}", "-p", "image_depth:=2")
    world.wait_for_services()
    images = world.ros.create_publisher(Image, f"{world.namespace}/image", 10)
    world.wait_until(images.get_subscription_count)
    picture = to_image_message(np.full((8, 8, 3), 9, np.uint8), Header(stamp=world.now()))
    world.publish_until_it_comes(images, picture)
    assert "colour=9,9,9" in world.ask("what").answers[0].text


def test_a_camera_may_change_its_size_and_encoding(start_fake: Any) -> None:
    from sensor_msgs.msg import Image

    world = start_fake()
    world.wait_for_node()
    for encoding, channels, width in (("rgb8", 3, 20), ("mono8", 1, 33), ("bgra8", 4, 6)):
        message = Image(height=4, width=width, encoding=encoding, step=width * channels)
        message.data = bytes(4 * width * channels)
        message.header.stamp = world.now()
        world.publish_until_it_comes(world.images, message)
        assert f"size={width}x4" in world.ask("what").answers[0].text


def test_time_set_back_is_said_and_the_new_frames_are_used(start_fake: Any) -> None:
    from chatspot_ros.ros.conversions import to_time

    world = start_fake("-p", "max_image_age:=0.0")
    world.wait_for_node()
    for seconds in (1000, 1001, 500):
        world.publish_frame(to_time(seconds * 10**9))
    assert world.ask("what").header.stamp.sec == 500
    assert "went back" in world.process.wait_for("the stamps on")
    assert world.ask("what", stamp=to_time(1001 * 10**9)).name == "NO_IMAGE"


@pytest.mark.parametrize("frame_id", ["", "cam", "came", "camer", "camera", "küche/kamera"])
def test_the_header_of_a_serialized_image(frame_id: str) -> None:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage, Image

    from chatspot_ros.ros.camera_subscriber import Head, read_head

    for kind in (Image, CompressedImage):
        message = kind()
        message.header.frame_id = frame_id
        message.header.stamp.sec, message.header.stamp.nanosec = 12, 345
        size_wh = None
        if kind is Image:
            message.width, message.height = size_wh = (1920, 1080)
        head = read_head(serialize_message(message), kind)
        assert head == Head(12 * 10**9 + 345, frame_id, size_wh)


def test_the_header_in_the_other_byte_order() -> None:
    from sensor_msgs.msg import Image

    from chatspot_ros.ros.camera_subscriber import Head, read_head

    data = b"\x00\x00\x00\x00" + struct.pack(">iII", 12, 345, 5) + b"came\x00\0\0\0"
    data += struct.pack(">II", 480, 640) + bytes(20)
    assert read_head(data, Image) == Head(12 * 10**9 + 345, "came", (640, 480))
