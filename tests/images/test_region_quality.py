"""Size, sharpness and light of a region follow what was drawn into the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.images.region_quality import measure

WIDTH, HEIGHT = 200, 100


@pytest.fixture
def picture() -> np.ndarray:
    """Noise at the left, grey at the right."""
    made = np.full((HEIGHT, WIDTH, 3), 51, np.uint8)
    made[:, :100] = np.random.default_rng(0).integers(0, 256, (HEIGHT, 100, 3))
    return made


@pytest.mark.parametrize(
    ("region", "share"),
    [
        (Region.image(), 1.0),
        (Region.box(0, 0, 50, 20), 0.05),
        (Region.polygon([(0, 0), (100, 0), (0, 100)]), 0.25),
        (Region.point(150, 50), 25 * 25 / (WIDTH * HEIGHT)),
        (Region.box(199.5, 99.5, 200, 100), 9 / (WIDTH * HEIGHT)),
    ],
)
def test_the_share_is_the_area(picture: np.ndarray, region: Region, share: float) -> None:
    assert measure(picture, [region]).share == pytest.approx(share, rel=0.05)


def test_blur_lowers_the_sharpness_and_leaves_the_light(picture: np.ndarray) -> None:
    region = [Region.box(10, 10, 90, 90)]
    sharp = measure(picture, region)
    blurred = measure(cv2.GaussianBlur(picture, (0, 0), 3), region)
    assert blurred.sharpness < sharp.sharpness / 10
    assert blurred.light == pytest.approx(sharp.light, abs=0.02)


def test_only_the_region_counts(picture: np.ndarray) -> None:
    flat = measure(picture, [Region.box(120, 10, 190, 90)])
    assert flat.sharpness == 0
    assert flat.light == pytest.approx(0.2)
    corner = Region.polygon([(104, 0), (200, 0), (200, 100)])
    assert measure(picture, [corner]).sharpness == 0
    assert measure(picture, [Region.image()]).sharpness > 100


def test_several_regions_add_up(picture: np.ndarray) -> None:
    two = measure(picture, [Region.box(120, 0, 140, 50), Region.box(150, 0, 170, 50)])
    assert two.share == pytest.approx(0.1)
    assert measure(picture, [Region.image(), Region.image()]).share == 1.0
    assert measure(picture, []) == measure(picture, [Region.image()])


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (300, 2, 3)])
def test_tiny_pictures_are_measured(shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    for region in (Region.image(), Region.point(0, 0), Region.box(0, 0, width, height)):
        found = measure(np.full(shape, 255, np.uint8), [region])
        assert found.light == 1.0
        assert 0 < found.share <= 1
