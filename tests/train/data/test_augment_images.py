"""A region shows the same thing after its picture was cropped, turned, flipped or recoloured."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_train.data.augment_images import MAX_DEGREES, crop, flip, rotate, vary_picture
from chatspot_train.data.records import Record, RecordError, RecordTurn, check

GREY, RED = (90, 90, 90), (230, 20, 30)


def ask(region: Region) -> RecordTurn:
    return RecordTurn("What is <region>?", "a painted thing", (region,))


def record(size: tuple[int, int], *turns: RecordTurn) -> Record:
    return Record("made", "1", "1.png", *size, turns)


def painted(size: tuple[int, int], region: Region) -> RgbImage:
    rgb = np.full((size[1], size[0], 3), GREY, np.uint8)
    cv2.fillPoly(rgb, [np.array(outline(region), np.int32)], RED)
    return rgb


def outline(region: Region) -> list[tuple[float, float]]:
    if region.kind is not RegionKind.BOX:
        return list(region.points_px)
    (x1, y1), (x2, y2) = region.points_px
    return [(x1, y1), (x2 - 1, y1), (x2 - 1, y2 - 1), (x1, y2 - 1)]


def overlap(rgb: RgbImage, region: Region) -> float:
    """IoU of the region with the painted pixels."""
    redness = rgb[..., 0].astype(int) - rgb[..., 1]
    red = redness > 0.6 * redness.max()
    covered = np.zeros(red.shape, np.uint8)
    cv2.fillPoly(covered, [np.round(outline(region)).astype(np.int32)], (1,))
    return float((red & (covered > 0)).sum() / (red | (covered > 0)).sum())


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, int], Region]:
    """(width, height) of a wide, tall or square picture and a box in it, at whole pixels.

    The box is not so large that the mean colour, which fills borders, looks like it.
    """
    width, height = draw(st.integers(90, 240)), draw(st.integers(90, 240))
    w, h = draw(st.integers(28, width * 2 // 3)), draw(st.integers(28, height * 2 // 3))
    x, y = draw(st.integers(0, width - w)), draw(st.integers(0, height - h))
    return (width, height), Region.box(x, y, x + w, y + h)


@settings(max_examples=150, deadline=None)
@given(boxes(), st.integers(0, 2**32 - 1))
def test_the_region_covers_the_same_thing(case: tuple[tuple[int, int], Region], seed: int) -> None:
    size, box = case
    rgb, varied = vary_picture(
        painted(size, box), record(size, ask(box)), np.random.default_rng(seed)
    )
    check(varied)
    assert rgb.shape == (varied.height, varied.width, 3)
    (region,) = varied.turns[0].regions
    assert region == region.clipped(varied.width, varied.height)
    assert overlap(rgb, region) >= 0.8


@settings(max_examples=60, deadline=None)
@given(boxes(), st.floats(-MAX_DEGREES, MAX_DEGREES))
def test_rotation_keeps_everything_in_the_picture(
    case: tuple[tuple[int, int], Region], degrees: float
) -> None:
    size, box = case
    x1, y1, x2, y2 = box.box_xyxy_px
    triangle = Region.polygon([(x1, y1), (x2, y2), (x1, y2)])
    whole = Region.box(0, 0, *size)
    turned = rotate(
        painted(size, triangle), record(size, ask(triangle), ask(whole), ask(Region())), degrees
    )
    assert turned is not None
    rgb, varied = turned
    assert rgb.shape == (size[1], size[0], 3)
    check(varied)
    assert overlap(rgb, varied.turns[0].regions[0]) >= 0.8
    assert varied.turns[2] == ask(Region())


def test_rotation_follows_the_picture_to_the_pixel() -> None:
    rgb = np.full((400, 600, 3), 200, np.uint8)
    cv2.circle(rgb, (520, 80), 3, (0, 0, 0), -1)
    turned = rotate(rgb, record((600, 400), ask(Region.point(520.5, 80.5))), 5.0)
    assert turned is not None
    dark = 200.0 - turned[0][..., 0]
    rows, columns = np.indices(dark.shape) + 0.5
    ((x, y),) = turned[1].turns[0].regions[0].points_px
    assert (dark * columns).sum() / dark.sum() == pytest.approx(x, abs=0.03)
    assert (dark * rows).sum() / dark.sum() == pytest.approx(y, abs=0.03)
    # Clockwise as seen: what is on the upper right goes down.
    assert y > 80.5


def test_a_turned_box_is_a_box_only_while_that_is_tight() -> None:
    size = (400, 400)
    square, bar = Region.box(150, 150, 250, 250), Region.box(20, 190, 380, 210)
    rgb = painted(size, square)
    turned = rotate(rgb, record(size, ask(square), ask(bar)), 4.0)
    assert turned is not None
    kinds = [turn.regions[0].kind for turn in turned[1].turns]
    assert kinds == [RegionKind.BOX, RegionKind.POLYGON]
    # An answer has to be a box.
    tight = RecordTurn("Where is it?", "<region>", (), "locate", (square,))
    assert rotate(rgb, record(size, tight), 4.0) is not None
    assert rotate(rgb, record(size, replace(tight, answer_regions=(bar,))), 4.0) is None


@settings(max_examples=60, deadline=None)
@given(boxes())
def test_flipped_twice_is_as_before(case: tuple[tuple[int, int], Region]) -> None:
    size, box = case
    x1, y1, _, y2 = box.box_xyxy_px
    turns = (
        RecordTurn("Is <region> left of <region>?", "No, to the right.", (box, Region())),
        RecordTurn("Where is the leftmost thing?", "<region>", (), "locate", (box,)),
        ask(Region.polygon([(x1, y1), (x1 + 9, y1), (x1, y2)])),
        ask(Region.point(x1, y2)),
    )
    before = painted(size, box), record(size, *turns)
    once = flip(*before)
    check(once[1])
    assert overlap(once[0], once[1].turns[0].regions[0]) == 1.0
    assert once[1].turns[0].question == "Is <region> right of <region>?"
    assert once[1].turns[0].answer == "No, to the left."
    assert once[1].turns[1].question == "Where is the rightmost thing?"
    rgb, again = flip(*once)
    assert again == before[1]
    np.testing.assert_array_equal(rgb, before[0])


@pytest.mark.parametrize(
    "turn",
    [
        RecordTurn("What does <region> say?", "EXIT", (Region.box(1, 1, 50, 50),)),
        RecordTurn("What is <region>?", "7", (Region.box(1, 1, 50, 50),), "read"),
        RecordTurn("What is <region>?", 'a sign with "left"', (Region.box(1, 1, 50, 50),)),
        RecordTurn("What is <region> doing?", "He has left the room", (Region(),)),
        RecordTurn("What is <region> doing?", "It is right behind him", (Region(),)),
        RecordTurn("How?", "turn_left; grasp handle", (), "plan"),
    ],
)
def test_no_mirror_where_text_is_read_or_sides_are_unclear(turn: RecordTurn) -> None:
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[:, :10] = 200
    with pytest.raises(RecordError, match="made/1 cannot be mirrored"):
        flip(rgb, record((80, 60), turn))
    for seed in range(20):
        varied, _ = vary_picture(rgb, record((80, 60), turn), np.random.default_rng(seed))
        quarter = varied.shape[1] // 4
        assert varied[:, :quarter].mean() >= varied[:, -quarter:].mean()


def test_no_mirror_for_pictures_tagged_as_text() -> None:
    tagged = replace(record((80, 60), ask(Region.box(1, 1, 9, 9))), tags=("region level", "text"))
    with pytest.raises(RecordError):
        flip(np.zeros((60, 80, 3), np.uint8), tagged)


def test_a_crop_clips_regions_and_drops_what_it_makes_wrong() -> None:
    size = (200, 100)
    inside, most, little = (
        Region.box(60, 20, 90, 50), Region.box(30, 20, 90, 50), Region.box(0, 0, 70, 90)
    )  # fmt: skip
    turns = (
        ask(inside), ask(most),
        RecordTurn("What is written in <region>?", "STOP", (most,)),
        ask(little), RecordTurn("And what is this one? <region>", "a mug", (inside,)),
        RecordTurn("How many mugs are like <region>?", "3", (inside,)),
        ask(Region.point(100, 40)), ask(inside), ask(inside), ask(inside),
    )  # fmt: skip
    cut = crop(painted(size, inside), record(size, *turns), (50, 10, 150, 90))
    assert cut is not None
    rgb, cropped = cut
    assert rgb.shape == (80, 100, 3)
    assert (cropped.width, cropped.height) == (100, 80)
    assert [turn.regions[0] for turn in cropped.turns] == [
        Region.box(10, 10, 40, 40), Region.box(0, 10, 40, 40), Region.point(50, 30),
        *[Region.box(10, 10, 40, 40)] * 3,
    ]  # fmt: skip
    assert {turn.question for turn in cropped.turns} == {"What is <region>?"}


@pytest.mark.parametrize(
    "turn",
    [
        RecordTurn("Describe the picture.", "a kitchen", (), "describe"),
        RecordTurn("Where is the cup?", "There is none.", (), "locate"),
        RecordTurn("What is this?", "a kitchen", (Region(),)),
        RecordTurn("What is <region>?", "the mug in the upper corner", (Region.box(9, 9, 60, 60),)),
        RecordTurn("Open the fridge <region>", "open door", (Region.box(9, 9, 60, 60),), "plan"),
    ],
)
def test_a_picture_asked_about_as_a_whole_stays_whole(turn: RecordTurn) -> None:
    rgb = np.zeros((100, 100, 3), np.uint8)
    assert crop(rgb, record((100, 100), turn), (5, 5, 95, 95)) is None
    for seed in range(20):
        varied, _ = vary_picture(rgb, record((100, 100), turn), np.random.default_rng(seed))
        assert varied.shape == rgb.shape


def test_every_change_is_drawn_and_draws_are_repeatable() -> None:
    size, box = (160, 120), Region.box(100, 30, 150, 80)
    rgb, one = painted(size, box), record(size, ask(box))
    kept, shapes, sides, shades = rgb.copy(), set(), set(), set()
    for seed in range(60):
        picture, varied = vary_picture(rgb, one, np.random.default_rng(seed))
        again = vary_picture(rgb, one, np.random.default_rng(seed))
        np.testing.assert_array_equal(picture, again[0])
        assert varied == again[1]
        x1, _, x2, _ = varied.turns[0].regions[0].box_xyxy_px
        shapes.add(picture.shape)
        sides.add((x1 + x2) / 2 > varied.width / 2)
        shades.add(int(picture.max()))
    np.testing.assert_array_equal(rgb, kept)
    assert len(shapes) > 10
    assert len(shades) > 5
    assert sides == {True, False}


def test_wrong_sizes_and_windows_are_named() -> None:
    one = record((80, 60), ask(Region.box(1, 1, 9, 9)))
    with pytest.raises(RecordError, match="60 x 80 pixels, the record says 80 x 60"):
        vary_picture(np.zeros((80, 60, 3), np.uint8), one, np.random.default_rng(0))
    with pytest.raises(RecordError, match=r"window \(0, 0, 90, 60\) is not inside"):
        crop(np.zeros((60, 80, 3), np.uint8), one, (0, 0, 90, 60))
