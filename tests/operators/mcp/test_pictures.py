"""The JPEG of a tool's result: what it shows, where, and how large it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import PALETTE
from chatspot_ros.operators.mcp.pictures import (
    LONGEST_SIDE_PX,
    MOST_BYTES,
    part_around,
    show_part,
    whole_of,
)


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (3840, 120), (33, 1081), (16, 16)])
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_a_part_of_any_form_is_bounded_and_its_scale_is_true(
    width: int, height: int, share: float
) -> None:
    box = Region.box(0, 0, max(1, width * share), max(1, height * share))
    part = part_around(grey(width, height), [box])
    shown = show_part(grey(width, height), [box], (), part)
    picture = decoded(shown.jpeg)
    assert max(picture.shape[:2]) <= LONGEST_SIDE_PX
    assert 0 <= part[0] < part[2] <= width
    assert 0 <= part[1] < part[3] <= height
    assert picture.shape[1] == pytest.approx((part[2] - part[0]) * shown.scale, abs=1)
    assert picture.shape[0] == pytest.approx((part[3] - part[1]) * shown.scale, abs=1)


@pytest.mark.parametrize(
    "regions",
    [
        [Region.box(500, 300, 620, 380)],
        [Region.box(20, 30, 60, 70), Region.point(200, 40)],
        [Region.polygon([(300, 300), (400, 310), (350, 400)])],
    ],
)
def test_regions_are_drawn_where_they_are(regions: list[Region]) -> None:
    image = grey(640, 480)
    shown = show_part(image, regions, (), part_around(image, regions))
    picture = decoded(shown.jpeg).astype(int)
    left, top = shown.cut_xyxy_px[:2]
    for number, region in enumerate(regions):
        for x, y in region.points_px:
            column, row = round((x - left) * shown.scale), round((y - top) * shown.scale)
            near = picture[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
            far = np.abs(near - PALETTE[number]).sum(axis=2).min()
            assert far < 180, (region, x, y)  # JPEG mixes the colours of thin lines


def test_the_whole_picture_stays_whole_and_is_not_enlarged() -> None:
    image = grey(200, 100)
    whole = Region.image()
    assert part_around(image, [Region.point(5, 5), whole]) == whole_of(image) == (0, 0, 200, 100)
    assert part_around(image, []) == whole_of(image)
    large = grey(800, 600)
    assert show_part(large, [], (), whole_of(large)).scale == 1.0


def test_noise_is_made_smaller_until_it_fits() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (1200, 1600, 3), np.uint8)
    shown = show_part(noise, [Region.image()], (), whole_of(noise))
    assert len(shown.jpeg) <= MOST_BYTES
    assert decoded(shown.jpeg).shape[1] == round(1600 * shown.scale)
