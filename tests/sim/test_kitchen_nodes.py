"""Camera and detector as processes of their own, over real DDS."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chatspot_ros.msg import ActionStep
from chatspot_ros.srv import KitchenAct
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.images.depth import message_to_metres
from chatspot_ros.ros.conversions import to_ns
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.truth import Truth
from chatspot_sim.world import World

CAMERA = ("python", "-m", "chatspot_sim.kitchen_camera")
DETECTOR = ("python", "-m", "chatspot_sim.kitchen_detector")
SEED, WIDTH, HEIGHT = 3, 320, 240


def options(**values: object) -> list[str]:
    return ["--ros-args", *(word for k, v in values.items() for word in ("-p", f"{k}:={v}"))]


class Ears:
    """Keeps what was published, by topic, and waits for it."""

    def __init__(self, node: Any, **topics: tuple[type, str]) -> None:
        self.heard: dict[str, list[Any]] = {name: [] for name in topics}
        self._news = threading.Condition()
        for name, (kind, topic) in topics.items():
            node.create_subscription(kind, topic, self._hear(name), QoSProfile(depth=10))

    def _hear(self, name: str) -> Callable[[Any], None]:
        def hear(message: Any) -> None:
            with self._news:
                self.heard[name].append(message)
                self._news.notify_all()

        return hear

    def wait(self, condition: Callable[[dict[str, list[Any]]], Any], timeout_s: float = 60) -> Any:
        with self._news:
            result = self._news.wait_for(lambda: condition(self.heard), timeout_s)
        assert result, f"heard only { {k: len(v) for k, v in self.heard.items()} }"
        return result


def stamps(messages: list[Any]) -> set[int]:
    return {to_ns(message.header.stamp) for message in messages}


@pytest.fixture(scope="module")
def ears(module_ros_node: Any, module_spawn: Callable[..., Any]) -> Ears:
    # In this order the programs end first: Fast DDS 3.2 may wait for ever in a node that is
    # destroyed while another program sends to it over TCP (eProsima/Fast-DDS#6066).
    ears = Ears(
        module_ros_node,
        image=(Image, "image"),
        info=(CameraInfo, "camera_info"),
        depth=(Image, "depth/image"),
        depth_info=(CameraInfo, "depth/camera_info"),
        truth=(String, "kitchen/truth"),
        detections=(Detection2DArray, "detections"),
    )
    module_spawn(*DETECTOR, *options(miss_rate=0.0), ready="ready: kitchen_detector")
    module_spawn(
        *CAMERA, *options(seed=SEED, width=WIDTH, height=HEIGHT), ready="ready: kitchen_camera"
    )
    return ears


@pytest.fixture(scope="module")
def act(
    ears: Ears, module_ros_node: Any, settle: Callable[[Any, str], None]
) -> Callable[[str, str], KitchenAct.Response]:
    client = module_ros_node.create_client(KitchenAct, "kitchen/act")
    assert client.wait_for_service(60.0)
    settle(module_ros_node, "/kitchen_camera")

    def act(action: str, target: str) -> KitchenAct.Response:
        done = threading.Event()
        request = KitchenAct.Request(step=ActionStep(action=action, target=target))
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(60.0)
        return future.result()

    return act


def test_everything_of_one_moment_has_one_header(ears: Ears) -> None:
    def complete(heard: dict[str, list[Any]]) -> set[int]:
        truths = {Truth.from_json(message.data).stamp_ns for message in heard["truth"]}
        return truths.intersection(*(stamps(heard[name]) for name in names))

    names = ("image", "info", "detections", "depth", "depth_info")
    stamp = max(ears.wait(complete))
    headers = [
        next(m.header for m in ears.heard[name] if to_ns(m.header.stamp) == stamp) for name in names
    ]
    assert {header.frame_id for header in headers} == {"kitchen_camera"}
    assert stamp > 0


def test_the_picture_is_the_kitchens(ears: Ears) -> None:
    message = ears.wait(lambda heard: heard["image"])[-1]
    assert (message.encoding, message.width, message.height) == ("rgb8", WIDTH, HEIGHT)
    with World(draw_kitchen(SEED, "test"), WIDTH, HEIGHT) as world:
        expected = world.frame().rgb
    # Until another test acts; only the sensor's noise differs.
    first = message_to_rgb(ears.heard["image"][0])
    assert np.abs(first.astype(int) - expected).mean() < 12


def test_the_depth_is_the_kitchens_in_metres(ears: Ears) -> None:
    message = ears.wait(lambda heard: heard["depth"])[0]
    assert (message.encoding, message.width, message.height) == ("32FC1", WIDTH, HEIGHT)
    found = message_to_metres(message)
    assert 0.5 < found.min() < found.max() < 20
    with World(draw_kitchen(SEED, "test"), WIDTH, HEIGHT) as world:
        expected = world.depth_m()
    # Until another test acts.
    assert np.median(np.abs(found - expected)) < 1e-4


def test_the_camera_info_projects_a_known_point_to_its_pixels(ears: Ears) -> None:
    """The middle of the sign on the wall, put through the intrinsics, falls onto its box."""
    info = ears.wait(lambda heard: heard["info"])[-1]
    truth = Truth.from_json(ears.wait(lambda heard: heard["truth"])[-1].data)
    kitchen = draw_kitchen(SEED, "test")
    sign = np.array(kitchen.item("sign_1").place)
    position, target = np.array(kitchen.view.position), np.array(kitchen.view.target)
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    camera = np.array([right, down, forward]) @ (sign - position)
    u, v, _ = info.k.reshape(3, 3) @ (camera / camera[2])
    [seen] = truth.of_kind("sign")
    x1, y1, x2, y2 = seen.box_xyxy_px
    assert u + 0.5 == pytest.approx((x1 + x2) / 2, abs=2.0)
    assert v + 0.5 == pytest.approx((y1 + y2) / 2, abs=2.0)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.p[0] == info.k[0] > 0


def test_detections_are_the_visible_things_a_little_off(ears: Ears) -> None:
    message = ears.wait(lambda heard: heard["detections"])[-1]
    truth = Truth.from_json(ears.heard["truth"][-1].data)
    things = {thing.id: thing for thing in truth.things}
    assert len(message.detections) >= 4
    for detection in message.detections:
        thing = things[detection.id]
        [result] = detection.results
        assert result.hypothesis.class_id == thing.name
        assert 0 < result.hypothesis.score < 1
        assert detection.header == message.header
        x1, y1, x2, y2 = thing.box_xyxy_px
        box = detection.bbox
        assert box.center.position.x == pytest.approx((x1 + x2) / 2, abs=0.1 * (x2 - x1))
        assert box.center.position.y == pytest.approx((y1 + y2) / 2, abs=0.1 * (y2 - y1))
        assert box.size_x == pytest.approx(x2 - x1, rel=0.2)
        assert box.size_y == pytest.approx(y2 - y1, rel=0.2)
        assert box.center.theta == 0.0


def test_an_act_shows_in_the_next_truth_and_picture(
    ears: Ears, act: Callable[[str, str], KitchenAct.Response]
) -> None:
    ears.wait(lambda heard: heard["image"])
    response = act("open", "fridge")
    assert response.done, response.message
    assert "door: open" in response.message

    def opened(heard: dict[str, list[Any]]) -> list[Any]:
        """The pictures in whose truth the fridge is open."""
        truths = [Truth.from_json(message.data) for message in heard["truth"]]
        stamps = {
            truth.stamp_ns
            for truth in truths
            if any(thing.state.get("door") == "open" for thing in truth.of_kind("fridge"))
        }
        return [image for image in heard["image"] if to_ns(image.header.stamp) in stamps]

    picture = ears.wait(opened)[0]
    before = message_to_rgb(ears.heard["image"][0]).astype(int)
    assert np.abs(before - message_to_rgb(picture)).max(axis=-1).mean() > 10
    assert act("close", "fridge").done


@pytest.mark.parametrize(
    ("action", "target", "why"), [("", "fridge", "no skill"), ("open", "", "there is no")]
)
def test_an_act_that_makes_no_sense_says_why(
    act: Callable[[str, str], KitchenAct.Response], action: str, target: str, why: str
) -> None:
    response = act(action, target)
    assert not response.done
    assert why in response.message


def test_a_compressed_best_effort_camera_that_lives(
    spawn: Callable[..., Any], module_ros_node: Any
) -> None:
    """Runs beside the others under names of its own; something changes by itself."""
    ears = Ears(
        module_ros_node,
        image=(CompressedImage, "other/image/compressed"),
        truth=(String, "other/kitchen/truth"),
    )
    values = options(
        seed=4, width=160, height=120, transport="compressed", compressed_format="png",
        life_period_s=0.5,
    )  # fmt: skip
    spawn(*CAMERA, *values, "-r", "__ns:=/other", ready="ready: kitchen_camera")
    message = ears.wait(lambda heard: heard["image"])[0]
    assert message.format == "rgb8; png compressed bgr8"
    assert message_to_rgb(message).shape == (120, 160, 3)

    def changed(heard: dict[str, list[Any]]) -> bool:
        states = {
            repr([(t.id, t.state) for t in Truth.from_json(m.data).things]) for m in heard["truth"]
        }
        return len(states) > 1

    ears.wait(changed)


@pytest.mark.parametrize(
    ("module", "setting", "named"),
    [
        (CAMERA, {"split": "attic"}, "split is one of train, val, test"),
        (CAMERA, {"width": 0}, "width"),
        (CAMERA, {"rate": "often"}, "rate"),
        (DETECTOR, {"miss_rate": 1.5}, "miss_rate"),
    ],
)
def test_a_parameter_out_of_range_stops_the_start_and_says_so(
    spawn: Callable[..., Any], module: tuple[str, ...], setting: dict[str, Any], named: str
) -> None:
    process = spawn(*module, *options(**setting))
    assert process.wait(60.0) == 1
    assert "cannot start" in process.output
    assert named in process.output


def test_both_end_cleanly_when_interrupted(spawn: Callable[..., Any]) -> None:
    for command in (CAMERA, DETECTOR):
        process = spawn(*command, ready=f"ready: {command[-1].split('.')[-1]}")
        assert process.stop() == 0
        assert "Traceback" not in process.output


def test_what_is_no_truth_is_reported_and_survived(
    spawn: Callable[..., Any], module_ros_node: Any
) -> None:
    process = spawn(*DETECTOR, "--ros-args", "-r", "__ns:=/odd", ready="ready: kitchen_detector")
    publisher = module_ros_node.create_publisher(String, "odd/kitchen/truth", QoSProfile(depth=10))
    said = "not a kitchen's truth"
    for _ in range(100):  # until the two have found each other
        publisher.publish(String(data="not a truth"))
        with contextlib.suppress(AssertionError):
            process.wait_for(said, timeout_s=0.2)
            break
    process.wait_for(said)
    assert process.returncode is None
