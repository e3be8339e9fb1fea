"""What an operator's program reads from messages."""

from __future__ import annotations

from dataclasses import replace

from chatspot_ros.msg import RegionAnswer

from chatspot_ros.core.place import Place
from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import to_region_message
from chatspot_ros.ros.operator_messages import to_answer

BOX = Region.box(1, 2, 30, 40)


def test_a_place_in_space_comes_as_it_was_sent() -> None:
    place = Place((0.5, -0.25, 2.0), (0.5, 0.25, 0.125), 0.75, "few pixels", "optical", 7,
                  (1.0, 2.0, 3.0), "map")  # fmt: skip
    message = RegionAnswer(
        text="a mug",
        regions=[to_region_message(replace(BOX, place=place)), to_region_message(BOX)],
        grounded=[to_region_message(replace(BOX, place=Place(note="no depth")))],
    )
    answer = to_answer(message)
    assert [region.place for region in answer.regions] == [place, None]
    (grounded,) = answer.grounded
    assert grounded.place == Place(note="no depth")
