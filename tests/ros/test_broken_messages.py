"""Bytes and stamps that no camera should send: BAD_IMAGE, and the node goes on."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.serialization import serialize_message


def broken(world: Any, kind: str, stamp: Any) -> bytes:
    import numpy as np
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message

    header = Header(stamp=stamp, frame_id="camera")
    whole = bytearray(serialize_message(to_image_message(np.zeros((8, 8, 3), np.uint8), header)))
    if kind == "cut in the pixels":
        return bytes(whole[:-40])
    if kind == "cut in the header":
        return bytes(whole[:14])
    if kind == "only the encapsulation":
        return bytes(whole[:4])
    if kind == "a frame_id of 4 GB":
        whole[12:16] = b"\xff\xff\xff\xff"
    if kind == "a frame_id that is no UTF-8":
        whole[16:18] = b"\xff\xfe"
    if kind == "pixels of 4 GB":
        at = len(whole) - 8 * 8 * 3 - 4
        whole[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(whole)


@pytest.mark.parametrize("kind", ["cut in the pixels", "cut in the header", "a frame_id of 4 GB",
                                  "only the encapsulation", "a frame_id that is no UTF-8",
                                  "pixels of 4 GB"])  # fmt: skip
def test_broken_cdr_is_a_bad_image(start_fake: Any, kind: str) -> None:
    world = start_fake()
    world.wait_for_node()
    stamp = world.now()
    data = broken(world, kind, stamp)

    def told() -> Any:
        world.images.publish(data)
        reply = world.ask("what")
        return reply if reply.name != "NO_IMAGE" else None

    reply = world.wait_until(told, 15.0)
    # Nobody needs the camera's name to see the picture.
    allowed = ("BAD_IMAGE", "OK") if "UTF-8" in kind else ("BAD_IMAGE",)
    assert reply.name in allowed
    world.publish_frame()
    assert world.ask("after it").name == "OK"
    world.process.wait_for("'after it'")
    assert "Traceback" not in world.process.output


@pytest.mark.parametrize(("sec", "nanosec"), [(2**31 - 1, 2**32 - 1), (-(2**31), 0),
                                               (-1, 999_999_999), (5, 2**32 - 1)])  # fmt: skip
def test_a_stamp_at_the_end_of_time_is_answered(start_fake: Any, sec: int, nanosec: int) -> None:
    from builtin_interfaces.msg import Time

    world = start_fake("-p", "max_image_age:=0.0")
    world.wait_for_node()
    stamp = Time(sec=sec, nanosec=nanosec)
    world.publish_frame(stamp)
    reply = world.ask("of that time", stamp=stamp)
    assert reply.name == "OK"
    world.process.wait_for("'of that time'")
    assert "Traceback" not in world.process.output
