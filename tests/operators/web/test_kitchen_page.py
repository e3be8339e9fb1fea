"""The page with the bundled model and a simulated kitchen, as a person would use it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from world import World

from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.world import World as Kitchen

# Best-effort images above 500 kB are lost with the transports of the tests.
SIZE_WH = (384, 288)


@pytest.fixture(scope="module")
def seen() -> Any:
    """A picture of a kitchen that the model has not learned from, with the truth."""
    with Kitchen(draw_kitchen(0, "test"), *SIZE_WH) as kitchen:
        return kitchen.frame()


@pytest.fixture(scope="module")
def world(module_spawn: Any, module_ros_node: Any) -> World:
    process = module_spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", "--ros-args"),
        *("-p", "threads:=1", "-p", "max_image_age:=600.0"),
        ready="ready: region_query_node",
        timeout_s=120.0,
    )
    made = World(module_ros_node, process)
    made.wait_for_services()
    return made


@pytest.fixture(scope="module")
def camera(world: World, seen: Any, live_camera: Any) -> Iterator[Any]:
    made = live_camera(world, seen.rgb)
    yield made
    made.end()


def test_click_the_fridge_and_be_told_whether_it_is_open(
    person: Callable[..., Any], seen: Any
) -> None:
    (fridge,) = (thing for thing in seen.truth.things if thing.name == "fridge")
    x1, y1, x2, y2 = fridge.box_xyxy_px
    one = person().sees_a_picture()
    one.click((x1 + x2) / 2, (y1 + y2) / 2, size_wh=SIZE_WH)
    one.has_regions(1)
    one.ask("What is this?")
    card = one.reads("Answered in")
    assert card.locator(".answer-text").inner_text() == "fridge"
    one.ask("What is the state of this?")
    one.page.locator(".exchange").nth(1).wait_for()
    state = one.page.locator(".exchange").first.locator(".state tr").first
    assert state.inner_text().split() == ["door", fridge.state["door"]]
