"""Which depth picture belongs to an image, and what an answer says where none does."""

from __future__ import annotations

import array
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.place import Place
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import PositionError
from chatspot_ros.server.positions import DepthBuffer, DepthPicture, Locator
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.settings import Settings

WIDTH, HEIGHT = 40, 30
MS, NS = 1_000_000, 1_000_000_000
STAMP = 100 * NS
BOX = Region.box(10, 10, 30, 20)
SETTINGS = Settings(depth_images="raw")


def depth_message(z: float, **changes: Any) -> Any:
    pixels = np.full((HEIGHT, WIDTH), z, "<f4")
    fields = {"encoding": "32FC1", "width": WIDTH, "height": HEIGHT, "step": WIDTH * 4,
              "is_bigendian": 0, "data": array.array("B", pixels.tobytes())}  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def info(focal: float = 40.0) -> Any:
    return SimpleNamespace(
        width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[],
        k=[focal, 0, WIDTH / 2 - 0.5, 0, focal, HEIGHT / 2 - 0.5, 0, 0, 1], p=[0.0] * 12,
        binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip


def picture(stamp_ns: int = STAMP, **changes: Any) -> Picture:
    fields = {"stamp_ns": stamp_ns, "frame_id": "optical", "camera": "camera"}
    return Picture(lambda: None, size_wh=(WIDTH, HEIGHT), **{**fields, **changes})


class Scene:
    """A locator with one camera, and what comes to it."""

    def __init__(self, settings: Settings = SETTINGS, **rest: Any) -> None:
        self.buffer = DepthBuffer("camera", settings)
        self.locator = Locator(settings, {"camera": self.buffer}, **rest)
        self.loads = 0

    def depth(self, stamp_ns: int, z: float, frame_id: str = "optical", **changes: Any) -> None:
        def load() -> Any:
            self.loads += 1
            return depth_message(z, **changes)

        self.buffer.add_depth(DepthPicture(load, stamp_ns, frame_id), 1000)

    def place(self, of: Picture | None = None, region: Region = BOX) -> Place:
        answer = Answer("a mug", regions=(region,), grounded=(region,))
        reply = QueryReply(Query("what?"), picture=of or picture(), answers=[answer])
        placed = self.locator.locate(reply)
        assert placed.answers[0].text == "a mug"
        place = placed.answers[0].regions[0].place
        assert placed.answers[0].grounded[0].place == place
        assert reply.answers[0].regions[0].place is None
        assert place is not None
        return place


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.buffer.add_info(STAMP, info())
    return made


def test_the_position_has_the_image_header(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    place = scene.place()
    assert place.frame_id == "optical"
    assert place.stamp_ns == STAMP
    np.testing.assert_allclose(place.xyz_m, (0, 0, 2), atol=1e-6)
    assert place.extent_m[0] == pytest.approx(20 * 2 / 40, rel=0.1)
    assert place.target_xyz_m is None


@pytest.mark.parametrize("away_ms", [0, 20, -20])
def test_a_depth_within_the_tolerance_is_used(scene: Scene, away_ms: int) -> None:
    scene.depth(STAMP + away_ms * MS, 2.0)
    place = scene.place()
    assert place.xyz_m is not None
    assert place.stamp_ns == STAMP


@pytest.mark.parametrize("away_ms", [21, -21, 1000, -1000])
def test_a_depth_beyond_the_tolerance_is_never_used(scene: Scene, away_ms: int) -> None:
    scene.depth(STAMP + away_ms * MS, 2.0)
    place = scene.place()
    assert place.xyz_m is None
    assert not place.frame_id
    assert "no depth picture within 0.02 s" in place.note
    assert f"{abs(away_ms) / 1000:.3f} s away" in place.note


def test_of_several_the_nearest_is_used(scene: Scene) -> None:
    for away_ms, z in ((-15, 1.0), (4, 2.0), (19, 3.0)):
        scene.depth(STAMP + away_ms * MS, z)
    assert scene.place().xyz_m[2] == pytest.approx(2.0)  # type: ignore[index]


def test_a_tolerance_of_zero_wants_equal_stamps(scene: Scene) -> None:
    scene.locator.settings = replace(SETTINGS, depth_tolerance=0.0)
    scene.depth(STAMP + 1, 1.0)
    assert scene.place().xyz_m is None
    scene.depth(STAMP, 2.0)
    assert scene.place(picture()).xyz_m is not None


def test_without_depth_without_info_without_stamp_the_note_says_so() -> None:
    scene = Scene()
    assert "no depth picture has come" in scene.place().note
    assert "depth/image" in scene.place().note
    scene.depth(STAMP, 2.0)
    assert "no CameraInfo has come" in scene.place().note
    scene.buffer.add_info(STAMP, info())
    assert "has no stamp" in scene.place(picture(0)).note
    assert scene.place().xyz_m is not None
    scene.depth(STAMP, 2.0, frame_id="")
    assert "no frame_id" in scene.place(picture(frame_id="")).note


def test_depth_without_a_stamp_belongs_to_no_image(scene: Scene) -> None:
    scene.depth(0, 2.0)
    assert "no depth picture has come" in scene.place().note


def test_depth_of_another_frame_is_not_aligned(scene: Scene) -> None:
    scene.depth(STAMP, 2.0, frame_id="infra")
    place = scene.place()
    assert place.xyz_m is None
    assert "infra, not optical" in place.note
    assert "align" in place.note


def test_a_frame_that_only_the_depth_names(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    assert scene.place(picture(frame_id="")).frame_id == "optical"


def test_a_picture_from_the_request_has_no_depth(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    assert "sent with the request" in scene.place(picture(camera="")).note


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoding": "rgb8"}, "encoding is not known"),
        ({"data": array.array("B", b"12")}, "shorter"),
        ({"width": 20, "step": 80}, "different shapes"),
    ],
)
def test_a_depth_picture_that_cannot_be_read(
    scene: Scene, changes: dict[str, Any], said: str
) -> None:
    scene.depth(STAMP, 2.0, **changes)
    place = scene.place()
    assert place.xyz_m is None
    assert said in place.note


def test_a_camera_that_nobody_calibrated(scene: Scene) -> None:
    scene.buffer.add_info(STAMP, info(focal=0.0))
    scene.depth(STAMP, 2.0)
    assert "calibrate" in scene.place().note


def test_the_info_nearest_to_the_depth_counts(scene: Scene) -> None:
    # The lens was zoomed since.
    scene.buffer.add_info(STAMP + NS, info(focal=80.0))
    scene.depth(STAMP, 2.0)
    scene.depth(STAMP + NS, 2.0)
    first, second = scene.place(), scene.place(picture(STAMP + NS))
    assert first.extent_m[0] == pytest.approx(2 * second.extent_m[0])


def test_a_conversation_keeps_the_depth_of_its_picture(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    of = picture()
    first = scene.place(of)
    scene.depth(STAMP + 60 * NS, 3.0)
    assert scene.place(of) == first
    # A picture that was never asked about has lost its depth.
    assert "no depth picture within" in scene.place(picture()).note


def test_a_depth_picture_is_read_once(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    for _ in range(3):
        scene.place(picture())
    assert scene.loads == 1


def test_after_time_was_set_back_nothing_is_left(scene: Scene) -> None:
    scene.depth(STAMP, 2.0)
    of = picture()
    assert scene.place(of).xyz_m is not None
    scene.locator.clear()
    assert "no depth picture has come" in scene.place(of).note


def test_the_buffer_is_bounded() -> None:
    settings = replace(SETTINGS, buffer_megabytes=1, buffer_seconds=600.0)
    scene = Scene(settings)
    for number in range(20):
        stamp_ns = STAMP + number * NS
        scene.buffer.add_depth(DepthPicture(lambda: None, stamp_ns), 300_000)
    with pytest.raises(PositionError, match="the nearest of 3 is 17"):
        scene.buffer.find(STAMP, 0.02)


def test_off_means_nothing_is_said() -> None:
    scene = Scene(Settings())
    answer = Answer("a mug", regions=(BOX,))
    reply = QueryReply(Query("what?"), picture=picture(), answers=[answer])
    assert scene.locator.locate(reply) is reply


def test_a_reply_without_picture_or_answers_stays_as_it_is(scene: Scene) -> None:
    for reply in (QueryReply(Query("what?")), QueryReply(Query("what?"), picture=picture())):
        assert scene.locator.locate(reply) is reply


def test_into_the_target_frame(scene: Scene) -> None:
    asked: list[tuple[str, int]] = []

    def find_motion(frame_id: str, stamp_ns: int) -> Any:
        asked.append((frame_id, stamp_ns))
        # The camera looks along the robot's x, 1 m above it.
        return np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.0, 0, 1])

    target = Scene(replace(SETTINGS, target_frame="base_link"), find_motion=find_motion)
    target.buffer.add_info(STAMP, info())
    target.depth(STAMP, 2.0)
    place = target.place(region=Region.point(30, 15))
    np.testing.assert_allclose(place.xyz_m, (0.5, 0, 2), atol=1e-6)
    np.testing.assert_allclose(place.target_xyz_m, (2, -0.5, 1), atol=1e-6)
    assert place.target_frame == "base_link"
    assert asked == [("optical", STAMP)]


def test_without_a_transform_the_position_remains() -> None:
    def find_motion(frame_id: str, stamp_ns: int) -> Any:
        raise PositionError("no transform", value=frame_id, remedy="look at /tf")

    scene = Scene(replace(SETTINGS, target_frame="base_link"), find_motion=find_motion)
    scene.buffer.add_info(STAMP, info())
    scene.depth(STAMP, 2.0)
    place = scene.place()
    assert place.xyz_m is not None
    assert place.target_xyz_m is None
    assert "no transform (got optical)" in place.note


def test_a_fault_of_the_geometry_loses_no_answer(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Any:
        raise ZeroDivisionError("scripted")

    scene.buffer.add_depth(DepthPicture(load, STAMP, "optical"), 10)
    answer = Answer("a mug", regions=(BOX,))
    reply = scene.locator.locate(QueryReply(Query("what?"), picture=picture(), answers=[answer]))
    assert reply.answers[0].text == "a mug"
    place = reply.answers[0].regions[0].place
    assert place is not None
    assert "ZeroDivisionError" in place.note
    assert "scripted" in caplog.text
