import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.operators.picture_view import PictureView

sizes = st.tuples(st.integers(1, 8000), st.integers(1, 8000))
views = st.tuples(st.floats(1, 4000), st.floats(1, 4000))
shares = st.tuples(st.floats(0, 1), st.floats(0, 1))


def at(wh: tuple[float, float], share: tuple[float, float]) -> tuple[float, float]:
    return wh[0] * share[0], wh[1] * share[1]


@given(sizes, views, st.lists(st.tuples(st.floats(0.2, 5), shares), max_size=4), shares)
def test_there_and_back_at_any_zoom(image_wh, view_wh, zooms, share):
    view = PictureView(image_wh, view_wh)
    for factor, about in zooms:
        view = view.zoomed(factor, at(view_wh, about))
    point_px = at(image_wh, share)
    found = view.to_image(view.to_view(point_px))
    assert found == pytest.approx(point_px, abs=1e-6 * max(image_wh))


def test_a_wide_picture_has_equal_margins_above_and_below():
    view = PictureView((200, 100), (400, 400))
    assert view.scale == 2
    assert view.to_view((0, 0)) == (0, 100)
    assert view.to_view((200, 100)) == (400, 300)
    assert view.to_image((400, 99))[1] == pytest.approx(-0.5)


def test_a_tall_picture_has_equal_margins_left_and_right():
    view = PictureView((100, 200), (400, 400))
    assert view.to_view((0, 0)) == (100, 0)
    assert view.to_view((100, 200)) == (300, 400)


@given(sizes, views, st.floats(1, 4), shares)
def test_the_place_under_the_pointer_stays_where_the_picture_fills_the_view(
    image_wh, view_wh, factor, share
):
    # Filled from twice the fit of the longer axis on; there nothing is clamped near the middle.
    view = PictureView(image_wh, view_wh)
    fill = max(v / i for v, i in zip(view_wh, image_wh, strict=True)) / view.scale
    near = view.zoomed(fill * 2)
    pointer = at(view_wh, (0.25 + share[0] / 2, 0.25 + share[1] / 2))
    before = near.to_image(pointer)
    after = near.zoomed(factor, pointer).to_image(pointer)
    if near.zoom == pytest.approx(fill * 2):  # not cut off at the largest pixel
        assert after == pytest.approx(before, abs=1e-6 * max(image_wh))


@given(sizes, views, st.floats(1, 30), st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))
def test_no_pan_opens_a_gap(image_wh, view_wh, zoom, right, down):
    view = PictureView(image_wh, view_wh).zoomed(zoom).panned(right, down)
    for axis in (0, 1):
        first = view.to_view((0, 0))[axis]
        last = view.to_view(image_wh)[axis]
        tolerance = 1e-6 * (view_wh[axis] + last - first)
        if last - first > view_wh[axis]:
            assert first <= tolerance
            assert last >= view_wh[axis] - tolerance
        else:
            assert first == pytest.approx(view_wh[axis] - last, abs=tolerance)


def test_a_pan_moves_the_picture_with_the_hand():
    view = PictureView((400, 400), (400, 400)).zoomed(2)
    moved = view.panned(30, -20)
    assert moved.to_view((200, 200)) == (230, 180)


def test_zooming_out_ends_at_the_whole_picture():
    view = PictureView((640, 480), (640, 480))
    assert view.zoomed(3, (10, 20)).zoomed(0.01).to_view((0, 0)) == (0, 0)
    assert view.zoomed(1e9).scale == 48


def test_another_size_of_the_picture_shows_all_of_it():
    view = PictureView((640, 480), (320, 240)).zoomed(4)
    assert view.of_image(640, 480) is view
    assert view.of_image(1280, 720).zoom == 1
    assert math.isfinite(view.of_view(0, 0).scale)
