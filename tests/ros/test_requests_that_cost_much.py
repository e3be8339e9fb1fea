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


def test_detections_of_many_are_tidied_off_the_executor(world: Any) -> None:
    """64 regions of 64 corners each are allowed; sessions are still listed meanwhile."""
    regions = [scribble(world, 64) for _ in range(64)]
    asked = [send(world, regions) for _ in range(3)]
    assert world.ask("what", stamp=world.stamp).name in ("OK", "BUSY")
    ends = {world.names[world.finish(future).status] for future in asked}
    assert ends <= {"OK", "BUSY", "TIMEOUT"}


def test_the_node_ends_while_a_scribble_waits(world: Any) -> None:
    send(world, [scribble(world, 300)])
    world.process.send(signal.SIGTERM)
    # Today the executor is held for half a minute and more.
    assert world.process.wait(20.0) == 0
