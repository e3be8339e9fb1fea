from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.dialects import ChatSpotDialect, Dialect, PixelJsonDialect
from chatspot_ros.core.geometry import Fit, PictureGeometry, fit
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import RegionError

TINY = ChatSpotDialect()
LLAVA = ChatSpotDialect(separator=", ", lead="", opening="[", closing="]")
DIALECTS: list[Dialect] = [TINY, ChatSpotDialect(decimals=3, separator=",", lead=""), LLAVA,
                           PixelJsonDialect()]  # fmt: skip
SQUARE = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
sides = st.integers(1, 4000)
fractions = st.floats(0, 1)
fits = st.builds(
    lambda mode, w, h: fit(mode, (w, h), (336, 336)),
    st.sampled_from(list(PictureGeometry)),
    sides,
    sides,
)


def test_chatspot_tiny_text() -> None:
    assert TINY.say(Region.box(24, 34, 112, 78), SQUARE) == "<box> 0.12 0.34 0.56 0.78</box>"
    assert TINY.say(Region.point(200, 0), SQUARE) == "<box> 1.00 0.00</box>"
    assert TINY.say(Region.polygon([(100, 0), (0, 0), (0, 50)]), SQUARE) == (
        "<box> 0.00 0.00 0.50 0.00 0.00 0.50</box>"
    )
    assert TINY.say(Region.image(), SQUARE) == ""


def test_other_separators_and_brackets() -> None:
    assert LLAVA.say(Region.box(24, 34, 112, 78), SQUARE) == "[0.12, 0.34, 0.56, 0.78]"
    text = PixelJsonDialect().say(Region.box(20, 25, 100, 75), SQUARE)
    assert text == '{"bbox_2d": [22, 56, 112, 168]}'


@settings(deadline=None)
@given(st.sampled_from(DIALECTS), fits, fractions, fractions, fractions, fractions)
def test_box_to_text_to_box(
    dialect: Dialect, laid: Fit, fx1: float, fy1: float, fx2: float, fy2: float
) -> None:
    w, h = laid.image_wh
    try:
        region = Region.box(fx1 * w, fy1 * h, fx2 * w, fy2 * h).clipped(w, h)
    except RegionError:
        return
    text = dialect.say(region, laid)
    (found,) = dialect.find(f"the mug {text} here", laid)
    assert found.region_px.kind is RegionKind.BOX
    step = 0.0101
    for (x, y), (bx, by) in zip(
        laid.to_unit(region.points_px), laid.to_unit(found.region_px.points_px), strict=True
    ):
        assert abs(x - bx) <= step
        assert abs(y - by) <= step


@settings(deadline=None)
@given(st.sampled_from(DIALECTS), fits, fractions, fractions)
def test_point_to_text_to_point(dialect: Dialect, laid: Fit, fx: float, fy: float) -> None:
    w, h = laid.image_wh
    region = Region.point(fx * w, fy * h)
    (found,) = dialect.find(dialect.say(region, laid), laid)
    ((ux, uy),) = laid.to_unit(region.points_px)
    ((vx, vy),) = laid.to_unit(found.region_px.points_px)
    assert abs(ux - vx) <= 0.0101
    assert abs(uy - vy) <= 0.0101


@settings(deadline=None)
@given(fits, st.lists(st.tuples(fractions, fractions), min_size=3, max_size=40))
def test_a_polygons_text_reads_back_to_the_same_text(
    laid: Fit, corners: list[tuple[float, float]]
) -> None:
    w, h = laid.image_wh
    try:
        region = Region(tuple((x * w, y * h) for x, y in corners)).clipped(w, h)
    except RegionError:
        return
    text = TINY.say(region, laid)
    numbers = text.removeprefix("<box>").removesuffix("</box>").split()
    assert len(numbers) == 4 or 6 <= len(numbers) <= 16
    assert len(numbers) % 2 == 0
    assert all(0 <= float(number) <= 1 for number in numbers)


def test_a_polygon_keeps_its_shape_when_thinned() -> None:
    import math

    circle = [(100 + 40 * math.cos(k / 20), 50 + 30 * math.sin(k / 20)) for k in range(125)]
    text = TINY.say(Region.polygon(circle).clipped(200, 100), SQUARE)
    (found,) = TINY.find(text, SQUARE)
    assert 5 <= len(found.region_px.points_px) <= 8
    x1, y1, x2, y2 = found.region_px.box_xyxy_px
    assert (x1, y1, x2, y2) == pytest.approx((60, 20, 140, 80), abs=5)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
def test_whatever_the_corner_and_turn_the_text_is_one(dialect: Dialect) -> None:
    corners = [(20, 10), (120, 20), (90, 80), (30, 60)]
    turned = corners[2:] + corners[:2]
    texts = {
        dialect.say(Region.polygon(points), SQUARE) for points in (corners, corners[::-1], turned)
    }
    assert len(texts) == 1


def test_what_rounding_would_flatten_is_widened() -> None:
    assert TINY.say(Region.box(20, 10, 20.1, 10.1), SQUARE) == "<box> 0.10 0.10 0.11 0.11</box>"
    assert TINY.say(Region.box(199.9, 99.9, 200, 100), SQUARE) == "<box> 0.99 0.99 1.00 1.00</box>"
    sliver = Region.polygon([(20, 10), (60, 10.1), (40, 10.2)])
    assert TINY.say(sliver, SQUARE) == "<box> 0.10 0.10 0.30 0.11</box>"


def test_found_regions_carry_place_and_phrase() -> None:
    text = "I see it. the red mug <box>0.1,0.2,0.3,0.4</box> and a lid<box> 0.5 0.5</box>"
    mug, lid = TINY.find(text, SQUARE)
    assert (mug.phrase, lid.phrase) == ("the red mug", "and a lid")
    assert text[mug.start : mug.end] == "<box>0.1,0.2,0.3,0.4</box>"
    assert mug.region_px.box_xyxy_px == pytest.approx((20, 20, 60, 40))
    assert lid.region_px.points_px == ((100, 50),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<box></box>",
        "<box> 0.1</box>",
        "<box> 0.1 0.2 0.3</box>",
        "<box> 0.1 0.2 0.3 1.4</box>",
        "<box> -0.1 0.2</box>",
        "<box> 0.1 0.2",
        "0.1 0.2</box>",
        "<box> 0.1 0.2 0.1 0.2</box>",
        "<box> 0..1 0.2</box>",
        "<box> nan 0.2</box>",
        "<box> 0.1 0.1 0.2 0.2 0.3 0.3</box>",
    ],
)
def test_malformed_text_says_no_region(text: str) -> None:
    assert TINY.find(text, SQUARE) == []


def test_regions_in_the_filling_are_no_regions() -> None:
    padded = fit(PictureGeometry.PAD_CENTRE, (200, 100), (224, 224))
    assert TINY.find("<box> 0.10 0.05 0.30 0.15</box><box> 0.50 0.10</box>", padded) == []
    (kept,) = TINY.find("<box> 0.00 0.00 0.50 0.50</box>", padded)
    assert kept.region_px.box_xyxy_px == (0, 0, 100, 50)


def test_pixel_json_reads_a_fenced_answer() -> None:
    text = '```json\n[{"bbox_2d": [0, 0, 112, 112], "label": "mug"}, {"point_2d": [224, 0]}]\n```'
    mug, point = PixelJsonDialect().find(text, SQUARE)
    assert (mug.region_px, mug.phrase) == (Region.box(0, 0, 100, 50), "mug")
    assert point.region_px == Region.point(200, 0)
    assert PixelJsonDialect().find('{"bbox_2d": [1, 2, 3]} {"point_2d": [1, 2, 3]}', SQUARE) == []
