"""The kitchen's depth: positions in it are where the kitchen's own data say that things are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from std_msgs.msg import Header

from chatspot_ros.core.camera_model import CameraModel
from chatspot_ros.core.depth_view import DepthView, locate
from chatspot_ros.core.regions import Region
from chatspot_ros.images.depth import message_to_metres
from chatspot_sim.camera_messages import camera_info, depth_image
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.sensor import sense_depth
from chatspot_sim.world import World

WIDTH, HEIGHT = 320, 240
# A kitchen with a sign on its wall.
SEED = 3


def in_camera(kitchen: Any, place: Any) -> np.ndarray:
    """A place of the kitchen in the camera's optical frame."""
    position, target = np.array(kitchen.view.position), np.array(kitchen.view.target)
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(forward, right), forward]) @ (np.array(place) - position)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_the_sign_is_where_it_hangs(encoding: str) -> None:
    kitchen = draw_kitchen(SEED, "test")
    with World(kitchen, WIDTH, HEIGHT) as world:
        truth, depths_m = world.frame().truth, world.depth_m()
    message = depth_image(depths_m, encoding, Header())
    assert (message.encoding, message.width, message.height) == (encoding, WIDTH, HEIGHT)
    info = camera_info(kitchen.view.fovy_deg, WIDTH, HEIGHT, Header())
    view = DepthView(message_to_metres(message), (WIDTH, HEIGHT), CameraModel.from_info(info))
    [sign] = truth.of_kind("sign")
    place = locate(Region.box(*sign.box_xyxy_px), view)
    hangs = in_camera(kitchen, kitchen.item("sign_1").place)
    np.testing.assert_allclose(place.xyz_m, hangs, atol=0.02)


def test_depth_is_of_now(ros_free_world: World) -> None:
    world = ros_free_world
    before = world.depth_m()
    assert world.depth_m() is before
    done, message = world.act("open", "fridge")
    assert done, message
    assert np.abs(world.depth_m() - before).max() > 0.1
    assert world.frame().rgb.shape == (HEIGHT, WIDTH, 3)


@pytest.fixture
def ros_free_world() -> Any:
    with World(draw_kitchen(SEED, "test"), WIDTH, HEIGHT) as world:
        yield world


def test_noise_and_holes_are_as_large_as_they_say() -> None:
    rng = np.random.default_rng(0)
    true_m = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    true_m[:, WIDTH // 2 :] = 3.0
    sensed = sense_depth(true_m, 0.01, 0.2, rng)
    left = sensed[:, : WIDTH // 2 - 2]
    assert np.isnan(left).mean() == pytest.approx(0.2, abs=0.03)
    assert np.nanstd(left) == pytest.approx(0.02, rel=0.1)
    assert np.isnan(sensed[:, WIDTH // 2 - 1 : WIDTH // 2 + 1]).all()
    np.testing.assert_array_equal(sense_depth(true_m, 0.0, 0.0, rng), true_m)


def test_positions_are_within_the_limit_and_better_than_the_mean(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    command = (sys.executable, "-m", "benchmarks.position", "--kitchens", "1", "--json", str(file))
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(file.read_text())
    row = found["position_error_median"]
    assert row["value"] <= row["limit"] == 0.02
    assert row["n"] >= 10
    assert found["position_error_over_mean_of_box"]["value"] < 0.7
