"""Pixels that have changed, told from noise, light, shadows and jitter."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from chatspot_ros.images.pixel_change import CHANGED, Patch, PictureView

Rgb = NDArray[np.uint8]
BOX = (200.0, 120.0, 360.0, 380.0)


def draw_room(door_x: float = 200.0, lamp: tuple[int, int, int] = (90, 90, 90)) -> Rgb:
    """A textured wall, a grey cupboard whose door is at `door_x`, and a lamp on it."""
    rng = np.random.default_rng(5)
    room = cv2.resize(rng.integers(90, 170, (12, 16, 3), np.uint8), (640, 480))
    cv2.rectangle(room, (200, 120), (360, 380), (60, 62, 64), -1)
    x = round(door_x)
    cv2.rectangle(room, (x, 130), (x + 150, 370), (150, 150, 152), -1)
    cv2.rectangle(room, (x + 130, 220), (x + 138, 280), (40, 40, 40), -1)
    cv2.circle(room, (240, 180), 12, lamp, -1)
    return room


def sensed(rgb: Rgb, noise: float = 7.0, gain: float = 1.0, seed: int = 0) -> Rgb:
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, noise, (*rgb.shape[:2], 1))
    return np.clip(rgb * gain + grain, 0, 255).astype(np.uint8)


def shadowed(rgb: Rgb, x: int, share: float = 0.6, softness_px: float = 8.0) -> Rgb:
    mask = np.zeros(rgb.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.array([[x, 0], [x + 120, 0], [x + 60, 480], [x - 60, 480]])], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), softness_px)
    return (rgb * (1 - (1 - share) * mask[..., None])).astype(np.uint8)


def difference(before: Rgb, now: Rgb, box: tuple[float, float, float, float] = BOX) -> float:
    return PictureView(now).difference(PictureView(before).patch(box, 0.1))


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.0, 1.25, 1.5])
@pytest.mark.parametrize("noise", [0.0, 7.0])
def test_noise_and_exposure_are_no_change(gain: float, noise: float) -> None:
    before, now = sensed(draw_room(), noise), sensed(draw_room(), noise, gain, seed=1)
    assert difference(before, now) < CHANGED


def test_noise_is_no_change_of_small_and_dark_things() -> None:
    dark = (draw_room() * 0.15).astype(np.uint8)
    for number, box in enumerate([(300, 200, 312, 212), (300, 200, 330, 204), (10, 10, 11, 300)]):
        now = sensed(dark, seed=10 + number)
        assert difference(sensed(dark), now, tuple(map(float, box))) < CHANGED


@pytest.mark.parametrize("x", range(120, 420, 30))
def test_a_shadow_that_moves_over_is_no_change(x: int) -> None:
    assert difference(sensed(draw_room()), sensed(shadowed(draw_room(), x), seed=2)) < CHANGED


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.25])
def test_a_door_that_opens_a_little_and_a_lamp_are_changes(gain: float) -> None:
    before = sensed(draw_room())
    assert difference(before, sensed(draw_room(door_x=212), gain=gain, seed=3)) >= CHANGED
    assert difference(before, sensed(draw_room(door_x=300), gain=gain, seed=3)) >= CHANGED
    glowing = draw_room(lamp=(220, 60, 40))
    assert difference(before, sensed(glowing, gain=gain, seed=3)) >= CHANGED


def test_a_change_in_a_shadow_is_a_change() -> None:
    now = sensed(shadowed(draw_room(door_x=240), 200), seed=4)
    assert difference(sensed(draw_room()), now) >= CHANGED


def test_a_change_of_the_whole_picture_is_a_change() -> None:
    red, green = (np.full((48, 64, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 250, 0)))
    assert difference(red, green, (10.0, 10.0, 20.0, 20.0)) >= CHANGED
    bright, dark = (np.full((48, 64, 3), value, np.uint8) for value in (240, 40))
    assert difference(bright, dark, (10.0, 10.0, 20.0, 20.0)) >= CHANGED


def test_elsewhere_is_not_here() -> None:
    assert difference(draw_room(), draw_room(door_x=212), (420.0, 120.0, 600.0, 380.0)) < 0.1


def test_another_size_of_the_picture_is_a_change() -> None:
    assert difference(draw_room(), draw_room()[:240]) == math.inf


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 640, 480), (-50, -50, 20, 20), (630, 470, 900, 900), (700, 500, 900, 600),
        (100.2, 100.2, 100.4, 100.4), (math.nan, 0, 10, 10), (0, 0, math.inf, 10),
    ],
)  # fmt: skip
def test_any_box_has_a_patch(box: tuple[float, float, float, float]) -> None:
    patch = PictureView(draw_room()).patch(box, 0.1)
    assert isinstance(patch, Patch)
    assert patch.cells.ndim == 3
    assert 1 <= min(patch.cells.shape[:2]) <= max(patch.cells.shape[:2]) <= 16
    assert PictureView(draw_room()).difference(patch) == 0.0


def test_the_smallest_picture() -> None:
    one = np.zeros((1, 1, 3), np.uint8)
    assert difference(one, one, (0.0, 0.0, 1.0, 1.0)) == 0.0
    assert difference(one, np.full_like(one, 255), (0.0, 0.0, 1.0, 1.0)) >= CHANGED
