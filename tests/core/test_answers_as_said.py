"""Places as models really write them, besides the form of their training."""

from __future__ import annotations

import time

import pytest

from chatspot_ros.core.answer_parser import Answer, read
from chatspot_ros.core.dialects import (
    DIALECTS,
    ChatSpotDialect,
    Dialect,
    Florence2Dialect,
    InternVLDialect,
    Kosmos2Dialect,
    PaliGemmaDialect,
    PixelJsonDialect,
    QwenBoxDialect,
)
from chatspot_ros.core.geometry import PictureGeometry, fit
from chatspot_ros.core.model_spec import find_spec
from chatspot_ros.core.regions import Region

# The image has 4 times the sides of the model's picture.
FIT = fit(PictureGeometry.STRETCH, (8000, 6400), (2000, 1600))
PIXEL, GRID = PixelJsonDialect(), PixelJsonDialect(grid=1000, name="grid_json")
# The box 0.1 0.2 0.5 0.6 in pixels of the image.
BOX = (800, 1280, 4000, 3840)
POINT = (800, 1280)


def answer(dialect: Dialect, text: str, task: str = "locate") -> Answer:
    return read(text, task=task, regions=(), fit=FIT, dialect=dialect, skills=(), confidence=1.0,
                truncated=False)  # fmt: skip


def found(got: Answer) -> list[tuple[str, tuple[float, ...]]]:
    return [(one.label, tuple(n for point in one.points_px for n in point)) for one in got.grounded]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("[200, 320, 1000, 960]", ""),
        ("[[200, 320, 1000, 960]]", ""),
        ("```json\n[200, 320, 1000, 960]\n```", ""),
        ('```json\n[\n  {"bbox_2d": [200, 320, 1000, 960], "label": "mug",},\n]\n```', "mug"),
        ("[{'bbox_2d': [200, 320, 1000, 960], 'label': 'mug'}]", "mug"),
        ('{"bbox": [200, 320, 1000, 960], "label": "mug"}', "mug"),
        ('{"bounding_box": [200, 320, 1000, 960], "name": "mug"}', "mug"),
        ('{"box_2d": [200.0, 320.0, 1000.0, 960.0], "label": "mug"}', "mug"),
        ('{"bbox_2d": [[200, 320, 1000, 960]], "label": "mug"}', "mug"),
        ('{label: "mug", bbox_2d: [200, 320, 1000, 960]}', "mug"),
        ('{"bbox_2d": [200, 320, 1000, 960], "label": "no. 2 (left) {blue}"}',
         "no. 2 (left) {blue}"),
        ('{"bbox_2d": [200, 320, 1000, 960], "label": "John\'s mug", "color": "red", "n": 1}',
         "John's mug"),
        ('Here it is:\n```json\n{"bbox_2d": [200, 320, 1000, 960], "label": "mug"}\n```', "mug"),
        ('[{"bbox_2d": [200, 320, 1000, 960], "label": "mug"}, {"bbox_2d": [20', "mug"),
    ],
)  # fmt: skip
def test_boxes_in_json_of_every_kind(text: str, label: str) -> None:
    got = answer(PIXEL, text)
    assert found(got) == [(label, pytest.approx(BOX))]
    assert not got.uncertain


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('<point x="200" y="320" alt="the mug">mug</point>', "mug"),
        ('<points x1="200" y1="320" alt="mug"/>', "mug"),
        ('{"point_2d": [200, 320], "label": "mug"}', "mug"),
        ("[{'point': [200, 320], 'label': 'mug'}]", "mug"),
    ],
)
def test_points(text: str, label: str) -> None:
    got = answer(PIXEL, text)
    assert found(got) == [(label, pytest.approx(POINT))]
    assert not got.uncertain


def test_several_in_one_list() -> None:
    two = "[[200, 320, 1000, 960], [0, 0, 400, 400]]"
    for text in (
        two,
        f'{{"bbox_2d": {two}, "label": ""}}',
        "[200, 320, 1000, 960], [0, 0, 400, 400]",
    ):
        got = answer(PIXEL, text)
        assert [box for _, box in found(got)] == [pytest.approx(BOX), (0, 0, 1600, 1600)]
        assert not got.uncertain


@pytest.mark.parametrize("dialect", [PIXEL, GRID])
@pytest.mark.parametrize("text", ["It says 1, 2, 3, 4.", "The code is [1, 2, 3, 4] here.", "[4]"])
def test_numbers_in_a_sentence_are_no_place(dialect: PixelJsonDialect, text: str) -> None:
    got = answer(dialect, text, "read")
    assert (got.grounded, got.uncertain) == ((), False)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        # Thousandths were meant to be said: pixels of the model's picture are found out.
        (GRID, '[{"bbox_2d": [200, 320, 1000, 960]}, {"bbox_2d": [1500, 20, 1900, 400]}]'),
        (InternVLDialect(), "<box>[[200, 320, 1000, 960], [1500, 20, 1900, 400]]</box>"),
        (QwenBoxDialect(), "<|box_start|>(200,320),(1000,960)<|box_end|>"
         "<|box_start|>(1500,20),(1900,400)<|box_end|>"),
        # Pixels of the camera's image instead of the model's picture.
        (PIXEL, '[{"bbox_2d": [800, 1280, 4000, 3840]}, {"bbox_2d": [6000, 80, 7600, 1600]}]'),
    ],
)  # fmt: skip
def test_numbers_of_another_scale_are_found_out_and_doubtful(dialect: Dialect, text: str) -> None:
    got = answer(dialect, text)
    assert [box for _, box in found(got)] == [
        pytest.approx(BOX), pytest.approx((6000, 80, 7600, 1600))
    ]  # fmt: skip
    assert got.uncertain


def test_fractions_are_found_out_and_doubtful() -> None:
    for dialect in (PIXEL, GRID):
        got = answer(dialect, '{"bbox_2d": [0.1, 0.2, 0.5, 0.6]}')
        assert found(got) == [("", pytest.approx(BOX))]
        assert got.uncertain


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (GRID, '[{"bbox_2d": [100, 200, 500, 600]}, {"bbox_2d": [0, 0, 9000, 20]}]'),
        (PIXEL, '[{"bbox_2d": [200, 320, 1000, 960]}, {"bbox_2d": [0, 0, 90000, 20]}]'),
        (InternVLDialect(), "<box>[[100, 200, 500, 600], [0, 0, 9000, 20]]</box>"),
        (InternVLDialect(), "<box>[[100, 200, 500, 600], [0, 0, 20]]</box>"),
        (QwenBoxDialect(), "<|box_start|>(100,200),(500,600)<|box_end|>"
         "<|box_start|>(0,0),(9000,20)<|box_end|>"),
    ],
)  # fmt: skip
def test_a_box_off_every_scale_is_left_out_with_doubt(dialect: Dialect, text: str) -> None:
    got = answer(dialect, text)
    assert found(got) == [("", pytest.approx(BOX))]
    assert got.uncertain


@pytest.mark.parametrize("dialect", [PIXEL, GRID])
def test_nothing_is_clamped_without_doubt(dialect: PixelJsonDialect) -> None:
    width, height = (1000, 1000) if dialect.grid else FIT.model_wh
    inside = answer(dialect, f'{{"bbox_2d": [0, 0, {width}, {height}]}}')
    assert found(inside) == [("", (0, 0, 8000, 6400))]
    assert not inside.uncertain
    for k in (1, 20, 1000):
        assert answer(dialect, f'{{"bbox_2d": [0, 0, {width + k}, {height}]}}').uncertain


@pytest.mark.parametrize(
    "text", ["[[100, 200, 500, 600]]", "<ref>mug</ref>[[100, 200, 500, 600]]"]
)  # fmt: skip
def test_internvls_boxes_without_their_tags(text: str) -> None:
    got = answer(InternVLDialect(), text)
    assert [box for _, box in found(got)] == [pytest.approx(BOX)]
    assert not got.uncertain


@pytest.mark.parametrize(
    ("dialect", "text", "words"),
    [
        (Florence2Dialect(), "mug<loc_0><loc_0><loc_499><loc_499>lid<loc_5><loc_5><loc_9><loc_9>",
         "mug, lid"),
        (Florence2Dialect(), "a red mug", "a red mug"),
        (Kosmos2Dialect(),
         "An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863>"
         "</object> warming himself by<phrase> a fire</phrase><object><patch_index_0005>"
         "<patch_index_0911></object>.", "An image of a snowman warming himself by a fire."),
        (PaliGemmaDialect(), "<loc0000><loc0000><loc0341><loc0341> mug ; "
         "<loc0341><loc0341><loc0682><loc1023> lid", "mug ; lid"),
        # An answer of places alone has no words; it is kept.
        (Kosmos2Dialect(), "<object><patch_index_0044><patch_index_0863></object>",
         "<object><patch_index_0044><patch_index_0863></object>"),
    ],
)  # fmt: skip
def test_location_tokens_are_no_words(dialect: Dialect, text: str, words: str) -> None:
    got = answer(dialect, text, "describe")
    assert got.text == words
    assert len(got.grounded) == len(dialect.find(text, FIT))


def test_llava_was_taught_boxes_only() -> None:
    dialect = find_spec("llava-1.5-7b-hf", "llava").dialect.make()
    assert isinstance(dialect, ChatSpotDialect)
    square = fit(PictureGeometry.STRETCH, (100, 100), (336, 336))
    assert dialect.say(Region.box(10, 30, 50, 76), square) == "[0.1, 0.3, 0.5, 0.76]"
    assert dialect.say(Region.box(0, 0, 100, 100), square) == "[0.0, 0.0, 1.0, 1.0]"
    assert dialect.simplifies(Region.box(1, 1, 2, 2)) == ""
    for region, said, note in (
        (Region.point(50, 50), "[0.48, 0.48, 0.52, 0.52]", "no points"),
        (Region.polygon([(10, 30), (50, 30), (50, 76)]), "[0.1, 0.3, 0.5, 0.76]", "no polygons"),
    ):
        assert dialect.say(region, square) == said
        assert note in dialect.simplifies(region)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "piece",
    [" ", "[ ", "[1, ", "{", '{"', "{'", "[[1,2],", '{"bbox_2d": [', "<point ", "<box>[[1 ",
     "<ref>", "<phrase>", "<object>", "<loc_1>", "`"],
)  # fmt: skip
def test_no_answer_takes_long_to_read(name: str, piece: str) -> None:
    text = piece * (20_000 // len(piece))
    began = time.process_time()
    for task in ("locate", "describe"):
        answer(DIALECTS[name], text, task)
    assert time.process_time() - began < 2
