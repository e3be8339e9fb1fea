"""Positions in depth pictures that were made for the purpose: things before walls, holes, noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.camera_model import CameraModel
from chatspot_ros.core.depth_cluster import near_cluster
from chatspot_ros.core.depth_view import DepthView, locate
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import PositionError

WIDTH, HEIGHT, FOCAL = 200, 150, 200.0
CAMERA = CameraModel((WIDTH, HEIGHT), (FOCAL, FOCAL), (99.5, 74.5))
WALL = 3.0


def room(wall: float = WALL) -> Any:
    return np.full((HEIGHT, WIDTH), wall, np.float32)


def with_thing(x1: int, y1: int, x2: int, y2: int, z: float, wall: float = WALL) -> Any:
    depths = room(wall)
    depths[y1:y2, x1:x2] = z
    return depths


def see(depths: Any, image_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> DepthView:
    height, width = depths.shape
    return DepthView(depths, image_wh, CAMERA.resized((width, height)))


def middle(x1: float, y1: float, x2: float, y2: float, z: float) -> Any:
    return np.array([((x1 + x2) / 2 - 100) * z / FOCAL, ((y1 + y2) / 2 - 75) * z / FOCAL, z])


def test_a_thing_in_a_box_with_much_wall() -> None:
    place = locate(Region.box(70, 40, 130, 110), see(with_thing(85, 60, 115, 100, 1.5)))
    np.testing.assert_allclose(place.xyz_m, middle(85, 60, 115, 100, 1.5), atol=0.005)
    np.testing.assert_allclose(place.extent_m, (30 * 1.5 / FOCAL, 40 * 1.5 / FOCAL, 0), atol=0.01)
    assert place.depth_share == 1
    assert not place.note


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(12, 60), st.integers(12, 60)),
    at=st.tuples(st.integers(0, 130), st.integers(0, 80)),
    z=st.floats(0.5, 2.5),
    around=st.floats(0.0, 0.4),
    noise=st.floats(0.0, 0.01),
    holes=st.floats(0.0, 0.5),
    seed=st.integers(0, 1000),
)
def test_wherever_the_thing_is_with_noise_and_holes(
    size: Any, at: Any, z: float, around: float, noise: float, holes: float, seed: int
) -> None:
    (w, h), (x, y), rng = size, at, np.random.default_rng(seed)
    depths = with_thing(x, y, x + w, y + h, z)
    depths *= 1 + rng.normal(0, noise, depths.shape).astype(np.float32)
    depths[rng.random(depths.shape) < holes] = np.nan
    wide, high = around * w, around * h
    box = Region.box(x - wide, y - high, x + w + wide, y + h + high).clipped(WIDTH, HEIGHT)
    place = locate(box, see(depths))
    assert place.xyz_m is not None
    truth = middle(x, y, x + w, y + h, z)
    assert np.linalg.norm(place.xyz_m - truth) < 0.02 * np.linalg.norm(truth) + 0.005


def test_what_hides_a_corner_is_not_the_thing() -> None:
    depths = with_thing(80, 50, 120, 110, 1.5)
    depths[90:110, 80:90] = 0.7  # a hand
    place = locate(Region.box(78, 48, 122, 112), see(depths))
    assert place.xyz_m is not None
    assert place.xyz_m[2] == pytest.approx(1.5, abs=0.02)


def test_a_polygon_leaves_out_what_is_outside_it() -> None:
    depths = with_thing(80, 50, 120, 110, 1.5)
    depths[:, 120:] = 1.0
    inside = Region.polygon([(82, 52), (118, 52), (118, 108), (82, 108)])
    place = locate(inside, see(depths))
    np.testing.assert_allclose(place.xyz_m, middle(80, 50, 120, 110, 1.5), atol=0.02)


def test_a_polygon_smaller_than_a_pixel_is_its_pixel() -> None:
    tiny = Region.polygon([(80.1, 60.1), (80.3, 60.1), (80.2, 60.3)])
    place = locate(tiny, see(room()))
    assert place.xyz_m is not None
    assert place.xyz_m[2] == pytest.approx(WALL)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(0, WIDTH), y=st.floats(0, HEIGHT), z=st.floats(0.3, 10.0))
def test_a_point_anywhere_up_to_the_edges(x: float, y: float, z: float) -> None:
    place = locate(Region.point(x, y), see(room(z)))
    np.testing.assert_allclose(
        place.xyz_m, ((x - 100) * z / FOCAL, (y - 75) * z / FOCAL, z), rtol=1e-4, atol=1e-4
    )
    assert place.extent_m == (0, 0, 0)


def test_a_point_at_an_edge_is_of_its_own_side() -> None:
    view = see(with_thing(80, 50, 120, 110, 1.5))
    for x, z in ((119.5, 1.5), (120.5, WALL)):
        place = locate(Region.point(x, 80), view)
        assert place.xyz_m is not None
        assert place.xyz_m[2] == pytest.approx(z)


def test_a_point_in_a_small_hole_takes_the_depths_around() -> None:
    depths = with_thing(80, 50, 120, 110, 1.5)
    depths[79:81, 99:101] = np.nan
    place = locate(Region.point(100, 80), see(depths))
    assert place.xyz_m is not None
    assert place.xyz_m[2] == pytest.approx(1.5)


@pytest.mark.parametrize("none", [np.nan, 0.0, -1.0, np.inf])
def test_without_depth_the_note_says_so(none: float) -> None:
    depths = with_thing(80, 50, 120, 110, none)
    place = locate(Region.box(80, 50, 120, 110), see(depths))
    assert place.xyz_m is None
    assert place.extent_m == (0, 0, 0)
    assert place.depth_share == 0
    assert "0% of the region" in place.note
    assert locate(Region.point(100, 80), see(depths)).xyz_m is None


def test_little_depth_is_doubtful() -> None:
    depths = with_thing(80, 50, 120, 110, 1.5)
    depths[50:98, 80:120] = np.nan
    place = locate(Region.box(80, 50, 120, 110), see(depths))
    assert place.xyz_m is not None
    assert place.depth_share == pytest.approx(0.2)
    assert "only 20%" in place.note


def test_the_whole_image_has_no_position() -> None:
    place = locate(Region.image(), see(room()))
    assert place.xyz_m is None
    assert "whole image" in place.note


def test_a_smaller_depth_picture_of_the_same_view() -> None:
    whole = with_thing(84, 60, 116, 100, 1.5)
    view = see(whole[::2, ::2].copy(), image_wh=(WIDTH, HEIGHT))
    place = locate(Region.box(80, 56, 120, 104), view)
    np.testing.assert_allclose(place.xyz_m, middle(84, 60, 116, 100, 1.5), atol=0.02)


def test_a_depth_picture_of_another_shape_is_refused() -> None:
    with pytest.raises(PositionError, match="different shapes"):
        DepthView(room(), (WIDTH, WIDTH), CAMERA)


def test_pixels_beyond_the_calibration_have_no_position() -> None:
    folded = CameraModel(
        (WIDTH, HEIGHT), (60.0, 60.0), (99.5, 74.5), "plumb_bob", (-0.28, 0, 0, 0, 0)
    )
    place = locate(Region.box(0, 0, 8, 8), DepthView(room(), (WIDTH, HEIGHT), folded))
    assert place.xyz_m is None
    assert "no ray" in place.note
    assert place.depth_share == 1


def test_no_mask_no_cluster() -> None:
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    assert not near_cluster(room(), nothing).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 50.0), st.floats(0, 1))
def test_a_cluster_of_any_depths_lies_inside_the_mask(
    seed: int, scale: float, share: float
) -> None:
    rng = np.random.default_rng(seed)
    depths = (rng.random((13, 17)) ** 8 * scale + 1e-4).astype(np.float32)
    depths[rng.random(depths.shape) < share] = np.nan
    mask = rng.random(depths.shape) < 0.7
    found = near_cluster(depths, mask)
    assert not (found & ~mask).any()
    assert found.any() == bool((mask & np.isfinite(depths)).any())
    assert all(math.isfinite(value) for value in depths[found])
