"""Boxes: conversions there and back, and overlaps by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros.core.boxes import iou, ious, xywh_to_xyxy, xyxy_to_xywh

SIDES = st.integers(0, 60)
BOXES = st.tuples(SIDES, SIDES, SIDES, SIDES).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


def test_a_box_by_its_corners_and_by_its_size() -> None:
    assert xyxy_to_xywh((10, 20, 40, 25)) == (10, 20, 30, 5)
    assert xywh_to_xyxy((10, 20, 30, 5)) == (10, 20, 40, 25)


@given(BOXES)
def test_there_and_back(box: tuple[float, float, float, float]) -> None:
    assert xywh_to_xyxy(xyxy_to_xywh(box)) == box


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 1 / 3),
        ((2, 2, 4, 4), 0.04),
        ((10, 0, 20, 10), 0.0),
        ((30, 30, 40, 40), 0.0),
        ((5, 5, 5, 5), 0.0),
    ],
)
def test_an_overlap_by_hand(other: tuple[float, float, float, float], overlap: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(overlap)
    assert iou(other, (0, 0, 10, 10)) == pytest.approx(overlap)


@given(st.lists(BOXES, max_size=4), st.lists(BOXES, max_size=4))
def test_many_overlaps_are_those_of_each_pair(
    a: list[tuple[float, float, float, float]], b: list[tuple[float, float, float, float]]
) -> None:
    expected = np.array([[iou(one, other) for other in b] for one in a]).reshape(len(a), len(b))
    np.testing.assert_array_equal(ious(a, b), expected)
