"""There and back through every distortion model; binning, regions of interest, other sizes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.camera_model import MODELS, CameraModel
from chatspot_ros.errors import CalibrationError

# Real lenses: a wide-angle one by each model.
COEFFICIENTS = {
    "plumb_bob": (-0.28, 0.08, 0.001, -0.0008, 0.0),
    "rational_polynomial": (0.5, -2.7, 0.0008, -0.0003, 1.6, 0.38, -2.5, 1.5),
    "equidistant": (-0.02, 0.006, -0.004, 0.0008),
}


def info(**changes: Any) -> Any:
    fields = {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1],
        "p": [480.0, 0, 310.0, 0, 0, 480.0, 230.0, 0, 0, 0, 1, 0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**fields, **changes})


def roi(x: int, y: int, width: int, height: int) -> Any:
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(-0.5, 0.5),
    y=st.floats(-0.4, 0.4),
    z=st.floats(0.2, 20.0),
    strength=st.floats(0.0, 1.0),
    binning=st.integers(1, 4),
    offset=st.tuples(st.integers(0, 100), st.integers(0, 100)),
)
def test_a_point_comes_back_through_every_model(
    model: str, x: float, y: float, z: float, strength: float, binning: int, offset: Any
) -> None:
    d = [strength * value for value in COEFFICIENTS[model]]
    window = roi(*offset, 400, 300)
    camera = CameraModel.from_info(
        info(distortion_model=model, d=d, binning_x=binning, binning_y=binning, roi=window)
    )
    point = np.array([[x * z, y * z, z]])
    pixel = camera.project(point)
    np.testing.assert_allclose(camera.points(pixel, np.array([z])), point, atol=1e-6 * z)


def test_the_middle_of_a_perfect_lens_looks_straight_ahead() -> None:
    camera = CameraModel.from_info(info())
    # The centre of the picture is the corner between four pixels: 320, not 319.5.
    np.testing.assert_allclose(camera.rays(np.array([[320.0, 240.0]])), 0, atol=1e-12)
    np.testing.assert_allclose(camera.points(np.array([[820.0, 240.0]]), [2.0]), [[2, 0, 2]])


def test_distortion_moves_the_edge_and_not_the_middle() -> None:
    camera = CameraModel.from_info(info(d=list(COEFFICIENTS["plumb_bob"])))
    plain = CameraModel.from_info(info())
    middle, edge = np.array([[320.0, 240.0]]), np.array([[10.0, 10.0]])
    np.testing.assert_allclose(camera.rays(middle), plain.rays(middle), atol=1e-9)
    assert np.abs(camera.rays(edge) - plain.rays(edge)).max() > 0.02


def test_binning_and_a_region_of_interest_show_the_same_ray() -> None:
    whole = CameraModel.from_info(info())
    part = CameraModel.from_info(info(binning_x=2, binning_y=2, roi=roi(100, 60, 400, 300)))
    assert part.size_wh == (200, 150)
    np.testing.assert_allclose(part.rays([[10, 20]]), whole.rays([[10 * 2 + 100, 20 * 2 + 60]]))


def test_another_size_of_the_same_picture_shows_the_same_ray() -> None:
    camera = CameraModel.from_info(info())
    half = camera.resized((320, 240))
    np.testing.assert_allclose(half.rays([[40, 50]]), camera.rays([[80, 100]]))
    assert half.size_wh == (320, 240)
    assert camera.resized((640, 480)) is camera
    with pytest.raises(CalibrationError, match="different shapes"):
        camera.resized((640, 360))


def test_of_a_rectified_picture_the_projection_counts() -> None:
    baseline = [480.0, 0, 310.0, -48.0, 0, 480.0, 230.0, 0, 0, 0, 1, 0]
    given_info = info(d=list(COEFFICIENTS["plumb_bob"]), p=baseline)
    camera = CameraModel.from_info(given_info, rectified=True)
    assert not camera.distortion
    pixel = np.array([[310.5, 230.5]])
    # The right camera of a pair sees a point straight ahead of it, 0.1 m right of the left one.
    np.testing.assert_allclose(camera.points(pixel, [2.0]), [[0.1, 0, 2]], atol=1e-9)
    np.testing.assert_allclose(camera.project([[0.1, 0, 2]]), pixel)


def test_a_pixel_beyond_the_model_has_no_ray() -> None:
    # A strong barrel folds over: no ray leads to the corner.
    camera = CameraModel.from_info(info(k=[200.0, 0, 319.5, 0, 200.0, 239.5, 0, 0, 1],
                                        d=[-0.28, 0.0, 0.0, 0.0, 0.0]))  # fmt: skip
    rays = camera.rays(np.array([[320.0, 240.0], [1.0, 1.0]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()


def test_no_points_no_rays() -> None:
    camera = CameraModel.from_info(info(d=list(COEFFICIENTS["plumb_bob"])))
    assert camera.rays(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": [0.0] * 9}, "k is no camera's"),
        ({"k": [math.nan] * 9}, "k is no camera's"),
        ({"k": [500.0, 0, math.inf, 0, 500.0, 240, 0, 0, 1]}, "k is no camera's"),
        ({"k": [-500.0, 0, 320, 0, 500.0, 240, 0, 0, 1]}, "k is no camera's"),
        ({"width": 0}, "no size"),
        ({"binning_x": 4000}, "no size"),
        ({"distortion_model": "thin_plate", "d": [0.1]}, "unknown"),
        ({"distortion_model": "", "d": [0.1] * 5}, "unknown"),
        ({"d": [0.1] * 3}, "coefficients"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "coefficients"),
        ({"d": [math.nan] * 5}, "not finite"),
    ],
)
def test_a_calibration_that_cannot_be_used_says_so(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        CameraModel.from_info(info(**changes))


@pytest.mark.parametrize("model", ["", "none", "plumb_bob"])
@pytest.mark.parametrize("d", [[], [0.0] * 5])
def test_a_perfect_lens_may_say_nothing_of_its_distortion(model: str, d: list[float]) -> None:
    assert not CameraModel.from_info(info(distortion_model=model, d=d)).distortion
