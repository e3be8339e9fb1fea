"""Outlines of what an answer points at, by a promptable segmenter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.regions import MAX_CORNERS, Region, RegionKind
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.engine.segmenter import Segmenter, outline_of
from chatspot_ros.errors import ImageError, ModelLoadError
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.world import World
from tests.support import tiny_sam

BOX = (20.0, 10.0, 60.0, 50.0)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter.load(str(tiny_sam.save(tmp_path_factory.mktemp("sam"))))


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def disc(holes: bool = False) -> np.ndarray:
    y, x = np.mgrid[:90, :120]
    mask = (x - 40) ** 2 + (y - 30) ** 2 <= 20**2
    if holes:
        mask &= np.random.default_rng(1).random(mask.shape) > 0.1
        mask |= (x > 100) & (y > 80)
    return mask


@pytest.mark.parametrize("holes", [False, True])
def test_the_outline_is_that_of_the_largest_part(holes: bool) -> None:
    import shapely

    corners = outline_of(disc(holes), BOX)
    outline = shapely.Polygon(corners)
    true = shapely.Point(40.5, 30.5).buffer(20)
    assert 8 <= len(corners) <= MAX_CORNERS
    assert outline.intersection(true).area / outline.union(true).area > 0.9


def test_a_ragged_mask_has_no_more_corners_than_a_region_may_have() -> None:
    mask = np.zeros((400, 400), bool)
    mask[100:300, 100:300] = True
    mask[100:140:2, 100:300:2] = False
    mask[100:300:2, 100:140:2] = False
    corners = outline_of(mask, (100.0, 100.0, 300.0, 300.0))
    assert 3 <= len(corners) <= MAX_CORNERS


@pytest.mark.parametrize("box", [(70.0, 50.0, 119.0, 89.0), (30.0, 20.0, 40.0, 30.0)])
def test_a_mask_of_another_thing_gives_no_outline(box: Any) -> None:
    assert outline_of(disc(), box) == ()


@pytest.mark.parametrize("pixels", [[], [(5, 5)], [(5, 5), (5, 6), (5, 7)]])
def test_what_has_no_area_gives_no_outline(pixels: list[tuple[int, int]]) -> None:
    mask = np.zeros((90, 120), bool)
    for y, x in pixels:
        mask[y, x] = True
    assert outline_of(mask, (5.0, 5.0, 8.0, 6.0)) == ()


def test_masks_have_the_size_of_the_picture(segmenter: Segmenter) -> None:
    masks = segmenter.masks(picture(), [BOX, (60.0, 40.0, 110.0, 85.0)])
    assert (masks.shape, masks.dtype) == ((2, 90, 120), bool)
    assert (masks == segmenter.masks(picture(), [BOX, (60.0, 40.0, 110.0, 85.0)])).all()


def test_only_boxes_become_outlines(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "masks", lambda image_rgb, boxes: np.stack([disc()] * 2))
    point = Region.point(3, 3)
    fits = Region(Region.box(*BOX).points_px, id="a", label="the mug")
    other = Region.box(70, 50, 110, 85)
    first, second, third = segmenter.outline(picture(), [point, fits, other])
    assert (first, third) == (point, other)
    assert (second.kind, second.id, second.label) == (RegionKind.POLYGON, "a", "the mug")
    assert segmenter.outline(picture(), [point]) == [point]


def test_a_new_picture_is_seen_anew(segmenter: Segmenter) -> None:
    one, other = picture(), 255 - picture()
    box = [BOX]
    raw = [segmenter.logits(each, box) for each in (one, other, one)]
    assert np.array_equal(raw[0], raw[2])
    assert not np.array_equal(raw[0], raw[1])


@pytest.mark.parametrize("model", ["models/chatspot-tiny", "/nowhere/sam"])
def test_what_is_no_segmenter_is_refused_by_name(model: str) -> None:
    with pytest.raises(ModelLoadError) as refused:
        Segmenter.load(model)
    assert model in str(refused.value)


def test_what_is_no_picture_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ImageError):
        segmenter.masks(np.zeros((4, 4), np.uint8), [BOX])


@pytest.fixture(scope="module")
def with_segmenter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny_sam.save(tmp_path_factory.mktemp("sam-beside"))
    return load_engine(
        EngineConfig(model="chatspot-tiny", segmenter=str(folder), warm_up=False, threads=1)
    )


def test_what_a_model_points_at_is_outlined(
    with_segmenter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def triangles(image_rgb: np.ndarray, boxes: Any) -> np.ndarray:
        """The lower left half of each box."""
        asked.extend(boxes)
        y, x = np.mgrid[: image_rgb.shape[0], : image_rgb.shape[1]]
        return np.stack(
            [
                (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
                & ((x - x1) * (y2 - y1) <= (y - y1) * (x2 - x1))
                for x1, y1, x2, y2 in boxes
            ]
        )  # fmt: skip

    engine = with_segmenter
    monkeypatch.setattr(engine.segmenter, "masks", triangles)
    with World(draw_kitchen(85, "test")) as world:
        scene = engine.prepare(world.frame().rgb)
    question = Question("Where is the fridge?", task="locate")
    reply = engine.answer(scene, question)
    assert reply.answer.grounded
    kept, engine.segmenter = engine.segmenter, None
    try:
        boxes = engine.answer(scene, question).answer.grounded
    finally:
        engine.segmenter = kept
    assert asked == [box.box_xyxy_px for box in boxes]
    for outline, box in zip(reply.answer.grounded, boxes, strict=True):
        assert (outline.kind, outline.label) == (RegionKind.POLYGON, box.label)
        assert outline.box_xyxy_px == pytest.approx(box.box_xyxy_px, abs=1.5)
