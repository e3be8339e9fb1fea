from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros import errors
from chatspot_ros.core.regions import Region, RegionKind, parse_typed_regions
from chatspot_ros.errors import ChatspotError, RegionError

sizes = st.integers(1, 5000)
coordinates = st.floats(-6000, 6000)


def test_the_number_of_points_is_the_kind() -> None:
    kinds = [Region(((1.0, 2.0),) * n).kind for n in range(5)]
    assert kinds == [
        RegionKind.IMAGE,
        RegionKind.POINT,
        RegionKind.BOX,
        RegionKind.POLYGON,
        RegionKind.POLYGON,
    ]


def test_swapped_corners_make_the_same_box() -> None:
    assert Region.box(30, 40, 10, 20) == Region.box(10, 20, 30, 40)
    assert Region(((30, 20), (10, 40))).clipped(100, 100).points_px == ((10, 20), (30, 40))


def test_id_and_label_survive_clipping() -> None:
    region = Region(((-5, -5), (50, 50)), id="7", label="mug").clipped(20, 30)
    assert region == Region(((0, 0), (20, 30)), id="7", label="mug")


def test_the_far_edges_belong_to_the_image() -> None:
    assert Region.point(640, 480).clipped(640, 480).points_px == ((640, 480),)
    assert Region.image().clipped(640, 480) == Region.image()


@pytest.mark.parametrize(
    ("region", "problem"),
    [
        (Region.point(math.nan, 3), "finite"),
        (Region.box(1, 2, math.inf, 4), "finite"),
        (Region.polygon([(1, 1), (5, 5), (-math.inf, 2)]), "finite"),
        (Region.point(640.5, 3), "outside"),
        (Region.point(-0.1, 3), "outside"),
        (Region.box(700, 10, 900, 50), "outside"),
        (Region.box(640, 0, 700, 50), "outside"),  # touches the edge only
        (Region.polygon([(700, 1), (800, 1), (750, 90)]), "outside"),
        (Region.box(10, 10, 10, 50), "no area"),
        (Region.box(10, 10, 10, 10), "no area"),
        (Region.polygon([(1, 1), (2, 2), (3, 3)]), "no area"),
        (Region.polygon([(1, 1), (1, 1), (1, 1)]), "no area"),
        (Region.polygon([(0, 0), (1e300, 0), (0, 1e300)]), "too far"),
    ],
)
def test_unusable_regions_say_why(region: Region, problem: str) -> None:
    with pytest.raises(RegionError, match=problem) as caught:
        region.clipped(640, 480)
    assert caught.value.status == "BAD_REGION"
    assert caught.value.remedy


def test_a_polygon_of_two_corners_is_a_box() -> None:
    twice = Region.polygon([(30, 40), (30, 40), (10, 20), (30, 40)])
    assert twice.clipped(100, 100).points_px == ((10, 20), (30, 40))


def test_a_tidy_polygon_inside_stays_as_it_is() -> None:
    corners = ((10.5, 10.0), (60.0, 12.0), (30.0, 70.25))
    assert Region(corners).clipped(100, 100).points_px == corners


def test_corners_in_the_wrong_order_become_their_hull() -> None:
    bow_tie = Region.polygon([(0, 0), (100, 100), (100, 0), (0, 100)]).clipped(200, 200)
    assert sorted(bow_tie.points_px) == [(0, 0), (0, 100), (100, 0), (100, 100)]


def test_a_small_crossing_is_cut_off() -> None:
    drawn = [(0, 0), (100, 0), (100, 100), (5, 100), (5, 95), (10, 105), (0, 100)]
    outline = Region.polygon(drawn).clipped(200, 200)
    x1, y1, x2, y2 = outline.box_xyxy_px
    assert (x1, y1, x2) == (0, 0, 100)
    assert 100 <= y2 <= 105


def test_of_several_parts_the_largest_stays() -> None:
    # A U whose base lies below the image: two legs are left, the right one is wider.
    legs = [(0, 0), (10, 0), (10, 150), (50, 150), (50, 0), (90, 0), (90, 200), (0, 200)]
    assert Region.polygon(legs).clipped(100, 100).box_xyxy_px == (50, 0, 90, 100)


@given(sizes, sizes, st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=9))
def test_a_clipped_region_lies_inside_and_stays(
    width: int, height: int, points: list[tuple[float, float]]
) -> None:
    try:
        region = Region(tuple(points)).clipped(width, height)
    except RegionError:
        return
    x1, y1, x2, y2 = region.box_xyxy_px
    assert 0 <= x1 <= x2 <= width
    assert 0 <= y1 <= y2 <= height
    if region.kind is not RegionKind.POINT:
        assert x1 < x2
        assert y1 < y2
    if region.kind is RegionKind.BOX:
        assert region.clipped(width, height) == region


@given(sizes, sizes, coordinates, coordinates, coordinates, coordinates)
def test_a_box_is_usable_exactly_when_it_overlaps_the_image(
    width: int, height: int, x1: float, y1: float, x2: float, y2: float
) -> None:
    overlaps = (
        min(x1, x2) < width and max(x1, x2) > 0 and min(y1, y2) < height and max(y1, y2) > 0
        and x1 != x2 and y1 != y2
    )  # fmt: skip
    try:
        Region.box(x1, y1, x2, y2).clipped(width, height)
    except RegionError:
        assert not overlaps
    else:
        assert overlaps


def test_typed_regions_become_placeholders() -> None:
    text, regions = parse_typed_regions(
        "Is <box>120,80,300,400</box> on <box> 5 6 </box> or <box>0,0, 9,0, 9,9</box>?", 640, 480
    )
    assert text == "Is <region> on <region> or <region>?"
    assert regions == [
        Region.box(120, 80, 300, 400),
        Region.point(5, 6),
        Region.polygon([(0, 0), (9, 0), (9, 9)]),
    ]


def test_typed_numbers_up_to_one_are_fractions() -> None:
    _, regions = parse_typed_regions("<box>0.5,0.25,1,1</box> <box>1,2</box>", 640, 480)
    assert regions == [Region.box(320, 120, 640, 480), Region.point(1, 2)]


@pytest.mark.parametrize(
    "typed",
    ["<box></box>", "<box>1</box>", "<box>1,2,3</box>", "<box>a,b</box>", "<box>1,2", "x <box>"],
)
def test_badly_typed_regions_are_refused(typed: str) -> None:
    with pytest.raises(RegionError, match="typed region"):
        parse_typed_regions(typed, 640, 480)


def test_typed_infinity_is_refused_when_clipped() -> None:
    _, regions = parse_typed_regions("<box>1e999,3</box>", 640, 480)
    with pytest.raises(RegionError, match="finite"):
        regions[0].clipped(640, 480)


def test_a_question_without_regions_stays_as_it_is() -> None:
    assert parse_typed_regions("Is 3 < 4 this?", 9, 9) == ("Is 3 < 4 this?", [])


def test_every_error_has_a_status_of_its_own() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, ChatspotError)
        and value is not ChatspotError
        # A position that is not known is a note, not the end of a request.
        and not issubclass(value, errors.PositionError)
    ]
    statuses = {one.status for one in classes}
    # ModelLoadError is a ModelError, and NoQuestionError the base of four.
    assert len(statuses) == len(classes) - 2
    assert "OK" not in statuses


def test_an_error_reads_as_one_sentence_with_its_value_shortened() -> None:
    error = RegionError("it is wrong", value="x" * 500, remedy="mend it")
    assert str(error) == f"it is wrong (got {'x' * 117}...): mend it"
    assert error.value == "x" * 500


def stroke(*points: tuple[float, float]) -> Region:
    return Region(tuple(points), stroke=True)


@pytest.mark.parametrize(
    ("drawn", "bounds"),
    [
        (stroke((20, 50), (80, 50)), (19, 49, 81, 51)),  # straight along a handle
        (stroke((20, 20), (80, 24), (30, 60), (70, 70)), (19, 19, 81, 71)),  # scribbled over
        (stroke((50, 50), (50, 50)), (49, 49, 51, 51)),  # a dot
        (stroke((-20, 50), (130, 50)), (0, 49, 100, 51)),
        (stroke(*((50 + 40 * math.cos(k / 9), 50 + 40 * math.sin(k / 9)) for k in range(500))),
         (9, 9, 91, 91)),  # round and round
    ],
)  # fmt: skip
def test_a_stroke_becomes_the_polygon_around_it(drawn: Region, bounds: tuple[float, ...]) -> None:
    assert drawn.kind is RegionKind.STROKE
    taken = drawn.clipped(100, 100)
    assert taken.kind is RegionKind.POLYGON
    assert len(taken.points_px) <= 20
    assert taken.box_xyxy_px == pytest.approx(bounds, abs=2.5)
    assert taken.clipped(100, 100) == taken


@pytest.mark.parametrize("drawn", [
    stroke((200, 200), (300, 300)), stroke((math.nan, 3), (4, 5)), stroke((0, 0), (1e300, 5)),
])  # fmt: skip
def test_a_stroke_that_marks_nothing_is_refused(drawn: Region) -> None:
    with pytest.raises(RegionError):
        drawn.clipped(100, 100)


def test_a_stroke_of_one_point_is_a_point() -> None:
    assert stroke((3, 4)).kind is RegionKind.POINT
    assert Region(((0, 0), (3, 4)), stroke=True).clipped(10, 10).stroke is False
