"""A camera out of files: pictures, folders, videos."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from chatspot_ros.errors import ImageError
from chatspot_ros.file_camera_node import read_pictures
from chatspot_ros.images.decode import message_to_rgb
from chatspot_ros.ros.conversions import to_ns

NODE = (sys.executable, "-m", "chatspot_ros.file_camera_node", "--ros-args")
COLOURS = ((200, 10, 20), (30, 210, 40), (50, 60, 220))  # RGB


def flat(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((48, 64, 3), colour, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, red, green, blue by their names, and what is no picture."""
    for name, colour in zip(("b.png", "a.PNG", "c.bmp"), COLOURS, strict=True):
        file = tmp_path / name.lower()
        cv2.imwrite(str(file), flat(colour)[..., ::-1])
        file.rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def colours(pictures: Any) -> list[tuple[int, int, int]]:
    """The nearest of the colours to each picture's mean: videos lose a little."""
    means = [picture.mean(axis=(0, 1)) for picture in pictures]
    return [min(COLOURS, key=lambda c: np.abs(mean - np.array(c)).sum()) for mean in means]


def test_a_folder_comes_in_the_order_of_the_names(folder: Path) -> None:
    pictures = list(read_pictures(folder))
    assert [tuple(picture[0, 0]) for picture in pictures] == [COLOURS[1], COLOURS[0], COLOURS[2]]
    assert [tuple(p[0, 0]) for p in read_pictures(folder / "c.bmp")] == [COLOURS[2]]


def test_a_video_comes_picture_by_picture(tmp_path: Path) -> None:
    file = str(tmp_path / "video.avi")
    video = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for colour in COLOURS * 2:
        video.write(flat(colour)[..., ::-1])
    video.release()
    pictures = list(read_pictures(Path(file)))
    assert colours(pictures) == [*COLOURS, *COLOURS]
    assert all(np.abs(p.mean(axis=(0, 1)) - c).max() < 12 for p, c in
               zip(pictures, COLOURS * 2, strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such picture, folder or video"),
        (lambda path: path.mkdir(), "has no pictures"),
        (lambda path: path.write_bytes(b"no video"), "no such picture, folder or video"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "thing")
    with pytest.raises(ImageError, match=words):
        list(read_pictures(tmp_path / "thing"))


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    for data in (b"", b"no png"):
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(ImageError, match=r"no picture.*x\.png"):
            list(read_pictures(tmp_path))


def test_the_node_shows_them_again_and_again(
    spawn: Callable[..., Any], ros_node: Any, folder: Path
) -> None:
    seen: list[Image] = []
    news = threading.Condition()

    def hear(message: Image) -> None:
        with news:
            seen.append(message)
            news.notify_all()

    ros_node.create_subscription(Image, "/files/image", hear, QoSProfile(depth=50))
    process = spawn(
        *NODE, "-p", f"path:={folder}", "-p", "rate:=20.0", "-p", "frame_id:=here",
        "-r", "__ns:=/files", ready="ready: file_camera",
    )  # fmt: skip
    order = [COLOURS[1], COLOURS[0], COLOURS[2]] * 2

    def two_rounds() -> list[Image]:
        """The first six pictures in a row that are twice all three: a busy machine loses some."""
        found = [tuple(message_to_rgb(message)[0, 0]) for message in seen]
        starts = (k for k in range(len(found)) if found[k : k + 6] == order)
        return next((seen[k : k + 6] for k in starts), [])

    with news:
        assert news.wait_for(two_rounds, 60.0), len(seen)
        shown = two_rounds()
    stamps = [to_ns(message.header.stamp) for message in shown]
    assert stamps == sorted(set(stamps))
    assert {message.header.frame_id for message in shown} == {"here"}
    assert process.stop() == 0


def test_the_node_ends_after_the_last_picture(spawn: Callable[..., Any], folder: Path) -> None:
    process = spawn(
        *NODE, "-p", f"path:={folder}", "-p", "rate:=50.0", "-p", "loop:=false",
        "-r", "__ns:=/once",
    )  # fmt: skip
    assert process.wait(60.0) == 0
    assert "all pictures were shown" in process.output


@pytest.mark.parametrize(
    ("path", "words"), [("", "no files are named"), ("/nowhere", "no such picture")]
)
def test_the_node_needs_files(spawn: Callable[..., Any], path: str, words: str) -> None:
    process = spawn(*NODE, *(("-p", f"path:={path}") if path else ()), "-r", "__ns:=/none")
    assert process.wait(60.0) == 1
    assert "cannot start" in process.output
    assert words in process.output
