"""Every family's way to write regions: what it writes, what it reads, and there and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.dialects import (
    DIALECTS,
    Dialect,
    Florence2Dialect,
    InternVLDialect,
    Kosmos2Dialect,
    MolmoDialect,
    PaliGemmaDialect,
    PixelJsonDialect,
    QwenBoxDialect,
    ShikraDialect,
)
from chatspot_ros.core.geometry import Fit, PictureGeometry, fit
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.errors import RegionError

GRID_JSON = PixelJsonDialect(grid=1000, name="grid_json")
BOX_2D = DIALECTS["box_2d"]
# With the greatest distance (a share of the model's picture) that a coordinate may move.
BOXES: list[tuple[Dialect, float]] = [
    (ShikraDialect(), 0.0011),
    (GRID_JSON, 0.0011),
    (BOX_2D, 0.0011),
    (QwenBoxDialect(), 0.0021),
    (InternVLDialect(), 0.0011),
    (Kosmos2Dialect(), 0.0313),
    (Florence2Dialect(), 0.0016),
    (PaliGemmaDialect(), 0.002),
]
POINTS: list[tuple[Dialect, float]] = [
    (ShikraDialect(), 0.0006),
    (GRID_JSON, 0.0006),
    (BOX_2D, 0.0006),
    (MolmoDialect(), 0.0006),
    (MolmoDialect(version=1), 0.0006),
]
EVERY = [dialect for dialect, _ in BOXES] + [MolmoDialect(), MolmoDialect(version=1)]
SQUARE = fit(PictureGeometry.STRETCH, (200, 100), (224, 224))
sides = st.integers(1, 4000)
fractions = st.floats(0, 1)
fits = st.builds(
    lambda mode, w, h: fit(mode, (w, h), (336, 336)),
    st.sampled_from(list(PictureGeometry)),
    sides,
    sides,
)


def by_name(dialect: object) -> str:
    return getattr(dialect, "name", "")


@settings(deadline=None)
@given(st.sampled_from(BOXES), fits, fractions, fractions, fractions, fractions)
def test_box_to_text_to_box(
    case: tuple[Dialect, float], laid: Fit, fx1: float, fy1: float, fx2: float, fy2: float
) -> None:
    dialect, step = case
    w, h = laid.image_wh
    try:
        region = Region.box(fx1 * w, fy1 * h, fx2 * w, fy2 * h).clipped(w, h)
    except RegionError:
        return
    (found,) = dialect.find(f"the mug {dialect.say(region, laid)} here", laid)
    assert found.region_px.kind is RegionKind.BOX
    assert dialect.simplifies(region) == ""
    for (x, y), (bx, by) in zip(
        laid.to_unit(region.points_px), laid.to_unit(found.region_px.points_px), strict=True
    ):
        assert abs(x - bx) <= step
        assert abs(y - by) <= step


@settings(deadline=None)
@given(st.sampled_from(POINTS), fits, fractions, fractions)
def test_point_to_text_to_point(
    case: tuple[Dialect, float], laid: Fit, fx: float, fy: float
) -> None:
    dialect, step = case
    w, h = laid.image_wh
    region = Region.point(fx * w, fy * h)
    (found,) = dialect.find(dialect.say(region, laid), laid)
    ((ux, uy),) = laid.to_unit(region.points_px)
    ((vx, vy),) = laid.to_unit(found.region_px.points_px)
    assert abs(ux - vx) <= step
    assert abs(uy - vy) <= step
    assert dialect.simplifies(region) == ""


@settings(deadline=None)
@given(st.sampled_from(BOXES[3:]), sides, sides, fractions, fractions)
def test_where_there_are_no_points_a_box_around_it_stands_for_it(
    case: tuple[Dialect, float], w: int, h: int, fx: float, fy: float
) -> None:
    dialect, step = case
    laid = fit(PictureGeometry.STRETCH, (w, h), (336, 336))
    point = Region.point(fx * w, fy * h)
    assert "no points" in dialect.simplifies(point)
    (found,) = dialect.find(dialect.say(point, laid), laid)
    (x1, y1), (x2, y2) = laid.to_unit(found.region_px.points_px)
    assert x1 - step <= fx <= x2 + step
    assert y1 - step <= fy <= y2 + step
    assert max(x2 - x1, y2 - y1) <= 0.05 + 2 * step


@pytest.mark.parametrize("dialect", EVERY, ids=by_name)
def test_what_a_polygon_becomes_is_said(dialect: Dialect) -> None:
    corners = [(20, 10), (120, 20), (90, 80), (30, 60)]
    polygon = Region.polygon(corners)
    assert dialect.simplifies(polygon)
    turned = Region.polygon(corners[2:] + corners[:2])
    assert dialect.say(polygon, SQUARE) == dialect.say(turned, SQUARE)
    if isinstance(dialect, MolmoDialect):
        (found,) = dialect.find(dialect.say(polygon, SQUARE), SQUARE)
        assert found.region_px.points_px[0] == pytest.approx((70, 45), abs=0.2)
    else:
        assert dialect.say(polygon, SQUARE) == dialect.say(Region.box(20, 10, 120, 80), SQUARE)


@pytest.mark.parametrize("dialect", EVERY, ids=by_name)
def test_the_whole_image_is_no_text(dialect: Dialect) -> None:
    assert dialect.say(Region.image(), SQUARE) == ""
    assert dialect.simplifies(Region.image()) == ""
    assert dialect.find("nothing to see [here]", SQUARE) == []
    assert not dialect.mentions("nothing to see here")


BOX = Region.box(20.02, 25.02, 100.02, 75.02)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (ShikraDialect(), "[0.100,0.250,0.500,0.750]"),
        (GRID_JSON, '{"bbox_2d": [100, 250, 500, 750]}'),
        (BOX_2D, '{"box_2d": [250, 100, 750, 500]}'),
        (QwenBoxDialect(), "<|box_start|>(100,250),(500,750)<|box_end|>"),
        (InternVLDialect(), "<box>[[100, 250, 500, 750]]</box>"),
        # x 3.2 and 16.003 of 32 cells, y 8.006 and 24.006.
        (
            Kosmos2Dialect(),
            "<phrase> It</phrase><object><patch_index_0259><patch_index_0784></object>",
        ),
        (Florence2Dialect(), "<loc_100><loc_250><loc_500><loc_750>"),
        # The nearest of 1023 steps, as round(v * 1023): y .2502 and .7502, x .1001 and .5001.
        (PaliGemmaDialect(), "<loc0256><loc0102><loc0767><loc0512>"),
        (MolmoDialect(), '<points coords="1 1 300 500">this</points>'),
        (MolmoDialect(version=1), '<point x="30.0" y="50.0" alt="this">this</point>'),
    ],
    ids=by_name,
)
def test_what_each_writes(dialect: Dialect, text: str) -> None:
    assert dialect.say(BOX, SQUARE) == text
    assert dialect.mentions(text)


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (ShikraDialect(), "the mugs [0.1,0.2,0.3,0.4;0.5,0.5,0.6,0.7] and a lid [0.5,0.5]",
         [("the mugs", (20, 20, 60, 40)), ("the mugs", (100, 50, 120, 70)),
          ("and a lid", (100, 50, 100, 50))]),
        (GRID_JSON, '```json\n[{"bbox_2d": [0, 0, 500, 1024], "label": "mug"}]\n```',
         [("mug", (0, 0, 100, 100))]),
        (BOX_2D, '```json\n[\n  {"box_2d": [0, 100, 500, 1000], "label": "mug"},\n'
         '  {"point": [500, 250], "label": "handle"}\n]\n```',
         [("mug", (20, 0, 200, 50)), ("handle", (50, 50, 50, 50))]),
        (QwenBoxDialect(),
         "<|object_ref_start|>the mug<|object_ref_end|><|box_start|>(0,0),(500,500)<|box_end|>"
         "<|box_start|>(500,500),(600,700)<|box_end|>.",
         [("the mug", (0, 0, 100, 50)), ("the mug", (100, 50, 120, 70))]),
        (InternVLDialect(), "<ref>mugs</ref><box>[[0, 0, 500, 500], [500, 500, 600, 700]]</box>",
         [("mugs", (0, 0, 100, 50)), ("mugs", (100, 50, 120, 70))]),
        (Kosmos2Dialect(),
         "An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863>"
         "</delimiter_of_multi_objects/><patch_index_0005><patch_index_0911></object>.",
         [("a snowman", (78.125, 4.6875, 196.875, 82.8125)),
          ("a snowman", (34.375, 1.5625, 96.875, 89.0625))]),
        (Florence2Dialect(), "mug<loc_0><loc_0><loc_499><loc_499>lid<loc_5><loc_5><loc_5><loc_9>",
         [("mug", (0.1, 0.05, 99.9, 49.95)), ("lid", (1.0, 0.55, 1.2, 0.95))]),
        (PaliGemmaDialect(), "<loc0000><loc0000><loc0341><loc0341> mug ; "
         "<loc0341><loc0341><loc0682><loc1023> lid",
         [("mug", (0, 0, 200 / 3, 100 / 3)), ("lid", (200 / 3, 100 / 3, 200, 200 / 3))]),
        (MolmoDialect(), '<points coords="1 1 105 205 2 300 400" alt="mugs">the mugs</points>',
         [("the mugs", (21, 20.5, 21, 20.5)), ("the mugs", (60, 40, 60, 40))]),
        (MolmoDialect(version=1),
         '<points x1="10.5" y1="20.5" x2="30.0" y2="40.0" alt="mugs">mugs</points>',
         [("mugs", (21, 20.5, 21, 20.5)), ("mugs", (60, 40, 60, 40))]),
    ],
    ids=by_name,
)  # fmt: skip
def test_what_each_reads(
    dialect: Dialect, text: str, expected: list[tuple[str, tuple[float, ...]]]
) -> None:
    found = dialect.find(text, SQUARE)
    assert [one.phrase for one in found] == [phrase for phrase, _ in expected]
    for one, (_, box) in zip(found, expected, strict=True):
        points = one.region_px.points_px
        assert (*points[0], *points[-1]) == pytest.approx(box)
        assert text[one.start : one.end]
    assert dialect.mentions(text)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (ShikraDialect(), "[0.1,0.2,0.3]"),
        (ShikraDialect(), "[0.1,0.2,0.3,1.4]"),
        (ShikraDialect(), "[0.1,0.1,0.2,0.2,0.3,0.1]"),
        (QwenBoxDialect(), "<|box_start|>(1,2),(3,1004)<|box_end|>"),
        (QwenBoxDialect(), "<|box_start|>(1,2)<|box_end|>"),
        (QwenBoxDialect(), "<|box_start|>(1,2),(3,4)"),
        (InternVLDialect(), "<box>[[1, 2, 3]]</box>"),
        (InternVLDialect(), "<box>[[1, 2, 3, 1001]]</box>"),
        (InternVLDialect(), "<box>[]</box>"),
        (InternVLDialect(), "<box>[[5, 5, 5, 5]]</box>"),
        (Kosmos2Dialect(), "<object><patch_index_0001></object>"),
        (Kosmos2Dialect(), "<object><patch_index_0001><patch_index_1024></object>"),
        (Kosmos2Dialect(), "<object></object>"),
        (Florence2Dialect(), "<loc_1><loc_2><loc_3>"),
        (Florence2Dialect(), "<loc_1><loc_2><loc_3><loc_4><loc_5>"),
        (PaliGemmaDialect(), "<loc0001><loc0002><loc0003> mug"),
        (PaliGemmaDialect(), "<loc0001><loc0002><loc0003><loc1024> mug"),
        (MolmoDialect(), '<points coords="1 1 300">mug</points>'),
        (MolmoDialect(), '<points coords="1 1 300 1400">mug</points>'),
        (MolmoDialect(), '<points coords="">mug</points>'),
        (MolmoDialect(), '<points coords="1 1 3.0.0 400">mug</points>'),
        (MolmoDialect(), '<point x="130.0" y="2.0">mug</point>'),
    ],
    ids=by_name,
)
def test_malformed_text_says_no_region(dialect: Dialect, text: str) -> None:
    assert dialect.find(text, SQUARE) == []
    assert dialect.mentions(text) or isinstance(dialect, ShikraDialect)


@pytest.mark.parametrize("dialect", EVERY, ids=by_name)
def test_nothing_that_a_region_is_said_with_can_be_typed(dialect: Dialect) -> None:
    """Tags and places are control strings, so that a question cannot hold a region of its own."""
    from chatspot_ros.core.prompts import neutralise

    typed = dialect.say(BOX, SQUARE)
    if dialect.control_strings:
        assert dialect.find(neutralise(typed, dialect.control_strings), SQUARE) == []
