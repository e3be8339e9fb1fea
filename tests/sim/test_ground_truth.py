"""The truth of a kitchen against its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from chatspot_sim.kitchen import STATES, Kitchen, View, draw_kitchen
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.world import Frame, World

SIZE = (320, 240)
SEEDS = (3, 4)  # a closed fridge, a stove, bottles; an open fridge with things in it, a drawer


def quiet(seed: int, split: str = "test") -> Kitchen:
    """A kitchen without the sensor's noise and blur, so that pixels can be compared."""
    kitchen = draw_kitchen(seed, split)  # type: ignore[arg-type]
    kitchen.look.noise = kitchen.look.blur = 0.0
    return kitchen


@pytest.fixture(scope="module", params=SEEDS)
def frame(request: pytest.FixtureRequest) -> Iterator[Frame]:
    with World(quiet(request.param), *SIZE) as world:
        yield world.frame(stamp_ns=7, measure_visibility=True)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(quiet(3), *SIZE) as world:
        yield world


def mask_of(frame: Frame, thing: Thing) -> np.ndarray:
    return frame.labels == frame.truth.things.index(thing) + 1


def test_picture_is_rgb_of_the_asked_size(frame: Frame) -> None:
    width, height = SIZE
    assert frame.rgb.shape == (height, width, 3)
    assert frame.rgb.dtype == np.uint8
    assert frame.labels.shape == (height, width)
    assert (frame.truth.width, frame.truth.height, frame.truth.stamp_ns) == (width, height, 7)


def test_boxes_bound_exactly_the_labelled_pixels(frame: Frame) -> None:
    assert len(frame.truth.things) >= 5
    for thing in frame.truth.things:
        rows, columns = np.nonzero(mask_of(frame, thing))
        bounds = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert thing.box_xyxy_px == bounds, thing.id
        assert thing.pixels == len(rows), thing.id


def test_no_label_is_without_a_thing(frame: Frame) -> None:
    assert set(np.unique(frame.labels)) == set(range(len(frame.truth.things) + 1))


def test_polygons_cover_the_largest_piece(frame: Frame) -> None:
    for thing in frame.truth.things:
        mask = mask_of(frame, thing).astype(np.uint8)
        pieces, numbered, stats, _ = cv2.connectedComponentsWithStats(mask)
        largest = numbered == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
        drawn = np.zeros_like(mask)
        cv2.fillPoly(drawn, [np.array(thing.polygon_px, np.int32)], 1)
        # An outline has no holes (a mug's handle has one) and is simplified.
        assert (drawn[largest] == 1).mean() > 0.8, (thing.id, pieces)
        x1, y1, x2, y2 = thing.box_xyxy_px
        for x, y in thing.polygon_px:
            assert x1 <= x <= x2, thing.id
            assert y1 <= y <= y2, thing.id


def test_parts_lie_within_the_picture_and_have_pixels(frame: Frame) -> None:
    width, height = SIZE
    for thing in frame.truth.things:
        for part in thing.parts:
            x1, y1, x2, y2 = part.box_xyxy_px
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert 0 < part.pixels <= (x2 - x1) * (y2 - y1)


def test_colours_are_those_of_the_pixels() -> None:
    kitchen = quiet(3)  # a blue fridge
    kitchen.look.cast, kitchen.look.gamma = (1.0, 1.0, 1.0), 1.0
    with World(kitchen, *SIZE) as world:
        frame = world.frame()
    [fridge] = frame.truth.of_kind("fridge")
    red, green, blue = frame.rgb[mask_of(frame, fridge)].mean(axis=0)
    assert fridge.colour == "blue"
    assert blue > 1.8 * max(red, green)


def test_visible_fraction_falls_when_something_stands_before_it(world: World) -> None:
    """A bottle is moved between the camera and the plate: less of the plate is seen."""
    plate, bottle = world.kitchen.item("plate_1"), world.kitchen.item("bottle_1")
    before = {t.id: t.visible_fraction for t in world.frame(measure_visibility=True).truth.things}
    stood = bottle.place
    bottle.place = (plate.place[0] - 0.01, plate.place[1] - 0.14, plate.place[2])
    world.act("close", "fridge")  # puts the kitchen's data into the model
    after = {t.id: t.visible_fraction for t in world.frame(measure_visibility=True).truth.things}
    bottle.place = stood
    world.act("close", "fridge")
    assert before["plate_1"] == pytest.approx(1.0, abs=0.02)
    assert after.get("plate_1", 0.0) < 0.8
    assert after["bottle_1"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("seed", "thing", "attribute"),
    [(3, "stove_1", "burner"), (3, "fridge_1", "plug"), (4, "drawer_1", "drawer"),
     (1, "tap_1", "water"), (1, "microwave_1", "door"), (8, "mug_1", "contents")],
)  # fmt: skip
def test_a_state_changes_pixels_there_and_not_far_away(
    seed: int, thing: str, attribute: str
) -> None:
    with World(quiet(seed), *SIZE) as world:
        values = STATES[world.kitchen.item(thing).kind][attribute]
        frames = []
        for value in values:
            world.set_state(thing, attribute, value)
            frames.append(world.frame())
    boxes = [
        part.box_xyxy_px
        for frame in frames
        for seen in frame.truth.things
        if seen.id == thing
        for part in seen.parts
    ]
    assert boxes, f"{thing} is not seen"
    bounds = np.array(boxes)
    x1, y1 = bounds[:, :2].min(axis=0) - 12
    x2, y2 = bounds[:, 2:].max(axis=0) + 12
    y2 += 0.6 * (y2 - y1)  # a drawer that stands open casts its shadow down
    change = np.abs(frames[0].rgb.astype(int) - frames[1].rgb).max(axis=-1) > 25
    assert change.sum() >= 20
    near = np.zeros_like(change)
    near[max(0, int(y1)) : int(y2), max(0, int(x1)) : int(x2)] = True
    assert (change & near).sum() > 0.9 * change.sum()


def test_truth_survives_json(frame: Frame) -> None:
    assert Truth.from_json(frame.truth.to_json()) == frame.truth


def test_what_is_no_truth_is_refused() -> None:
    for text in ("", "{}", "[]", '{"width": 1, "height": 1, "things": [{}]}'):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Truth.from_json(text)


def test_the_same_seed_gives_the_same_picture_and_truth() -> None:
    frames = []
    for _ in range(2):
        with World(draw_kitchen(0, "test"), *SIZE) as world:
            frames.append(world.frame())
    np.testing.assert_array_equal(frames[0].rgb, frames[1].rgb)
    assert frames[0].truth == frames[1].truth


def test_other_seeds_and_splits_give_other_kitchens() -> None:
    drawn = {repr(draw_kitchen(seed, split).items) for seed in range(5)
             for split in ("train", "val", "test")}  # fmt: skip
    assert len(drawn) == 15


def test_only_noise_differs_between_frames_of_a_still_kitchen() -> None:
    kitchen = draw_kitchen(0, "test")
    kitchen.look.noise = 5.0
    with World(kitchen, *SIZE) as world:
        first, second = world.frame(), world.frame()
    difference = np.abs(first.rgb.astype(int) - second.rgb)
    assert difference.any()
    assert difference.mean() < 15
    assert first.truth == second.truth


def test_a_door_a_thing_and_the_lamp_move_by_as_much_as_is_said(world: World) -> None:
    door, thing = world.kitchen.item("fridge_1"), world.kitchen.item("plate_1")
    was, old = (door.opening, door.state["door"]), thing.place
    pictures = []
    for share in (0.0, 0.2, 0.9):
        world.set_opening(door.id, share, "open" if share > 0.5 else "closed")
        pictures.append(world.clean_frame().rgb.astype(int))
    assert (door.opening, door.state["door"]) == (0.9, "open")
    ajar, wide = (np.abs(one - pictures[0]).mean() for one in pictures[1:])
    assert 0 < ajar < wide
    world.move(thing.id, (old[0], old[1] - 0.05, old[2]))
    assert (world.clean_frame().rgb != pictures[-1]).any()
    world.move(thing.id, old)
    assert (world.clean_frame().rgb == pictures[-1]).all()
    world.move_light(np.array([0.3, 0.0, 0.0]))
    assert (world.clean_frame().rgb != pictures[-1]).any()
    world.move_light(np.array([-0.3, 0.0, 0.0]))
    world.set_opening(door.id, *was)


def test_moving_the_camera_moves_the_things(world: World) -> None:
    view = world.kitchen.view
    before = world.frame().truth.of_kind("stove")[0]
    x, y, z = view.target
    world.look_from(View(view.position, (x + 0.3, y, z), view.fovy_deg))
    after = world.frame().truth.of_kind("stove")[0]
    world.look_from(view)
    assert after.box_xyxy_px[0] < before.box_xyxy_px[0] - 5
    assert world.frame().truth.of_kind("stove")[0] == before


@pytest.mark.parametrize("size", [(0, 10), (10, -1)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"got {size[0]} x {size[1]}"):
        World(draw_kitchen(0, "test"), *size)
