"""The detector as a node in a process of its own: pictures go in, boxes with their header come."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from chatspot_ros.detector.object_detector import Detector
from chatspot_ros.detector_node import Newest
from chatspot_ros.ros.conversions import to_image_message, to_ns

NODE = (sys.executable, "-m", "chatspot_ros.detector_node", "--ros-args", "-p", "threads:=1")


class Eyes:
    """A camera, and what the detector said, by the stamp of the picture."""

    def __init__(
        self, ros: Any, settle: Any, process: Any, namespace: str, kind: type = Image,
        topic: str = "image",
    ) -> None:  # fmt: skip
        self.process = process
        self._news = threading.Condition()
        self.came: dict[int, Detection2DArray] = {}
        qos = QoSProfile(depth=10)
        self.images = ros.create_publisher(kind, f"{namespace}/{topic}", qos)
        ros.create_subscription(Detection2DArray, f"{namespace}/detections", self._on_came, qos)
        name = f"{namespace}/detector_node"
        self.setter = ros.create_client(SetParameters, f"{name}/set_parameters")
        assert self.setter.wait_for_service(60.0)
        settle(ros, name)

    def _on_came(self, message: Detection2DArray) -> None:
        with self._news:
            self.came[to_ns(message.header.stamp)] = message
            self._news.notify_all()

    def see(self, message: Any) -> Detection2DArray:
        """Publish a picture until its detections come: the node may not know the camera yet."""
        stamp = to_ns(message.header.stamp)
        until = time.monotonic() + 60.0
        while time.monotonic() < until:
            self.images.publish(message)
            with self._news:
                if self._news.wait_for(lambda: stamp in self.came, 1.0):
                    return self.came[stamp]
        raise AssertionError(f"no detections of {stamp} among {list(self.came)}")

    def set(self, **values: Any) -> Any:
        changes = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParameters.Request(parameters=changes)
        return self.setter.call(request, timeout_sec=60.0).results


def header(sec: int) -> Header:
    return Header(stamp=Time(sec=sec, nanosec=7), frame_id="camera_optical")


def boxes(message: Detection2DArray) -> list[tuple[str, float, list[float]]]:
    found = []
    for one in message.detections:
        [result] = one.results
        x, y = one.bbox.center.position.x, one.bbox.center.position.y
        w, h = one.bbox.size_x, one.bbox.size_y
        box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        found.append((result.hypothesis.class_id, result.hypothesis.score, box))
    return found


def assert_same(message: Detection2DArray, expected: list[Any]) -> None:
    found = boxes(message)
    assert [name for name, _, _ in found] == [one.label for one in expected]
    assert np.allclose([score for _, score, _ in found], [one.score for one in expected], atol=1e-4)
    assert np.allclose([b for *_, b in found], [one.box_xyxy_px for one in expected], atol=0.05)


@pytest.fixture(scope="module")
def closed(
    module_spawn: Callable[..., Any], module_ros_node: Any, settle: Any,
    checkpoints: dict[str, Path],
) -> Eyes:  # fmt: skip
    """An RT-DETR on raw images, publishing all that it finds."""
    process = module_spawn(
        *NODE, "-p", f"model:={checkpoints['rt_detr']}", "-p", "threshold:=0.0",
        "-p", "image_reliability:=reliable", "-r", "__ns:=/closed",
        ready="ready: detector_node", timeout_s=110.0,
    )  # fmt: skip
    return Eyes(module_ros_node, settle, process, "/closed")


@pytest.fixture(scope="module")
def open_set(
    module_spawn: Callable[..., Any], module_ros_node: Any, settle: Any,
    checkpoints: dict[str, Path],
) -> Eyes:  # fmt: skip
    """An OWLv2 that looks for mugs, on compressed images."""
    process = module_spawn(
        *NODE, "-p", f"model:={checkpoints['owlv2']}", "-p", "labels:=mug, fridge door",
        "-p", "threshold:=0.0", "-p", "image_transport:=compressed", "-r", "__ns:=/open",
        ready="ready: detector_node", timeout_s=110.0,
    )  # fmt: skip
    return Eyes(module_ros_node, settle, process, "/open", CompressedImage, "image/compressed")


def test_the_newest_replaces_what_waits() -> None:
    newest = Newest()
    for item in (b"one", b"two", b"three"):
        newest.put(item)
    assert newest.take() == b"three"
    taken: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: taken.append(newest.take()), daemon=True)
    waiting.start()
    newest.put(b"four")
    waiting.join(10.0)
    assert taken == [b"four"]
    newest.put(b"five")
    newest.close()
    assert newest.take() is None


def test_what_is_published_is_what_the_model_finds_with_the_images_header(
    closed: Eyes, checkpoints: dict[str, Path], image_rgb: np.ndarray
) -> None:
    expected = Detector.load(str(checkpoints["rt_detr"]), device="cpu").detect(image_rgb, (), 0.0)
    message = closed.see(to_image_message(image_rgb, header(10)))
    assert message.header == header(10)
    assert all(one.header == message.header for one in message.detections)
    assert [one.id for one in message.detections] == [str(k) for k in range(len(expected))]
    assert len(expected) > 5
    assert_same(message, expected)


def test_a_zero_shot_model_on_compressed_images(
    open_set: Eyes, checkpoints: dict[str, Path], image_rgb: np.ndarray
) -> None:
    expected = Detector.load(str(checkpoints["owlv2"]), device="cpu").detect(
        image_rgb, ("mug", "fridge door"), 0.0
    )
    _, png = cv2.imencode(".png", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    picture = CompressedImage(header=header(20), format="png", data=png.tobytes())
    message = open_set.see(picture)
    assert message.header == header(20)
    assert_same(message, expected)


def test_labels_and_threshold_change_while_it_runs(open_set: Eyes, image_rgb: np.ndarray) -> None:
    _, png = cv2.imencode(".png", image_rgb)

    def see(sec: int) -> Detection2DArray:
        return open_set.see(CompressedImage(header=header(sec), format="png", data=png.tobytes()))

    before = boxes(see(30))
    assert open_set.set(labels="kettle")[0].successful
    assert {name for name, *_ in boxes(see(31))} == {"kettle"}
    assert open_set.set(labels="mug, fridge door")[0].successful
    cut = sorted(score for _, score, _ in before)[len(before) // 2]
    assert open_set.set(threshold=cut)[0].successful
    assert all(score > cut for _, score, _ in boxes(see(32)))
    assert 0 < len(boxes(see(33))) < len(before)
    (refused,) = open_set.set(labels=" , ")
    assert not refused.successful
    assert "what to look for" in refused.reason
    assert not open_set.set(threshold=1.5)[0].successful
    assert not open_set.set(device="cpu")[0].successful
    assert open_set.set(threshold=0.0, max_detections=2)[0].successful
    assert len(boxes(see(34))) == 2


def test_a_burst_ends_with_the_newest_and_never_goes_back(
    closed: Eyes, image_rgb: np.ndarray
) -> None:
    closed.see(to_image_message(image_rgb, header(40)))
    for sec in range(41, 71):
        closed.images.publish(to_image_message(image_rgb, header(sec)))
    closed.see(to_image_message(image_rgb, header(71)))
    order = list(closed.came)
    assert order == sorted(order)


def test_a_picture_that_is_none_is_left_out_and_the_next_one_seen(
    closed: Eyes, image_rgb: np.ndarray
) -> None:
    depth = Image(header=header(80), height=2, width=2, encoding="32FC1", step=8, data=b"\0" * 16)
    cut = to_image_message(image_rgb, header(81))
    cut.data = cut.data[:100]
    for broken in (depth, cut):
        closed.images.publish(broken)
    closed.see(to_image_message(image_rgb, header(82)))
    assert not {to_ns(header(sec).stamp) for sec in (80, 81)} & set(closed.came)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((), "no detector is named"),
        (("model:={owlv2}",), "what to look for"),
        (("model:={rt_detr}", "threshold:=7.0"), "threshold"),
    ],
)
def test_what_cannot_be_used_ends_the_start_and_is_named(
    spawn: Callable[..., Any], checkpoints: dict[str, Path], settings: tuple[str, ...], words: str
) -> None:
    given = [part for one in settings for part in ("-p", one.format(**checkpoints))]
    process = spawn(*NODE, *given, "-r", "__ns:=/wrong")
    assert process.wait(110.0) == 1
    assert "cannot start" in process.output
    assert words in process.output
    assert "Traceback" not in process.output


def test_it_ends_cleanly_when_interrupted(closed: Eyes, image_rgb: np.ndarray) -> None:
    """The last test of this file: nothing detects after it."""
    closed.see(to_image_message(image_rgb, header(90)))
    assert closed.process.stop() == 0
    assert re.search(r"looked at [1-9]\d* pictures", closed.process.output)
    assert "Traceback" not in closed.process.output
