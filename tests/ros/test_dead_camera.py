"""A camera that has stopped is not answered from, whatever its stamps and the clock say."""

from __future__ import annotations

from typing import Any

import pytest

AHEAD_S = {"an hour": 3600, "a day": 86_400, "a clock at its end": None}


def start(start_fake: Any, *more: str) -> Any:
    world = start_fake("-p", "max_image_age:=1.0", "-p", "buffer_seconds:=10.0", *more)
    world.wait_for_node()
    return world


def becomes_stale(world: Any, **fields: Any) -> Any:
    """Ask until the frame is too old; the reply. Ten times the age that is allowed."""

    def stale() -> Any:
        reply = world.ask("what", **fields)
        return reply if reply.name == "STALE_IMAGE" else None

    return world.wait_until(stale, 10.0)


@pytest.mark.parametrize("ahead", AHEAD_S)
def test_stamps_ahead_become_stale_too(start_fake: Any, ahead: str) -> None:
    world = start(start_fake)
    stamp = world.now()
    seconds = AHEAD_S[ahead]
    stamp.sec = 2**31 - 1 if seconds is None else stamp.sec + seconds
    world.publish_frame(stamp)
    assert world.ask("what").name in ("OK", "STALE_IMAGE")
    reply = becomes_stale(world)
    assert "came" in reply.message  # when it arrived,
    assert "stamp" in reply.message  # and what its stamp says
    assert "ahead" in reply.message


def test_unstamped_frames_become_stale(start_fake: Any) -> None:
    from builtin_interfaces.msg import Time

    world = start(start_fake)
    world.publish_frame(world.now())
    world.publish_frame(Time(sec=0, nanosec=1))  # since boot, as some drivers stamp
    becomes_stale(world)


def test_sim_time_without_a_clock_becomes_stale(start_fake: Any) -> None:
    """Time stands at 0 for ever: no stamp is old."""
    world = start(start_fake, "-p", "use_sim_time:=true")
    world.publish_frame()
    reply = becomes_stale(world)
    assert "/clock" in reply.message or "use_sim_time" in reply.message


def test_a_click_on_a_dead_picture_is_not_answered(start_fake: Any) -> None:
    from geometry_msgs.msg import Point

    world = start(start_fake)
    stamp = world.now()
    stamp.sec += 3600
    world.publish_frame(stamp)

    def refused() -> bool:
        world.clicks.publish(Point(x=5.0, y=5.0))
        return any(world.names[m.status] == "STALE_IMAGE" for m in world.answers.items)

    world.wait_until(refused, 15.0)


def test_detections_of_a_dead_camera_are_not_asked_about(start_fake: Any) -> None:
    from vision_msgs.msg import Detection2D, Detection2DArray

    world = start(start_fake)
    stamp = world.now()
    stamp.sec += 3600
    world.publish_frame(stamp)
    message = Detection2DArray()
    message.header.stamp = stamp
    one = Detection2D()
    one.bbox.center.position.x = one.bbox.center.position.y = 20.0
    one.bbox.size_x = one.bbox.size_y = 10.0
    message.detections.append(one)
    world.detections.publish(message)
    becomes_stale(world, use_detections=True)


def test_a_live_camera_whose_clock_is_ahead_is_answered_from(start_fake: Any) -> None:
    world = start(start_fake)
    for _ in range(3):
        stamp = world.now()
        stamp.sec += 3600
        world.publish_frame(stamp)
        assert world.ask("what").name == "OK"


def test_any_age_is_any_age(start_fake: Any) -> None:
    world = start_fake("-p", "max_image_age:=0.0")
    world.wait_for_node()
    stamp = world.now()
    stamp.sec += 3600
    world.publish_frame(stamp)
    assert world.ask("what").name == "OK"
