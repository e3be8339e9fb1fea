"""The demo's judging of what a detector found: by the thing that stands there."""

import pytest

from chatspot_sim.demo_kitchen import thing_there
from chatspot_sim.truth import Box, Thing, Truth

MUG, PLATE = (
    Thing(f"{name}_1", name, "", box, (), 100)
    for name, box in (("mug", (10.0, 10.0, 30.0, 50.0)), ("plate", (10.0, 40.0, 60.0, 60.0)))
)


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ((10, 12, 31, 50), "mug"),
        ((12, 38, 60, 60), "plate"),
        ((10, 10, 60, 60), ""),  # both, and neither by half
        ((70, 70, 90, 90), ""),
    ],
)
def test_a_detection_is_of_the_thing_it_overlaps_most(box: Box, name: str) -> None:
    assert thing_there(box, Truth(100, 100, (MUG, PLATE))) == name


def test_where_nothing_is_a_detection_is_of_nothing() -> None:
    assert thing_there((0, 0, 10, 10), Truth(100, 100, ())) == ""
