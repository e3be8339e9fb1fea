"""Parts of rendered pictures: their truth is what a camera with that view would have told."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chatspot_ros.core.boxes import iou
from chatspot_sim.dataset import RenderedKitchens
from chatspot_sim.truth import Part, Thing, Truth, mask_box
from chatspot_train.tiny.config import TinySettings
from chatspot_train.tiny.crops import MIN_WINDOW, crop_kitchen, crop_window

SIDE = 100


def mug(**changes: object) -> Thing:
    """A mug in the columns 40 to 60 and rows 20 to 40 of 100."""
    fields = {
        "id": "mug_1", "name": "mug", "colour": "red", "box_xyxy_px": (80.0, 20.0, 120.0, 40.0),
        "polygon_px": ((80.0, 20.0), (120.0, 20.0), (120.0, 40.0), (80.0, 40.0)),
        "pixels": 800, "state": {"contents": "full"}, "text": "TEA", "visible_fraction": 0.8,
        "parts": (Part("inside", (80, 20, 100, 30), 200), Part("label", (110, 30, 120, 40), 100)),
    }  # fmt: skip
    return Thing(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def picture() -> tuple[NDArray[np.uint8], NDArray[np.uint8], Truth]:
    rgb = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:10, :10] = 1
    labels[20:40, 40:60] = 2
    corner = Thing("plate_1", "plate", "", (0, 0, 20, 10), ((0, 0), (20, 0), (20, 10)), 200)
    return rgb, labels, Truth(200, 100, (corner, mug()))


def test_the_whole_picture_stays_as_it_is(
    picture: tuple[NDArray[np.uint8], NDArray[np.uint8], Truth],
) -> None:
    rgb, labels, truth = crop_kitchen(*picture, crop_window(3, 0))
    assert np.array_equal(rgb, picture[0])
    assert np.array_equal(labels, picture[1])
    assert truth == picture[2]


def test_what_lies_inside_moves_with_the_window_and_what_lies_outside_goes(
    picture: tuple[NDArray[np.uint8], NDArray[np.uint8], Truth],
) -> None:
    rgb, labels, truth = crop_kitchen(*picture, (0.2, 0.1, 1.0, 0.9))
    assert rgb.shape == (80, 80, 3)
    assert (truth.width, truth.height) == (200, 100)
    [thing] = truth.things
    assert set(np.unique(labels)) == {0, 1}
    assert thing.box_xyxy_px == pytest.approx((50, 12.5, 100, 37.5))
    x1, y1, x2, y2 = mask_box(labels == 1)
    assert thing.box_xyxy_px == pytest.approx((x1 * 2.5, y1 * 1.25, x2 * 2.5, y2 * 1.25))
    assert thing.polygon_px[2] == pytest.approx((100, 37.5))
    assert thing.pixels == 1250
    assert (thing.visible_fraction, thing.text, thing.state) == (0.8, "TEA", {"contents": "full"})


def test_a_cut_thing_says_less(
    picture: tuple[NDArray[np.uint8], NDArray[np.uint8], Truth],
) -> None:
    _, _, truth = crop_kitchen(*picture, (0.52, 0.0, 1.0, 1.0))
    [thing] = truth.things
    assert thing.visible_fraction == 0.8, "what the edge cuts off is not hidden by anything"
    assert thing.box_xyxy_px == pytest.approx((0, 20, 8 / 48 * 200, 40))
    # Nothing is left that shows whether it is full; its label is.
    assert thing.state == {}
    assert thing.text == "TEA"
    _, _, truth = crop_kitchen(*picture, (0.0, 0.0, 0.58, 1.0))
    [_, thing] = truth.things
    assert thing.state == {"contents": "full"}
    assert thing.text == "", "print that is cut cannot be read"


def test_versions_differ_and_are_drawn_the_same_again() -> None:
    windows = [crop_window(k, v) for k in range(20) for v in (1, 2)]
    assert len(set(windows)) == 40
    assert windows == [crop_window(k, v) for k in range(20) for v in (1, 2)]
    assert all(x1 >= 0 and x2 <= 1 and x2 - x1 >= MIN_WINDOW for x1, _, x2, _ in windows)


def test_boxes_of_rendered_kitchens_fit_what_the_labels_show(settings: TinySettings) -> None:
    kitchens = RenderedKitchens(Path(settings.data.folder) / "train")
    for k in range(len(kitchens)):
        labels = kitchens.labels(k)
        _, part, truth = crop_kitchen(kitchens.rgb(k), labels, kitchens.truth(k), crop_window(k, 1))
        assert set(np.unique(part)) <= set(range(len(truth.things) + 1))
        for number, thing in enumerate(truth.things, start=1):
            scale = np.array([truth.width / part.shape[1], truth.height / part.shape[0]] * 2)
            mask = part == number
            if mask.sum() > 20:
                x1, y1, x2, y2 = (float(v) for v in np.array(mask_box(mask)) * scale)
                assert iou((x1, y1, x2, y2), thing.box_xyxy_px) > 0.6
