"""No request holds the node: others are answered meanwhile, and it ends when it is told to."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest


def scribble(fake: Any, count: int) -> Any:
    rng = random.Random(count)
    return fake.region(*((rng.uniform(0, 64), rng.uniform(0, 48)) for _ in range(count)))


def send(world: Any, regions: list[Any]) -> Any:
    """Ask without waiting; the reply's future."""
    return world.client.call_async(world.request("what", stamp=world.stamp, regions=regions))


@pytest.fixture
def world(start_fake: Any) -> Any:
    made = start_fake()
    made.wait_for_node()
    made.stamp = made.publish_frame()
    return made


@pytest.mark.parametrize("count", [65, 300, 10_000])
def test_a_polygon_of_many_corners_is_a_bad_region(world: Any, count: int) -> None:
    reply = world.ask("what", stamp=world.stamp, regions=[scribble(world, count)])
    assert reply.name == "BAD_REGION"
    assert "max_corners" in reply.message
    assert world.ask("what", stamp=world.stamp).name == "OK"


def test_a_typed_polygon_of_many_corners_is_a_bad_region(world: Any) -> None:
    rng = random.Random(1)
    numbers = ",".join(str(rng.randrange(99)) for _ in range(660))
    reply = world.ask(f"what <box>{numbers}</box>"[:2000], stamp=world.stamp)
    assert reply.name in ("BAD_REGION", "BAD_REQUEST")
    assert "corners" in reply.message


def test_many_scribbles_together_are_a_bad_region(world: Any) -> None:
    """One of 64 corners is repaired in 9 ms; 64 of them would hold the executor for 0.6 s."""
    reply = world.ask("what", stamp=world.stamp, regions=[scribble(world, 64) for _ in range(64)])
    assert reply.name == "BAD_REGION"
    assert "max_corners" in reply.message
    assert world.ask("what", stamp=world.stamp, regions=[scribble(world, 64)]).name == "OK"
    # Outlines that do not cross themselves cost nothing.
    fan = [(8 + k, 8 + k * k / 200) for k in range(63)]
    plain = [world.region(*fan, (8, 40)) for _ in range(8)]
    assert world.ask("what", stamp=world.stamp, regions=plain).name == "OK"


def test_the_node_ends_while_a_scribble_waits(world: Any) -> None:
    send(world, [scribble(world, 300)])
    world.process.send(signal.SIGTERM)
    # Today the executor is held for half a minute and more.
    assert world.process.wait(20.0) == 0
