from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.geometry import PictureGeometry, fit, tiled_wh
from chatspot_ros.core.model_spec import GeometrySpec
from chatspot_ros.errors import ImageError

modes = st.sampled_from(list(PictureGeometry))
sides = st.integers(1, 8000)
model_sides = st.integers(1, 1400)
GREEN = (0, 255, 0)


@settings(deadline=None)
@given(modes, sides, sides, model_sides, model_sides, st.floats(0, 1), st.floats(0, 1))
def test_there_and_back_is_exact(
    mode: PictureGeometry, w: int, h: int, mw: int, mh: int, fx: float, fy: float
) -> None:
    laid = fit(mode, (w, h), (mw, mh))
    ((ux, uy),) = laid.to_unit([(fx * w, fy * h)])
    assert -1e-9 <= ux <= 1 + 1e-9
    assert -1e-9 <= uy <= 1 + 1e-9
    ((x, y),) = laid.to_px([(ux, uy)])
    assert abs(x - fx * w) <= 1e-6
    assert abs(y - fy * h) <= 1e-6


@settings(deadline=None)
@given(modes, sides, sides, model_sides, model_sides)
def test_the_content_lies_inside_the_picture(
    mode: PictureGeometry, w: int, h: int, mw: int, mh: int
) -> None:
    laid = fit(mode, (w, h), (mw, mh))
    for side in (0, 1):
        assert laid.content_wh[side] >= 1
        assert laid.offset_xy[side] >= 0
        assert laid.offset_xy[side] + laid.content_wh[side] <= laid.model_wh[side]


def test_a_wide_image_in_a_square() -> None:
    corners = [(0, 0), (200, 100)]
    assert fit(PictureGeometry.STRETCH, (200, 100), (50, 50)).to_unit(corners) == ((0, 0), (1, 1))
    centred = fit(PictureGeometry.PAD_CENTRE, (200, 100), (50, 50))
    assert centred.to_unit(corners) == ((0, 0.24), (1, 0.74))
    top_left = fit(PictureGeometry.PAD_TOP_LEFT, (200, 100), (50, 50))
    assert top_left.to_unit(corners) == ((0, 0), (1, 0.5))


@pytest.mark.parametrize("mode", list(PictureGeometry))
@pytest.mark.parametrize("wh", [(97, 31), (31, 97), (64, 64), (1, 1), (500, 3), (3, 500)])
def test_pixels_land_where_coordinates_say(mode: PictureGeometry, wh: tuple[int, int]) -> None:
    image = np.zeros((wh[1], wh[0], 3), np.uint8)
    image[..., 0] = 200
    laid = fit(mode, wh, (56, 42))
    picture = laid.apply(image, GREEN)
    assert picture.shape == (42, 56, 3)
    assert picture.dtype == np.uint8
    (x1, y1), (x2, y2) = laid.to_unit([(0, 0), wh])
    inside = np.zeros((42, 56), bool)
    inside[round(y1 * 42) : round(y2 * 42), round(x1 * 56) : round(x2 * 56)] = True
    assert (picture[inside] == (200, 0, 0)).all()
    assert (picture[~inside] == GREEN).all()


def test_nothing_at_the_sides_is_cropped_away() -> None:
    image = np.zeros((40, 400, 3), np.uint8)
    image[:, :40, 0] = 255
    image[:, -40:, 2] = 255
    picture = fit(PictureGeometry.STRETCH, (400, 40), (56, 56)).apply(image, GREEN)
    assert picture[28, 1].tolist() == [255, 0, 0]
    assert picture[28, -2].tolist() == [0, 0, 255]


def test_shrinking_takes_the_mean_of_the_area() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    picture = fit(PictureGeometry.STRETCH, (64, 64), (8, 8)).apply(stripes, GREEN)
    assert (picture == 100).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_other_arrays_are_refused(image: object) -> None:
    with pytest.raises(ImageError):
        fit(PictureGeometry.STRETCH, (4, 4), (8, 8)).apply(image, GREEN)  # type: ignore[arg-type]


def test_another_size_than_the_fits_is_refused() -> None:
    with pytest.raises(ImageError, match="4 x 6"):
        fit(PictureGeometry.STRETCH, (4, 6), (8, 8)).apply(np.zeros((4, 6, 3), np.uint8), GREEN)


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        fit(PictureGeometry.STRETCH, (0, 6), (8, 8))


@settings(deadline=None)
@given(sides, sides)
def test_an_own_size_is_a_bounded_multiple(w: int, h: int) -> None:
    spec = GeometrySpec(mode=PictureGeometry.STRETCH, multiple_of=28, max_pixels=602112)
    mw, mh = spec.fit((w, h)).model_wh
    assert mw % 28 == 0
    assert mh % 28 == 0
    assert max(mw, mh) <= 200 * min(mw, mh)
    # Rounding may add half a patch to each side.
    assert mw * mh <= 602112 + 14 * (mw + mh)


@settings(deadline=None)
@given(sides, sides, st.integers(1, 12))
def test_tiles_are_few_and_lie_as_the_image_does(w: int, h: int, most: int) -> None:
    across, down = (side // 448 for side in tiled_wh((w, h), (448, 448), most))
    assert 1 <= across * down <= most
    assert (across >= down) or w < h
    # What is cut again stays as it is.
    assert tiled_wh((across * 448, down * 448), (448, 448), most) == (across * 448, down * 448)


@pytest.mark.parametrize(
    ("wh", "grid"),
    [((640, 480), (4, 3)), ((1920, 1080), (4, 2)), ((100, 100), (1, 1)), ((1300, 1300), (3, 3)),
     ((50, 4000), (1, 12)), ((4000, 50), (12, 1))],
)  # fmt: skip
def test_an_image_in_tiles(wh: tuple[int, int], grid: tuple[int, int]) -> None:
    spec = GeometrySpec(mode=PictureGeometry.STRETCH, width=448, height=448, max_tiles=12)
    assert spec.fit(wh).model_wh == (grid[0] * 448, grid[1] * 448)


@pytest.mark.parametrize(
    ("wh", "grid"),
    [
        # 1 x 1 and 2 x 2 are equally near to a square; the larger from half of its pixels on.
        ((633, 633), (1, 1)),
        ((634, 634), (2, 2)),
        # 3 x 3 has 9 tiles: half of its pixels are a square of 950.4.
        ((950, 950), (2, 2)),
        ((951, 951), (3, 3)),
        # 2 x 1 and 4 x 2: half of 8 tiles are 1267.2 x 633.6.
        ((1266, 633), (2, 1)),
        ((1268, 634), (4, 2)),
    ],
)
def test_of_equally_near_grids_the_larger_needs_half_its_pixels(
    wh: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert tiled_wh(wh, (448, 448), 12) == (grid[0] * 448, grid[1] * 448)


def test_exactly_half_the_pixels_are_not_enough() -> None:
    # 2 x 2 tiles of 4 x 2 pixels: half are 16 pixels.
    assert tiled_wh((4, 4), (4, 2), 4) == (4, 2)
    assert tiled_wh((5, 5), (4, 2), 4) == (8, 4)
