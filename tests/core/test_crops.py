"""The square around a region that is shown once more."""

from __future__ import annotations

import pytest

from chatspot_ros.core.crops import Cut, cut_around, region_to_look_at
from chatspot_ros.core.regions import Region


@pytest.mark.parametrize(
    ("region", "size", "expected"),
    [
        (Region.box(100, 100, 140, 120), (640, 480), (88, 78, 152, 142)),  # 40 and 0.3 on each side
        (Region.box(0, 0, 40, 20), (640, 480), (0, 0, 64, 64)),  # moved into the image
        (Region.box(600, 460, 640, 480), (640, 480), (576, 416, 640, 480)),
        (Region.point(320, 240), (640, 480), (224, 144, 416, 336)),  # 120 and 0.3 on each side
        (Region.box(300, 200, 301, 201), (640, 480), (292, 192, 308, 208)),  # the least side
        (Region.box(0, 0, 640, 480), (640, 480), (0, 0, 640, 480)),  # no larger than the image
        (Region.box(0, 0, 10000, 10), (10000, 10), (0, 0, 10000, 10)),
        (Region.point(0, 0), (1, 1), (0, 0, 1, 1)),
        (Region.polygon([(10, 10), (50, 10), (30, 30)]), (640, 480), (0, 0, 64, 64)),
    ],
)
def test_the_square_around_a_region(region: Region, size: tuple[int, int], expected: Cut) -> None:
    assert cut_around(region, size, 0.3) == expected


def test_only_a_single_place_is_looked_at() -> None:
    box = Region.box(1, 2, 3, 4)
    assert region_to_look_at([box]) is box
    assert region_to_look_at([box, box]) is None
    assert region_to_look_at([]) is None
