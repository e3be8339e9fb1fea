"""EXIF orientation: one rule for every entrance. Regions are in pixels as stored, so none turns."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.file_camera_node import read_pictures
from chatspot_ros.images.decode import message_to_rgb
from chatspot_sim.demo_photo import read_photo
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.evaluation.suites.mmbench import EncodedPicture

# Orientation 6 (turn to the right to view), little endian, one entry.
EXIF = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def turned(folder: Path) -> Path:
    """A JPEG of 40 x 24 pixels, its left half red, that a viewer shows upright."""
    picture = np.zeros((24, 40, 3), np.uint8)
    picture[:, :20] = (0, 0, 250)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    (folder / "a.jpg").write_bytes(data[:2] + EXIF + data[2:])
    return folder / "a.jpg"


ENTRANCES: dict[str, Callable[[Path], Any]] = {
    "message": lambda file: message_to_rgb(SimpleNamespace(format="jpeg", data=file.read_bytes())),
    "training": read_picture,
    "file_camera": lambda file: next(iter(read_pictures(file))),
    "a folder's": lambda file: next(iter(read_pictures(file.parent))),
    "mmbench": lambda file: EncodedPicture(base64.b64encode(file.read_bytes()).decode())(),
    "demo": lambda file: read_photo(file)[1],
}


@pytest.mark.parametrize("enter", ENTRANCES)
def test_pixels_are_as_they_are_stored(enter: str, tmp_path: Path) -> None:
    rgb = ENTRANCES[enter](turned(tmp_path))
    assert rgb.shape == (24, 40, 3)
    assert rgb[2, 2, 0] > 200
    assert rgb[2, 37, 0] < 50


def test_the_size_that_is_declared_is_the_stored_one(tmp_path: Path) -> None:
    turned(tmp_path)
    assert ImageFolder(tmp_path).size("a.jpg") == (40, 24)


def test_the_rule_is_documented(root: Path) -> None:
    pages = [page for page in (root / "docs").glob("*.md") if "EXIF" in page.read_text()]
    assert any("file_camera" in page.read_text() for page in pages)
