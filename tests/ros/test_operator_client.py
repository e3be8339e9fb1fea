"""The operator's client beside real nodes: pictures, boxes, answers, and every way to be left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from detected import detection, publish
from sensor_msgs.msg import CompressedImage

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import RequestError
from chatspot_ros.operators.client import UNREACHABLE, Ask, Frame, Reply
from chatspot_ros.ros.conversions import to_ns
from chatspot_ros.ros.operator_client import RosOperatorClient

PATIENCE_S = 60.0


class Asked:
    """A question whose texts and replies are kept."""

    def __init__(self, client: RosOperatorClient, question: str, **fields: Any) -> None:
        self.texts: dict[int, str] = {}
        self.replies: list[Reply] = []
        self._news = threading.Condition()
        self.question = client.ask(Ask(question, **fields), self._on_text, self._on_reply)

    def _on_text(self, index: int, text: str) -> None:
        with self._news:
            self.texts[index] = self.texts.get(index, "") + text
            self._news.notify_all()

    def _on_reply(self, reply: Reply) -> None:
        with self._news:
            self.replies.append(reply)
            self._news.notify_all()

    def wait_for_text(self) -> None:
        with self._news:
            assert self._news.wait_for(lambda: self.texts, PATIENCE_S)

    def reply(self, timeout_s: float = PATIENCE_S) -> Reply:
        with self._news:
            assert self._news.wait_for(lambda: self.replies, timeout_s), "no reply"
        return self.replies[0]


@pytest.fixture
def connect() -> Iterator[Callable[..., RosOperatorClient]]:
    clients: list[RosOperatorClient] = []

    def make(name: str) -> RosOperatorClient:
        clients.append(RosOperatorClient(name))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def client(fake: Any) -> Iterator[RosOperatorClient]:
    made = RosOperatorClient()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stamp(fake: Any) -> Any:
    return fake.publish_frame()


def test_an_answer_streams_and_comes_whole(
    fake: Any, client: RosOperatorClient, stamp: Any
) -> None:
    regions = (Region.point(1, 1), Region.box(2, 2, 20, 30))
    asked = Asked(client, "say one two three", regions=regions, stamp_ns=to_ns(stamp))
    reply = asked.reply()
    assert (reply.status, reply.message, reply.model) == ("OK", "", "fake")
    assert reply.stamp_ns == to_ns(stamp)
    assert [answer.text for answer in reply.answers] == ["one two three"] * 2
    assert [answer.regions for answer in reply.answers] == [(one,) for one in regions]
    first = reply.answers[0]
    assert (dict(first.state), first.steps) == ({"door": "open"}, ("open fridge",))
    assert first.grounded == (Region(((1.0, 2.0), (3.0, 4.0)), label="thing"),)
    assert (round(first.confidence, 3), first.uncertain) == (0.9, False)
    assert first.answer_id
    # The last words may come with the reply alone.
    assert asked.texts.keys() == {0, 1}
    assert all("one two three".startswith(text.strip()) for text in asked.texts.values())
    assert client.problem() == ""


def test_several_questions_at_once_each_get_their_own(
    client: RosOperatorClient, stamp: Any
) -> None:
    asked = [Asked(client, f"say number {n}", stamp_ns=to_ns(stamp)) for n in range(5)]
    assert [one.reply().answers[0].text for one in asked] == [f"number {n}" for n in range(5)]
    for n, one in enumerate(asked):
        assert f"number {n}".startswith("".join(one.texts.values()).strip())


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"question": ""}, "BAD_REQUEST", "empty"),
        ({"question": "say a", "camera": "attic"}, "BAD_REQUEST", "attic"),
        ({"question": "say a", "regions": (Region.point(900, 900),)}, "BAD_REGION", "outside"),
        ({"question": "say a", "session": 5}, "BAD_REQUEST", "cannot be sent"),
        ({"question": "say a", "timeout_s": float("nan")}, "BAD_REQUEST", "NaN"),
        ({"question": "take 60", "timeout_s": 0.3}, "TIMEOUT", ""),
    ],
)
def test_what_is_wrong_comes_as_a_status(
    client: RosOperatorClient, stamp: Any, fields: dict[str, Any], status: str, word: str
) -> None:
    reply = Asked(client, **fields, stamp_ns=to_ns(stamp)).reply()
    assert reply.status == status
    assert word in reply.message


def test_cancel_while_it_answers_and_before_it_is_sent(
    client: RosOperatorClient, stamp: Any, gate: Any
) -> None:
    asked = Asked(client, "take 60", stamp_ns=to_ns(stamp))
    asked.wait_for_text()
    asked.question.cancel()
    assert asked.reply().status == "CANCELLED"
    at_once = Asked(client, gate.question, stamp_ns=to_ns(stamp))
    at_once.question.cancel()
    at_once.question.cancel()
    assert at_once.reply().status == "CANCELLED"
    gate.open()
    assert Asked(client, "say a", stamp_ns=to_ns(stamp)).reply().status == "OK"
    assert len(asked.replies) == len(at_once.replies) == 1


def test_a_call_back_that_fails_stops_nothing(client: RosOperatorClient, stamp: Any) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("scripted")

    client.ask(Ask("say a", stamp_ns=to_ns(stamp)), fail, fail)
    assert Asked(client, "say b", stamp_ns=to_ns(stamp)).reply().answers[0].text == "b"


def publish_until_shown(
    world: Any, frames: Any, publish: Callable[[], object], wanted: Callable[[Frame], object]
) -> Frame:
    """Publish until the client shows what is wanted: a best-effort reader that has just found its
    writer may miss the first messages."""

    def find() -> Frame | None:
        publish()
        try:
            found: Frame = frames.wait_for(wanted, 2.0)
        except AssertionError:
            return None
        return found

    shown: Frame = world.wait_until(find)
    return shown


def shown_frame(fake: Any, frames: Any, **look: Any) -> tuple[Any, Frame]:
    """Publish frames until the client shows one; return its stamp and it."""
    stamps: list[Any] = []
    shown = publish_until_shown(
        fake, frames,
        lambda: stamps.append(fake.publish_frame(**look)),
        lambda frame: frame.stamp_ns == to_ns(stamps[-1]),
    )  # fmt: skip
    return stamps[-1], shown


def test_frames_and_their_detections_come(fake: Any, client: RosOperatorClient) -> None:
    frames = fake.Collector()
    end = client.watch("", frames)
    fake.wait_until(lambda: fake.images.get_subscription_count() == 2)
    stamp, shown = shown_frame(fake, frames, colour=(200, 30, 60))
    assert (shown.camera, shown.image_rgb.shape) == ("camera", (48, 64, 3))
    assert shown.image_rgb[5, 5].tolist() == [200, 30, 60]
    assert client.cameras() == ("camera",)
    fake.wait_until(lambda: fake.detections.get_subscription_count() == 2)
    broken = detection("ghost", (float("nan"), 1))
    again = publish_until_shown(
        fake, frames,
        lambda: publish(fake, stamp, detection("mug", (20, 10)), broken),
        lambda frame: frame.detections,
    )  # fmt: skip
    assert again.stamp_ns == again.detections_stamp_ns == to_ns(stamp)
    assert [(one.label, one.points_px) for one in again.detections] == [
        ("mug", ((15.0, 5.0), (25.0, 15.0)))
    ]
    # The detector is slower than the camera: its boxes say which frame they are of.
    _, shown = shown_frame(fake, frames)
    assert shown.detections_stamp_ns in (0, to_ns(stamp))
    end()
    fake.wait_until(lambda: fake.images.get_subscription_count() == 1)


def test_frames_that_come_while_one_is_shown_are_dropped(
    fake: Any, client: RosOperatorClient
) -> None:
    shown: list[int] = []
    seen, go_on, done = threading.Event(), threading.Event(), threading.Event()
    last_ns = [0]

    def show(frame: Frame) -> None:
        shown.append(frame.stamp_ns)
        seen.set()
        assert go_on.wait(PATIENCE_S)
        if frame.stamp_ns == last_ns[0]:
            done.set()

    end = client.watch("camera", show)
    fake.wait_until(lambda: fake.images.get_subscription_count() == 2)
    fake.wait_until(lambda: fake.publish_frame() and seen.wait(1.0))
    for _ in range(5):
        last_ns[0] = to_ns(fake.publish_frame())
    go_on.set()
    lost = 0
    while not done.wait(2.0) and lost < PATIENCE_S:
        # The last one went by: best effort.
        last_ns[0], lost = to_ns(fake.publish_frame()), lost + 1
    assert done.is_set()
    assert len(shown) <= 3 + lost
    end()


def test_a_rating_arrives_or_says_why_not(fake: Any, client: RosOperatorClient, stamp: Any) -> None:
    answer = Asked(client, "say a", stamp_ns=to_ns(stamp)).reply().answers[0]
    told = fake.Collector()
    client.rate(answer.answer_id, 4, "good", told)
    assert "feedback_log" in told.wait_for(bool)
    client.rate(answer.answer_id, 300, "", told)
    told.wait_for(lambda text: "from 1 to 5" in text)


def test_compressed_pictures_resized_boxes_and_several_cameras(
    start_fake: Any, connect: Any
) -> None:
    world = start_fake(
        *("-p", "cameras:=[front, rear]", "-p", "image_transport:=compressed"),
        *("-p", "detection_space:=resized 128x96"),
        *("-r", "rear/image:=elsewhere", "-r", "rear/detections:=boxes"),
    )
    world.wait_for_services()
    client = connect(f"{world.namespace}/region_query_node")
    world.wait_until(lambda: client.cameras() == ("front", "rear"))
    frames = world.Collector()
    client.watch("rear", frames)
    from vision_msgs.msg import Detection2DArray

    images = world.make(lambda: world.ros.create_publisher(
        CompressedImage, f"{world.namespace}/elsewhere/compressed", 10))  # fmt: skip
    boxes = world.make(
        lambda: world.ros.create_publisher(Detection2DArray, f"{world.namespace}/boxes", 10)
    )
    both = (images, boxes)
    world.wait_until(lambda: all(one.get_subscription_count() == 2 for one in both))
    picture = np.full((48, 64, 3), (60, 30, 200), np.uint8)
    stamp = world.now()
    message = CompressedImage(format="png", data=cv2.imencode(".png", picture)[1].tobytes())
    message.header.stamp = stamp
    shown = publish_until_shown(
        world, frames,
        lambda: images.publish(message), lambda frame: frame.stamp_ns == to_ns(stamp),
    )  # fmt: skip
    assert shown.camera == "rear"
    assert shown.image_rgb[0, 0].tolist() == [200, 30, 60]
    found = Detection2DArray(detections=[detection("mug", (40, 20), (20, 20))])
    found.header.stamp = stamp
    shown = publish_until_shown(
        world, frames, lambda: boxes.publish(found), lambda frame: frame.detections
    )
    (box,) = shown.detections
    assert box.points_px == ((15.0, 5.0), (25.0, 15.0))
    message.data = b"broken"
    world.wait_until(lambda: images.publish(message) or "camera rear" in client.problem())


def test_a_node_that_is_missing_is_said_within_seconds(connect: Any) -> None:
    client = connect("/nowhere/region_query_node")
    began_s = time.monotonic()
    asked = Asked(client, "what")
    reply = asked.reply(15.0)
    assert (reply.status, time.monotonic() - began_s < 12.0) == (UNREACHABLE, True)
    assert "there is no /nowhere/region_query_node in ROS domain" in reply.message
    assert "ros2 launch" in client.problem()
    told: list[str] = []
    done = threading.Event()
    client.rate("x", 3, "", lambda text: (told.append(text), done.set()))  # type: ignore[func-returns-value]
    assert done.wait(15.0)
    assert "there is no /nowhere" in told[0]
    asked = Asked(client, "what")
    asked.question.cancel()
    assert asked.reply(15.0).status == "CANCELLED"


def test_a_name_that_cannot_be_a_node_is_refused() -> None:
    with pytest.raises(RequestError, match="no node at all"):
        RosOperatorClient("no node at all")


def test_an_inactive_node_says_so(start_fake: Any, connect: Any) -> None:
    world = start_fake("-p", "autostart:=false", ready="waiting to be configured")
    client = connect(f"{world.namespace}/region_query_node")
    reply = Asked(client, "what").reply()
    assert reply.status == "NOT_ACTIVE"
    world.wait_until(lambda: "ros2 lifecycle set" in client.problem())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_node_that_goes_in_the_middle(start_fake: Any, connect: Any, how: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    client = connect(f"{world.namespace}/region_query_node")
    stamp_ns = to_ns(world.publish_frame())
    asked = [Asked(client, "take 60", stamp_ns=stamp_ns, timeout_s=60.0) for _ in range(2)]
    asked[0].wait_for_text()
    world.process.send(how)
    replies = [one.reply(25.0) for one in asked]
    try:
        expected = "NOT_ACTIVE" if how == signal.SIGTERM else UNREACHABLE
        assert [reply.status for reply in replies] == [expected] * 2
        assert all(reply.message for reply in replies)
        world.wait_until(client.problem)
    finally:
        world.process.send(signal.SIGCONT)
    assert [len(one.replies) for one in asked] == [1, 1]


def test_a_node_that_starts_again_is_found_again(start_fake: Any, spawn: Any, connect: Any) -> None:
    world = start_fake()
    world.wait_for_node()
    client = connect(f"{world.namespace}/region_query_node")
    asked = Asked(client, "take 60", stamp_ns=to_ns(world.publish_frame()), timeout_s=60.0)
    asked.wait_for_text()
    world.process.send(signal.SIGKILL)
    spawn(*world.process.command, ready="ready: region_query_node")
    assert asked.reply(40.0).status == UNREACHABLE
    world.wait_until(lambda: Asked(client, "what").reply().status == "NO_IMAGE")
    world.wait_until(lambda: "no image yet" in client.problem())


def test_after_close_nothing_comes_and_the_node_is_free(fake: Any, stamp: Any) -> None:
    client = RosOperatorClient()
    frames = fake.Collector()
    client.watch("", frames)
    asked = Asked(client, "take 60", stamp_ns=to_ns(stamp), timeout_s=60.0)
    asked.wait_for_text()
    client.close()
    count = len(frames.items)
    # The node was told to stop, so it has time for another question.
    assert fake.ask("what", stamp=fake.publish_frame(), patience_s=30.0).name == "OK"
    assert (asked.replies, len(frames.items)) == ([], count)
    client.close()
