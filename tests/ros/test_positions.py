"""Positions over ROS: a depth camera in this process, the node in another one."""

from __future__ import annotations

import array
import importlib.util
import itertools
import os
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from world import HEIGHT, WIDTH, World

FAKE_NODE = str(Path(__file__).with_name("faulty_node.py"))
STAND_IN = str(Path(__file__).with_name("tf2_stand_in"))
PATIENT = ("-p", "max_image_age:=600.0", "-p", "buffer_seconds:=600.0")
RELIABLE = ("-p", "image_reliability:=reliable")
FRAME, FOCAL, Z = "camera_optical", 60.0, 2.0
BOX = ((20.0, 16.0), (44.0, 32.0))
_numbers = itertools.count()


def wall(z: float = Z) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), z, np.float32)


class DepthCamera:
    """Publishes an image, its depth and its CameraInfo with one stamp; asks about them."""

    def __init__(self, world: World, transport: str = "raw", camera: str = "") -> None:
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        self.world, self.camera = world, camera
        ros, space = world.ros, world.namespace + (f"/{camera}" if camera else "")
        kind, suffix = (Image, "") if transport == "raw" else (CompressedImage, "/compressedDepth")
        self.images = ros.create_publisher(Image, f"{space}/image", 10)
        self.depths = ros.create_publisher(kind, f"{space}/depth/image{suffix}", 10)
        self.infos = ros.create_publisher(CameraInfo, f"{space}/depth/camera_info", 10)
        publishers = (self.images, self.depths, self.infos)
        world.wait_until(lambda: all(one.get_subscription_count() for one in publishers))
        self.compressed = transport != "raw"
        # The images lie a second apart, however fast a test is: one's depth is never another's.
        self.begin, self.count = world.now(), itertools.count()

    def header(self, stamp: Any, frame_id: str = FRAME) -> Any:
        from std_msgs.msg import Header

        return Header(stamp=stamp, frame_id=frame_id)

    def image(self, **header: Any) -> Any:
        """Publish an image until the node has it; return its stamp."""
        from chatspot_ros.ros.conversions import to_image_message

        stamp = later(self.begin, float(next(self.count)))
        picture = np.full((HEIGHT, WIDTH, 3), next(_numbers) % 255, np.uint8)
        message = to_image_message(picture, self.header(stamp, **header))
        self.world.publish_until_it_comes(self.images, message, self.camera)
        return stamp

    def info(self, stamp: Any, focal: float = FOCAL, **changes: Any) -> None:
        from sensor_msgs.msg import CameraInfo

        k = [focal, 0.0, WIDTH / 2 - 0.5, 0.0, focal, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
        fields = {"width": WIDTH, "height": HEIGHT, "distortion_model": "plumb_bob", "k": k}
        message = CameraInfo(header=self.header(stamp), d=[0.0] * 5, **{**fields, **changes})
        self.infos.publish(message)

    def depth(self, stamp: Any, pixels: np.ndarray, frame_id: str = FRAME, **changes: Any) -> None:
        """Publish a depth picture: float32 as 32FC1, uint16 as 16UC1, or its compressed form."""
        from sensor_msgs.msg import CompressedImage, Image

        header, rows = self.header(stamp, frame_id), np.ascontiguousarray(pixels)
        encoding = "32FC1" if pixels.dtype == np.float32 else "16UC1"
        if self.compressed:
            png = cv2.imencode(".png", rows)[1].tobytes()
            stored = array.array("B", struct.pack("<iff", 0, 0.0, 0.0) + png)
            fields = {"format": "16UC1; compressedDepth png", "data": stored}
            self.depths.publish(CompressedImage(header=header, **{**fields, **changes}))
            return
        height, width = pixels.shape
        data = array.array("B", rows.tobytes())
        fields = {"encoding": encoding, "width": width, "height": height, "data": data}
        fields["step"] = width * pixels.itemsize
        self.depths.publish(Image(header=header, **{**fields, **changes}))

    def ask(self, stamp: Any, *points: tuple[float, float]) -> Any:
        """Ask about a region (the box, if no points are given); return its Region message."""
        region = self.world.region(*(points or BOX))
        reply = self.world.ask("what", stamp=stamp, regions=[region], camera=self.camera)
        assert reply.name == "OK", reply.message
        return reply.answers[0].regions[0]

    def known(self, stamp: Any, *points: tuple[float, float]) -> Any:
        """Ask until the position is known; return its Region message."""

        def find() -> Any:
            region = self.ask(stamp, *points)
            return region if region.position.header.frame_id else None

        return self.world.wait_until(find)

    def all_came(self) -> None:
        """Wait until the node has all that was published before."""
        stamp = self.image()
        self.info(stamp)
        self.depth(stamp, wall() if not self.compressed else millimetres())
        self.known(stamp)


def millimetres(z: float = Z) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), z * 1000, np.uint16)


@pytest.fixture(scope="module")
def start(module_spawn: Any, module_ros_node: Any) -> Any:
    """Start a node with a scripted engine in a namespace of its own."""

    def start(*arguments: str, **env: str) -> World:
        namespace = f"/depth_{next(_numbers)}"
        command = (sys.executable, FAKE_NODE, "--ros-args", "-r", f"__ns:={namespace}")
        process = module_spawn(*command, *PATIENT, *RELIABLE, *arguments,
                               ready="ready: region_query_node", env=env)  # fmt: skip
        world = World(module_ros_node, process, namespace)
        world.wait_for_services()
        return world

    return start


@pytest.fixture(scope="module")
def raw(start: Any) -> DepthCamera:
    return DepthCamera(start("-p", "depth_images:=raw"))


@pytest.fixture(scope="module")
def compressed(start: Any) -> DepthCamera:
    return DepthCamera(start("-p", "depth_images:=compressedDepth"), "compressedDepth")


def later(stamp: Any, seconds: float) -> Any:
    from chatspot_ros.ros.conversions import to_ns, to_time

    return to_time(to_ns(stamp) + round(seconds * 1e9))


def assert_at(region: Any, x: float, y: float, z: float) -> None:
    point = region.position.point
    assert (point.x, point.y, point.z) == pytest.approx((x, y, z), abs=0.02)


def assert_unknown(region: Any, *said: str) -> None:
    assert region.position.header.frame_id == ""
    assert region.extent.x == 0
    for words in said:
        assert words in region.position_note


# --- raw depth


def test_a_box_has_a_position_with_the_image_header(raw: DepthCamera) -> None:
    stamp = raw.image()
    raw.info(stamp)
    depths = wall(3.0)
    depths[18:30, 24:40] = 1.5
    raw.depth(stamp, depths)
    region = raw.known(stamp)
    assert region.position.header.stamp == stamp
    assert region.position.header.frame_id == FRAME
    assert_at(region, 0, 0, 1.5)
    assert region.extent.x == pytest.approx(16 * 1.5 / FOCAL, rel=0.1)
    assert region.depth_share == 1
    assert region.position_note == ""
    assert region.position_in_target.header.frame_id == ""


def test_points_and_grounded_regions_have_positions(raw: DepthCamera) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(stamp, millimetres())
    region = raw.known(stamp, (62.0, 24.0))
    assert_at(region, 30 * Z / FOCAL, 0, Z)
    assert region.extent.x == 0
    asked = [raw.world.region((62.0, 24.0))]
    reply = raw.world.ask("what", stamp=stamp, regions=asked)
    (grounded,) = reply.answers[0].grounded  # the scripted engine's, from (1, 2) to (3, 4)
    assert_at(grounded, -30 * Z / FOCAL, -21 * Z / FOCAL, Z)


def test_the_action_and_the_topic_say_it_as_well(raw: DepthCamera) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(stamp, wall())
    raw.known(stamp)
    goal = raw.world.send_goal("say it", stamp=stamp, regions=[raw.world.region(*BOX)])
    _, result = raw.world.result(goal)
    assert_at(result.answers[0].regions[0], 0, 0, Z)
    told = raw.world.answers.wait_for(lambda one: one.question == "say it")
    assert_at(told.answers[0].regions[0], 0, 0, Z)


def test_a_region_of_a_reply_may_be_asked_about_again(raw: DepthCamera) -> None:
    first, second = raw.image(), raw.image()
    for stamp, z in ((first, 1.0), (second, 2.5)):
        raw.info(stamp)
        raw.depth(stamp, wall(z))
    region = raw.known(first)
    raw.known(second)
    reply = raw.world.ask("what", stamp=second, regions=[region])
    assert_at(reply.answers[0].regions[0], 0, 0, 2.5)
    reply = raw.world.ask("what", stamp=raw.image(), regions=[region])
    assert_unknown(reply.answers[0].regions[0], "no depth picture within")


def test_the_whole_image_and_a_sent_picture_say_why_not(raw: DepthCamera) -> None:
    from sensor_msgs.msg import CompressedImage

    stamp = raw.image()
    raw.info(stamp)
    raw.depth(stamp, wall())
    raw.known(stamp)
    reply = raw.world.ask("what", stamp=stamp)
    for region in reply.answers[0].regions:
        assert_unknown(region, "whole image")
    data = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    sent = CompressedImage(format="png", data=array.array("B", data))
    reply = raw.world.ask("what", image=sent, regions=[raw.world.region(*BOX)])
    assert_unknown(reply.answers[0].regions[0], "sent with the request")


@pytest.mark.parametrize("away_s", [0.019, -0.019])
def test_another_stamp_within_the_tolerance_is_used(raw: DepthCamera, away_s: float) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(later(stamp, away_s), wall())
    region = raw.known(stamp)
    assert region.position.header.stamp == stamp


@pytest.mark.parametrize("away_s", [0.021, -0.021, 30.5])
def test_another_stamp_beyond_the_tolerance_is_never_used(raw: DepthCamera, away_s: float) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(later(stamp, away_s), wall())
    raw.all_came()
    assert_unknown(raw.ask(stamp), "no depth picture within 0.02 s")


def test_a_region_in_a_hole_says_how_little_there_is(raw: DepthCamera) -> None:
    stamp = raw.image()
    raw.info(stamp)
    depths = wall()
    depths[14:34, 18:46] = np.nan
    raw.depth(stamp, depths)
    raw.known(stamp, (5.0, 5.0))
    region = raw.ask(stamp)
    assert_unknown(region, "0% of the region's pixels have a depth")
    assert region.depth_share == 0


@pytest.mark.parametrize(
    ("pixels", "changes", "said"),
    [
        (wall(), {"encoding": "rgb8"}, "encoding is not known"),
        (wall(), {"data": array.array("B", b"short")}, "shorter"),
        (wall(), {"frame_id": "infra1"}, "infra1, not camera_optical"),
        (np.full((HEIGHT, 2 * WIDTH), Z, np.float32), {}, "different shapes"),
        (wall(np.nan), {}, "0% of the region"),
        (wall(np.inf), {}, "0% of the region"),
        (millimetres(0), {}, "0% of the region"),
    ],
)
def test_depth_that_cannot_be_used_says_so_and_loses_no_answer(
    raw: DepthCamera, pixels: np.ndarray, changes: dict[str, Any], said: str
) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(stamp, pixels, **changes)
    raw.all_came()
    assert_unknown(raw.ask(stamp), said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"focal": 0.0}, "calibrate the camera"),
        ({"focal": float("nan")}, "calibrate the camera"),
        ({"distortion_model": "unheard_of", "d": [0.1] * 5}, "unheard_of"),
        ({"width": 0, "height": 0}, "no size"),
    ],
)
def test_a_camera_info_that_cannot_be_used_says_so(
    raw: DepthCamera, changes: dict[str, Any], said: str
) -> None:
    from sensor_msgs.msg import CameraInfo

    stamp = raw.image()
    d = changes.pop("d", [0.0] * 5)
    focal = changes.pop("focal", FOCAL)
    k = [focal, 0.0, 31.5, 0.0, focal, 23.5, 0.0, 0.0, 1.0]
    fields = {"width": WIDTH, "height": HEIGHT, "distortion_model": "plumb_bob"}
    header = raw.header(stamp)
    raw.infos.publish(CameraInfo(header=header, k=k, d=d, **{**fields, **changes}))
    raw.depth(stamp, wall())
    raw.all_came()
    assert_unknown(raw.ask(stamp), said)


def test_half_the_size_is_aligned_all_the_same(raw: DepthCamera) -> None:
    stamp = raw.image()
    raw.info(stamp)
    raw.depth(stamp, wall()[::2, ::2])
    assert_at(raw.known(stamp, (62.0, 24.0)), 30 * Z / FOCAL, 0, Z)


# --- before the first message


def test_without_depth_and_without_camera_info(start: Any) -> None:
    camera = DepthCamera(start("-p", "depth_images:=raw"))
    stamp = camera.image()
    assert_unknown(camera.ask(stamp), "no depth picture has come", "/depth/image")
    camera.depth(stamp, wall())
    camera.world.wait_until(lambda: "CameraInfo" in camera.ask(stamp).position_note)
    assert_unknown(camera.ask(stamp), "no CameraInfo has come", "/depth/camera_info")
    camera.info(stamp)
    assert_at(camera.known(stamp), 0, 0, Z)


def test_off_says_nothing(fake: Any) -> None:
    stamp = fake.publish_frame()
    reply = fake.ask("what", stamp=stamp, regions=[fake.region(*BOX)])
    assert_unknown(reply.answers[0].regions[0])
    assert reply.answers[0].regions[0].position_note == ""
    topics = dict(fake.ros.get_subscriber_names_and_types_by_node("region_query_node", "/"))
    assert not [name for name in topics if "depth" in name]


# --- compressedDepth


def test_compressed_depth_and_what_is_cut_off(compressed: DepthCamera) -> None:
    stamp = compressed.image()
    compressed.info(stamp)
    compressed.depth(stamp, millimetres(1.25))
    assert_at(compressed.known(stamp), 0, 0, 1.25)
    whole = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", millimetres())[1].tobytes()
    for length in (0, 5, 12, 30, len(whole) - 8):
        stamp = compressed.image()
        compressed.info(stamp)
        compressed.depth(stamp, millimetres(), data=array.array("B", whole[:length]))
        compressed.all_came()
        region = compressed.ask(stamp)
        assert_unknown(region, "bytes")


# --- the target frame


def test_into_the_target_frame_at_the_stamp_of_the_image(start: Any) -> None:
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

    path = os.pathsep.join(filter(None, (STAND_IN, os.environ.get("PYTHONPATH", ""))))
    world = start("-p", "depth_images:=raw", "-p", "target_frame:=base_link", PYTHONPATH=path)
    camera = DepthCamera(world)
    transforms = world.ros.create_publisher(TransformStamped, f"{world.namespace}/tf_stand_in", 10)
    world.wait_until(transforms.get_subscription_count)
    stamp = camera.image()
    camera.info(stamp)
    camera.depth(stamp, wall())
    region = camera.known(stamp)
    assert region.position_in_target.header.frame_id == ""
    assert "no transform from camera_optical to base_link" in region.position_note
    # Optical to body: x forward, y left, z up; 1 m above the floor.
    made = Transform(translation=Vector3(z=1.0), rotation=Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5))
    header = camera.header(stamp, "base_link")
    message = TransformStamped(header=header, child_frame_id=FRAME, transform=made)
    transforms.publish(message)

    def in_target() -> Any:
        region = camera.ask(stamp, (62.0, 24.0))
        return region if region.position_in_target.header.frame_id else None

    region = world.wait_until(in_target)
    assert region.position_in_target.header.frame_id == "base_link"
    assert region.position_in_target.header.stamp == stamp
    point = region.position_in_target.point
    assert (point.x, point.y, point.z) == pytest.approx((Z, -30 * Z / FOCAL, 1.0), abs=0.01)
    assert region.position_note == ""


def test_without_tf2_the_log_says_so_once_and_the_position_remains(start: Any) -> None:
    if tf2_is_installed():
        pytest.skip("tf2_ros is installed")
    world = start("-p", "depth_images:=raw", "-p", "target_frame:=base_link")
    camera = DepthCamera(world)
    for _ in range(2):
        stamp = camera.image()
        camera.info(stamp)
        camera.depth(stamp, wall())
        region = camera.known(stamp)
        assert_at(region, 0, 0, Z)
        assert region.position_in_target.header.frame_id == ""
        assert "tf2_ros is not installed" in region.position_note
    assert sum("tf2_ros cannot be imported" in line for line in world.process.lines) == 1


def tf2_is_installed() -> bool:
    return importlib.util.find_spec("tf2_ros") is not None


# --- several cameras


def test_each_camera_has_its_own_depth(start: Any) -> None:
    world = start("-p", "depth_images:=raw", "-p", "cameras:=[front, rear]")
    front, rear = DepthCamera(world, camera="front"), DepthCamera(world, camera="rear")
    stamps = front.image(), rear.image()
    for camera, stamp, z in ((front, stamps[0], 1.0), (rear, stamps[1], 2.0)):
        camera.info(stamp)
        camera.depth(stamp, wall(z))
    assert_at(front.known(stamps[0]), 0, 0, 1.0)
    assert_at(rear.known(stamps[1]), 0, 0, 2.0)
