"""A detector's own pixels -> the camera's, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.core.detection_space import DetectionSpace
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError

SIZES = st.tuples(st.integers(1, 8000), st.integers(1, 8000))
LAYOUTS = st.sampled_from(["resized", "letterboxed", "letterboxed_centre"])
POINTS = st.lists(
    st.tuples(st.floats(-100, 9000), st.floats(-100, 9000)), min_size=1, max_size=6
).map(tuple)


def only(regions: tuple[Region, ...]) -> Region:
    (region,) = regions
    return region


def detected(space: DetectionSpace, region: Region, image_wh: tuple[int, int]) -> Region:
    """Return a region of the camera's image in the detector's pixels."""
    assert space.size_wh is not None
    width, height = space.size_wh
    unit = fit(space.layout, image_wh, space.size_wh).to_unit(region.points_px)
    return replace(region, points_px=tuple((x * width, y * height) for x, y in unit))


@given(LAYOUTS, SIZES, SIZES, POINTS)
def test_there_and_back_is_the_same(
    layout: str, size: tuple[int, int], image: tuple[int, int], points: tuple[tuple[float, float]]
) -> None:
    space = DetectionSpace.parse(f"{layout} {size[0]}x{size[1]}")
    region = Region(points, id="a", label="mug")
    back = only(space.to_image([detected(space, region, image)], image))
    assert (back.id, back.label, back.kind) == ("a", "mug", region.kind)
    np.testing.assert_allclose(back.points_px, points, rtol=1e-9, atol=1e-6)


@given(LAYOUTS, SIZES, SIZES)
def test_the_corners_of_the_image_are_the_corners_of_its_content(
    layout: str, size: tuple[int, int], image: tuple[int, int]
) -> None:
    space = DetectionSpace.parse(f"{layout} {size[0]}x{size[1]}")
    left, top, right, bottom = detected(space, Region.box(0, 0, *image), image).box_xyxy_px
    assert left >= -1e-6
    assert top >= -1e-6
    assert right <= size[0] + 1e-6
    assert bottom <= size[1] + 1e-6
    if layout == "resized":
        np.testing.assert_allclose((left, top, right, bottom), (0, 0, *size), atol=1e-6)
    else:
        # One side is filled wholly.
        assert min(size[0] - (right - left), size[1] - (bottom - top)) < 1e-6
    if layout == "letterboxed":
        assert (left, top) == (0, 0)


@pytest.mark.parametrize(
    ("image_wh", "reported_xyxy", "image_xyxy"),
    [
        # 1920 x 1080 halved is 960 x 540: four rows of filling at the bottom.
        ((1920, 1080), (100, 50, 200, 540), (200, 100, 400, 1080)),
        # 640 x 480 becomes 725 x 544: the filling is on the right.
        ((640, 480), (0, 0, 725, 544), (0, 0, 640, 480)),
        ((640, 480), (362.5, 272, 725, 544), (320, 240, 640, 480)),
        # 480 x 640 becomes 408 x 544.
        ((480, 640), (204, 136, 408, 544), (240, 160, 480, 640)),
    ],
)
def test_boxes_as_isaac_reports_them(
    image_wh: tuple[int, int],
    reported_xyxy: tuple[float, float, float, float],
    image_xyxy: tuple[float, float, float, float],
) -> None:
    space = DetectionSpace.parse("letterboxed 960x544")
    mapped = only(space.to_image([Region.box(*reported_xyxy)], image_wh))
    np.testing.assert_allclose(mapped.box_xyxy_px, image_xyxy, rtol=1e-12)


def test_what_is_seen_on_the_picture_is_where_the_box_says() -> None:
    """The pixels that a network sees and the mapping agree, also for odd sizes."""
    image = np.zeros((333, 517, 3), np.uint8)
    image[100:220, 60:300] = 255
    for text, layout in (
        ("resized 640x640", PictureGeometry.STRETCH),
        ("letterboxed 960x544", PictureGeometry.PAD_TOP_LEFT),
        ("letterboxed_centre 640x640", PictureGeometry.PAD_CENTRE),
    ):
        space = DetectionSpace.parse(text)
        assert space.size_wh is not None
        seen = fit(layout, (517, 333), space.size_wh).apply(image, (0, 0, 0))
        rows, columns = np.nonzero(seen[..., 0] > 127)
        box = Region.box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        mapped = only(space.to_image([box], (517, 333)))
        np.testing.assert_allclose(mapped.box_xyxy_px, (60, 100, 300, 220), atol=1.0)


def test_the_cameras_own_pixels_stay() -> None:
    regions = (Region.box(1, 2, 3, 4), Region.point(5, 6))
    assert DetectionSpace.parse("camera").to_image(regions, (64, 48)) == regions


@pytest.mark.parametrize(
    "text", ["", "Camera", "resized", "resized 0x5", "letterboxed 960*544", "letterboxed 960x544 "]
)
def test_what_is_no_space_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(RequestError, match="letterboxed 960x544"):
        DetectionSpace.parse(text)
