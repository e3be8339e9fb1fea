"""Detections belong to the picture they were made on, or to none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Message
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import NoImageError
from chatspot_ros.ros.conversions import detections_stamp_ns, to_detected_regions
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.frame_buffer import NS, Frame
from chatspot_ros.server.request import Picture
from chatspot_ros.server.settings import Settings

MS = NS // 1000
BOX = (Region.box(10, 10, 20, 20),)


def make_camera(**settings: Any) -> Camera:
    return Camera("front", replace(Settings(), **settings))


def add_frame(camera: Camera, stamp_ns: int, size_wh: tuple[int, int] = (64, 48)) -> Picture:
    width, height = size_wh
    message = Message(width=width, height=height)
    picture = Picture(lambda: message, stamp_ns=stamp_ns, camera="front")
    camera.add_frame(Frame(stamp_ns, picture, 1))
    return picture


def detected(name: str) -> tuple[Region, ...]:
    return (replace(BOX[0], id=name),)


# --- which frame


def test_exactly_the_stamp_by_default() -> None:
    camera = make_camera()
    for stamp_ms in (100, 200, 300):
        add_frame(camera, stamp_ms * MS)
    camera.add_detections(200 * MS, BOX)
    camera.add_detections(300 * MS + 1, BOX)
    assert camera.detections_at(200 * MS) == BOX
    assert camera.detections_at(300 * MS) is None
    assert camera.detection_counts() == (2, 1)


def test_detections_of_a_frame_long_before_are_no_step_back_in_time() -> None:
    camera = make_camera()
    for stamp_ms in (100, 3_000):
        add_frame(camera, stamp_ms * MS)
    camera.add_detections(3_000 * MS, detected("late"))
    camera.add_detections(100 * MS, detected("early"))
    assert camera.detections_at(3_000 * MS) == detected("late")
    assert camera.detections_at(100 * MS) == detected("early")


def test_a_little_off_within_the_tolerance() -> None:
    camera = make_camera(detection_tolerance=0.01)
    for stamp_ms in (100, 200, 300):
        add_frame(camera, stamp_ms * MS)
    camera.add_detections(204 * MS, detected("near"))
    camera.add_detections(311 * MS, detected("too far"))
    assert camera.detections_at(200 * MS) == detected("near")
    assert camera.detections_at(300 * MS) is None
    # The exact stamp wins over the nearer in time of arrival.
    camera.add_detections(200 * MS, detected("exact"))
    assert camera.detections_at(200 * MS) == detected("exact")


def test_of_two_that_are_off_the_nearest() -> None:
    camera = make_camera(detection_tolerance=0.01)
    for stamp_ms in (100, 200):
        add_frame(camera, stamp_ms * MS)
    camera.add_detections(192 * MS, detected("far"))
    camera.add_detections(203 * MS, detected("near"))
    assert camera.detections_at(200 * MS) == detected("near")


def test_a_tolerance_too_wide_for_the_camera_matches_nothing_but_the_stamp() -> None:
    camera = make_camera(detection_tolerance=0.05)
    for stamp_ms in (100, 133, 166):
        add_frame(camera, stamp_ms * MS)
    camera.add_detections(135 * MS, BOX)
    camera.add_detections(100 * MS, detected("exact"))
    assert camera.detections_at(133 * MS) is None
    assert camera.detections_at(100 * MS) == detected("exact")


def test_unstamped_detections_belong_to_no_frame() -> None:
    camera = make_camera()
    picture = add_frame(camera, 0)
    camera.add_detections(0, BOX)
    with pytest.raises(NoImageError):
        camera.detections_on(picture)


def test_a_restart_forgets_the_detections_too() -> None:
    camera = make_camera()
    add_frame(camera, 100 * NS)
    camera.add_detections(100 * NS, BOX)
    add_frame(camera, 99 * NS)
    again = add_frame(camera, 100 * NS)
    with pytest.raises(NoImageError):
        camera.detections_on(again)


@hypothesis.settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(30, 80), st.booleans(), st.booleans()), min_size=2, max_size=40),
    st.integers(0, 14),
    st.lists(st.integers(-14, 14), min_size=40, max_size=40),
    st.integers(0, 5),
)
def test_never_the_wrong_picture(
    frames: list[tuple[int, bool, bool]], tolerance_ms: int, offsets_ms: list[int], late: int
) -> None:
    """Frames come or are lost, detections of some come late, their stamps off by the tolerance."""
    camera = make_camera(detection_tolerance=tolerance_ms / 1000, buffer_seconds=1.0)
    stamp_ms, made, shown = 1000, [], {}
    for number, (gap_ms, arrives, is_seen) in enumerate(frames):
        stamp_ms += gap_ms
        if arrives:
            add_frame(camera, stamp_ms * MS)
            shown[stamp_ms] = str(number)
        if is_seen:
            off_ms = max(-tolerance_ms, min(tolerance_ms, offsets_ms[number]))
            made.append((stamp_ms + off_ms, str(number)))
        if len(made) > late:
            made_ms, name = made.pop(0)
            camera.add_detections(made_ms * MS, detected(name))
        for held in camera.frames:
            found = camera.detections_at(held.stamp_ns)
            assert found is None or found[0].id == shown[held.stamp_ns // MS]


# --- where on it


def test_boxes_in_the_detectors_pixels_come_out_in_the_cameras() -> None:
    camera = make_camera(detection_space="letterboxed 960x544")
    picture = add_frame(camera, 5, (1920, 1080))
    camera.add_detections(5, (Region.box(100, 50, 200, 540),))
    (region,) = camera.detections_on(picture)
    np.testing.assert_allclose(region.box_xyxy_px, (200, 100, 400, 1080))
    camera.settings = replace(camera.settings, detection_space="camera")
    (region,) = camera.detections_on(picture)
    assert region.box_xyxy_px == (100, 50, 200, 540)


def test_what_cannot_be_asked_about_is_left_out_and_counted() -> None:
    camera = make_camera(detection_space="letterboxed_centre 640x640")
    picture = add_frame(camera, 5, (640, 320))
    bad = [(0, 0, 640, 100), (50, 200, 50, 300), (float("nan"), 0, 10, 10)]
    regions = (Region.box(0, 160, 640, 480), *(Region.box(*box) for box in bad))
    camera.add_detections(5, regions)
    (region,) = camera.detections_on(picture)
    assert region.box_xyxy_px == (0, 0, 640, 320)
    assert camera.unusable_detections == 3


# --- the messages of older releases


def stamped(sec: int) -> Any:
    return Message(stamp=Message(sec=sec, nanosec=7))


def test_vision_msgs_before_4() -> None:
    pose = Message(x=30.0, y=20.0, theta=0.0)
    results = [Message(id="no", score=0.2), Message(id="mug", score=0.9)]
    box = Message(center=pose, size_x=10.0, size_y=4.0)
    one = Message(results=results, bbox=box, tracking_id="t7", header=stamped(3))
    (region,) = to_detected_regions(Message(detections=[one], header=stamped(3)))
    assert (region.id, region.label) == ("t7", "mug")
    assert region.box_xyxy_px == (25, 18, 35, 22)


def test_the_stamp_is_the_arrays_or_else_the_first_detections() -> None:
    unstamped = Message(stamp=Message(sec=0, nanosec=0))
    one = Message(header=stamped(3))
    assert detections_stamp_ns(Message(header=stamped(4), detections=[one])) == 4 * NS + 7
    assert detections_stamp_ns(Message(header=unstamped, detections=[one])) == 3 * NS + 7
    assert detections_stamp_ns(Message(header=unstamped, detections=[])) == 0
