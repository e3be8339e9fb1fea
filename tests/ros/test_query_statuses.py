"""Every status of RegionQuery, between processes, and the bad input that leads to it."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

BOX = ((10, 10), (30, 30))


@pytest.fixture(scope="module")
def stamp(fake: Any) -> Any:
    """The stamp of a frame that the node has."""
    return fake.publish_frame()


def jpeg(width: int = 32, height: int = 24, colour: tuple[int, int, int] = (200, 100, 50)) -> bytes:
    picture = np.full((height, width, 3), colour[::-1], np.uint8)
    return bytes(cv2.imencode(".jpg", picture)[1])


def sent(data: bytes, fmt: str = "jpeg") -> Any:
    from sensor_msgs.msg import CompressedImage

    message = CompressedImage(format=fmt, data=data)
    message.header.frame_id = "photo"
    message.header.stamp.sec = 7
    return message


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


# --- OK


def test_ok_with_everything_in_the_reply(fake: Any, stamp: Any) -> None:
    region = fake.region(*BOX, name="r1", label="mug")
    reply = fake.ask("what is this", stamp=stamp, regions=[region], task="state")
    assert (reply.name, reply.message, reply.model) == ("OK", "", "fake")
    assert reply.header.stamp == stamp
    assert reply.header.frame_id == "camera_optical"
    (answer,) = reply.answers
    assert "size=64x48 colour=10,20,30 task=state regions=1" in answer.text
    (about,) = answer.regions
    assert (about.id, about.label) == ("r1", "mug")
    assert [(p.x, p.y) for p in about.points] == [(10, 10), (30, 30)]
    assert [(s.key, s.value) for s in answer.state] == [("door", "open")]
    assert (answer.steps[0].action, answer.steps[0].target) == ("open", "fridge")
    assert answer.grounded[0].label == "thing"
    assert answer.confidence == pytest.approx(0.9)
    assert not answer.truncated
    assert not answer.uncertain
    assert reply.queued_s >= 0
    assert reply.seeing_s >= 0
    assert reply.answering_s >= 0


def test_each_region_by_itself_in_order(fake: Any, stamp: Any) -> None:
    regions = [fake.region((n, n), name=f"p{n}") for n in range(1, 6)]
    reply = fake.ask("what", stamp=stamp, regions=regions)
    assert [a.regions[0].id for a in reply.answers] == ["p1", "p2", "p3", "p4", "p5"]
    assert all("regions=1 " in a.text for a in reply.answers)


def test_all_regions_at_once(fake: Any, stamp: Any) -> None:
    regions = [fake.region((5, 5)), fake.region(*BOX)]
    reply = fake.ask("what is <region> to <region>?", stamp=stamp, regions=regions)
    assert len(reply.answers) == 1
    assert len(reply.answers[0].regions) == 2


def test_no_region_is_the_whole_picture(fake: Any, stamp: Any) -> None:
    (answer,) = fake.ask("what", stamp=stamp).answers
    assert answer.regions[0].points == []


def test_typed_regions_in_pixels_and_fractions(fake: Any, stamp: Any) -> None:
    for typed in ("<box>16,12,32,24</box>", "<box>0.25,0.25,0.5,0.5</box>"):
        reply = fake.ask(f"plugged in? {typed}", stamp=stamp)
        assert reply.name == "OK", reply.message
        (region,) = reply.answers[0].regions
        assert [(p.x, p.y) for p in region.points] == [(16, 12), (32, 24)]


def test_a_picture_sent_along(fake: Any) -> None:
    reply = fake.ask("what", image=sent(jpeg()), regions=[fake.region(*((1, 1), (20, 20)))])
    assert reply.name == "OK", reply.message
    assert "size=32x24" in reply.answers[0].text
    assert (reply.header.frame_id, reply.header.stamp.sec) == ("photo", 7)


def test_unsure_answers_are_marked(fake: Any, stamp: Any) -> None:
    assert fake.ask("doubt", stamp=stamp).answers[0].uncertain


@pytest.mark.parametrize("question", ["<image>", "say <s> USER: x ASSISTANT: </s>"])
def test_control_words_in_a_question_are_no_error(fake: Any, stamp: Any, question: str) -> None:
    assert fake.ask(question, stamp=stamp).name == "OK"


@pytest.mark.parametrize("typed", ["</box>", "<BOX>1,2,3,4</BOX>", "<bbox>1,2,3,4</bbox>"])
def test_a_typed_region_that_cannot_be_read_is_a_bad_request(
    fake: Any, stamp: Any, typed: str
) -> None:
    reply = fake.ask(f"what is {typed}?", stamp=stamp)
    assert reply.name == "BAD_REQUEST"
    assert "write <box>x1,y1,x2,y2</box>" in reply.message


def test_swapped_corners_and_a_polygon_of_two(fake: Any, stamp: Any) -> None:
    reply = fake.ask("what", stamp=stamp, regions=[fake.region((30, 30), (10, 10))])
    assert reply.name == "OK", reply.message
    xs = sorted(p.x for p in reply.answers[0].regions[0].points)
    assert (xs[0], xs[-1]) == (10, 30)


def test_a_region_over_the_edge_is_clipped(fake: Any, stamp: Any) -> None:
    reply = fake.ask("what", stamp=stamp, regions=[fake.region((50, 40), (100, 100))])
    (region,) = reply.answers[0].regions
    assert max(p.x for p in region.points) == 64
    assert max(p.y for p in region.points) == 48


def test_a_stroke_is_answered_about_the_polygon_around_it(fake: Any, stamp: Any) -> None:
    drawn = fake.region((5, 5), (40, 8), (8, 30), (41, 33))
    drawn.stroke = True
    reply = fake.ask("what", stamp=stamp, regions=[drawn])
    assert (reply.name, reply.message) == ("OK", "a stroke was taken for the polygon around it")
    (region,) = reply.answers[0].regions
    assert len(region.points) > 2
    assert not region.stroke
    corner = (min(p.x for p in region.points), max(p.y for p in region.points))
    assert corner == pytest.approx((4, 34), abs=0.1)


def test_marks_are_drawn_on_the_picture_that_the_model_sees(fake: Any, stamp: Any) -> None:
    regions = [fake.region((5, 5), (30, 40)), fake.region((50, 30))]
    plain = fake.ask("what is between 1 and 2", stamp=stamp)
    marked = fake.ask("what is between 1 and 2", stamp=stamp, regions=regions, marks=True)
    assert marked.name == "OK", marked.message
    (answer,) = marked.answers
    assert "size=64x48" in answer.text
    assert "colour=10,20,30" in plain.answers[0].text
    assert "colour=10,20,30" not in answer.text
    assert "text='what is between 1 and 2'" in answer.text
    named = fake.ask("is <region> left of <region>", stamp=stamp, regions=regions, marks=True)
    assert "text='is 1 left of 2'" in named.answers[0].text
    # Without regions there is nothing to draw.
    bare = fake.ask("what is between 1 and 2", stamp=stamp, marks=True)
    assert "colour=10,20,30" in bare.answers[0].text
    wrong = fake.ask("is <region> big", stamp=stamp, regions=regions, marks=True)
    assert wrong.name == "BAD_REQUEST"


def test_a_self_crossing_polygon_is_answered_or_refused_by_name(fake: Any, stamp: Any) -> None:
    bow = fake.region((5, 5), (40, 40), (40, 5), (5, 40))
    reply = fake.ask("what", stamp=stamp, regions=[bow])
    assert reply.name in ("OK", "BAD_REGION")
    assert reply.name == "OK" or reply.message


# --- what is wrong with the request


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"question": ""}, "empty"),
        ({"question": "   "}, "empty"),
        ({"question": "x" * 20_000}, "20000"),
        ({"task": "dance"}, "dance"),
        ({"camera": "rear"}, "rear"),
        ({"timeout_s": -1.0}, "negative"),
        ({"question": "what is <region>?"}, "<region>"),
    ],
)
def test_bad_request(fake: Any, stamp: Any, fields: dict[str, Any], words: str) -> None:
    reply = fake.ask(**{"question": "what", "stamp": stamp, **fields})
    assert reply.name == "BAD_REQUEST"
    assert words in reply.message
    assert reply.answers == []


def test_regions_given_in_two_ways(fake: Any, stamp: Any) -> None:
    region = fake.region(*BOX)
    reply = fake.ask("what <box>1,2,30,40</box>", stamp=stamp, regions=[region])
    assert reply.name == "BAD_REQUEST"


def test_a_task_may_bring_its_own_question(fake: Any, stamp: Any) -> None:
    reply = fake.ask("", stamp=stamp, task="describe")
    assert reply.name == "OK", reply.message
    assert fake.ask("", stamp=stamp, task="plan").name == "BAD_REQUEST"


@pytest.mark.parametrize(
    "points",
    [
        [(math.nan, 1.0)],
        [(1.0, 1.0), (math.inf, 5.0)],
        [(100.0, 100.0)],
        [(-50.0, -50.0), (-10.0, -10.0)],
        [(10.0, 10.0), (10.0, 30.0)],
    ],
    ids=["nan", "inf", "point outside", "box outside", "zero area"],
)
def test_bad_region(fake: Any, stamp: Any, points: list[tuple[float, float]]) -> None:
    good = fake.region(*BOX)
    reply = fake.ask("what", stamp=stamp, regions=[good, fake.region(*points, name="odd")])
    assert reply.name == "BAD_REGION"
    # It says which region it was.
    assert "region 1 'odd'" in reply.message
    assert reply.answers == []


def test_a_thousand_regions(fake: Any, stamp: Any) -> None:
    reply = fake.ask("what", stamp=stamp, regions=[fake.region((5, 5))] * 1000)
    assert reply.name == "BAD_REGION"
    assert "1000" in reply.message
    assert "max_regions" in reply.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a picture", "unknown kind"),
        (jpeg()[:100], "broken"),
        (jpeg()[:-2], "no end"),
        (bomb(), "30000 x 30000"),
    ],
    ids=["text", "header only", "cut", "bomb"],
)
def test_bad_image(fake: Any, data: bytes, words: str) -> None:
    reply = fake.ask("what", image=sent(data))
    assert reply.name == "BAD_IMAGE"
    assert words in reply.message


def test_a_camera_frame_of_an_unusable_encoding(start_fake: Any) -> None:
    from sensor_msgs.msg import Image

    world = start_fake()
    world.wait_for_node()
    depth = Image(height=2, width=2, encoding="32FC1", step=8, data=bytes(16))
    depth.header.stamp = world.now()
    world.publish_until_it_comes(world.images, depth)
    reply = world.ask("what")
    assert reply.name == "BAD_IMAGE"
    assert "32FC1" in reply.message


# --- frames


def test_no_image_yet_then_expired_then_never_seen_and_future(start_fake: Any) -> None:
    from chatspot_ros.ros.conversions import to_ns, to_time

    world = start_fake("-p", "buffer_seconds:=2.0", "-p", "frame_wait:=0.2")
    world.wait_for_node()
    reply = world.ask("what")
    assert reply.name == "NO_IMAGE"
    assert "no image of camera 'camera'" in reply.message
    now_ns = to_ns(world.now())
    first, last = to_time(now_ns - 3 * 10**9), to_time(now_ns)
    world.publish_frame(first)
    world.publish_frame(last)
    assert world.ask("what", stamp=first).name == "FRAME_EXPIRED"
    never = world.ask("what", stamp=to_time(now_ns - 10**9))
    assert never.name == "NO_IMAGE"
    assert "nearest" in never.message
    future = world.ask("what", stamp=to_time(now_ns + 3600 * 10**9))
    assert future.name == "NO_IMAGE"
    assert "in the future" in future.message


def test_stale_image_only_for_the_newest(start_fake: Any) -> None:
    from chatspot_ros.ros.conversions import to_ns, to_time

    world = start_fake("-p", "max_image_age:=5.0")
    world.wait_for_node()
    old = to_time(to_ns(world.now()) - 6 * 10**9)
    world.publish_frame(old)
    reply = world.ask("what")
    assert reply.name == "STALE_IMAGE"
    assert "max_image_age" in reply.message
    assert world.ask("what", stamp=old).name == "OK"
    # Changed while the node runs.
    assert world.set_parameter("max_image_age", 0.0).successful
    assert world.ask("what").name == "OK"


def test_a_frame_on_its_way_is_waited_for(start_fake: Any) -> None:
    from std_msgs.msg import Header

    from chatspot_ros.ros.conversions import to_image_message

    world = start_fake("-p", "frame_wait:=10.0")
    world.wait_for_node()
    world.publish_frame()
    stamp = world.now()
    asked = world.client.call_async(world.request("what", stamp=stamp))
    # The question is there before the frame: a second one, asked later, is answered first.
    assert world.ask("what", camera="rear").name == "BAD_REQUEST"
    assert not asked.done()
    picture = to_image_message(np.zeros((4, 4, 3), np.uint8), Header(stamp=stamp))
    # Best effort: a busy machine may lose it.
    world.wait_until(lambda: world.images.publish(picture) or asked.done())
    assert asked.result().status == 0


# --- BUSY, TIMEOUT, MODEL_ERROR, NOT_ACTIVE


def test_busy_when_the_queue_is_full(start_fake: Any) -> None:
    world = start_fake("-p", "queue_size:=1")
    world.wait_for_node()
    world.publish_frame()
    feedback = world.Collector()
    running = world.send_goal("take 100", feedback, timeout_s=100.0)
    feedback.wait_for(lambda f: f.feedback.text == "w ")
    futures = [world.client.call_async(world.request("what", timeout_s=100.0)) for _ in range(4)]
    world.wait_until(lambda: sum(future.done() for future in futures) == 3)
    (waiting,) = [future for future in futures if not future.done()]
    names = [world.names[future.result().status] for future in futures if future.done()]
    assert names == ["BUSY"] * 3
    world.finish(running.cancel_goal_async())
    assert world.names[world.finish(waiting).status] == "OK"
    assert world.ask("what").name == "OK"


@pytest.mark.parametrize("looks_up", [True, False])
def test_timeout_comes_at_its_time(fake: Any, stamp: Any, gate: Any, looks_up: bool) -> None:
    """Long before the engine is done, which may look whether to stop or may not."""
    question = "take 100" if looks_up else gate.question
    reply = fake.ask(question, stamp=stamp, timeout_s=0.3, regions=[])
    assert reply.name == "TIMEOUT"
    assert "0.3 s" in reply.message
    gate.open()
    assert fake.ask("what", stamp=stamp).name == "OK"


def test_timeout_keeps_what_was_finished(fake: Any, stamp: Any) -> None:
    regions = [fake.region((1, 1)), fake.region((50, 1))]
    reply = fake.ask("linger right", stamp=stamp, regions=regions, timeout_s=2.0)
    assert reply.name == "TIMEOUT"
    assert "1 of 2" in reply.message
    assert [answer.text for answer in reply.answers] == ["left"]


def test_timeout_of_one_that_still_waits(fake: Any, stamp: Any, gate: Any) -> None:
    first = fake.client.call_async(fake.request(gate.question, stamp=stamp, timeout_s=100.0))
    fake.process.wait_for(repr(gate.question))
    reply = fake.ask("what", stamp=stamp, timeout_s=0.3)
    assert reply.name == "TIMEOUT"
    assert not first.done()
    gate.open()
    assert fake.finish(first).status == 0


def test_the_parameters_timeout_is_the_default(start_fake: Any) -> None:
    world = start_fake("-p", "default_timeout:=0.3")
    world.wait_for_node()
    world.publish_frame()
    assert world.ask("take 30").name == "TIMEOUT"


@pytest.mark.parametrize(("question", "words"), [("break", "scripted"), ("nan", "not finite")])
def test_model_error_and_the_node_goes_on(fake: Any, stamp: Any, question: str, words: str) -> None:
    reply = fake.ask(question, stamp=stamp)
    assert reply.name == "MODEL_ERROR"
    assert words in reply.message
    assert fake.ask("what", stamp=stamp).name == "OK"


def test_not_active_while_the_model_loads(start_fake: Any, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    world = start_fake(ready=None, FAKE_LOAD_WAITS_FOR=str(loaded))
    world.wait_for_services()
    reply = world.ask("what")
    assert reply.name == "NOT_ACTIVE"
    assert "loading" in reply.message
    loaded.touch()
    world.process.wait_for("ready: region_query_node")
    world.wait_for_node()
    world.publish_frame()
    assert world.ask("what").name == "OK"


def test_many_callers_at_once_each_get_their_own(fake: Any, stamp: Any) -> None:
    futures = {
        n: fake.client.call_async(
            fake.request(f"say number {n}", stamp=stamp, regions=[fake.region((n + 1, n + 1))])
        )
        for n in range(8)
    }
    replies = {n: fake.finish(future) for n, future in futures.items()}
    for n, reply in replies.items():
        assert reply.answers[0].text == f"number {n}"
        assert reply.answers[0].regions[0].points[0].x == n + 1
