"""The parameter service_introspection: the requests and replies of ~/region_query as events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chatspot_ros.srv import RegionQuery
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage
from service_msgs.msg import ServiceEventInfo as Info

EVENTS = "/region_query_node/region_query/_service_event"
PICTURE = bytes(range(256)) * 8


class Introspected:
    """Asks, and returns the two events of that request: received, and reply sent."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.heard = world.Collector()
        world.ros.create_subscription(RegionQuery.Event, EVENTS, self.heard, QoSProfile(depth=100))

    def set(self, value: str) -> None:
        result = self.world.set_parameter("service_introspection", value)
        assert result.successful, result.reason

    def begin(self, value: str) -> None:
        """Switch the events on; ask until some come: the node may not know of us yet."""
        self.set(value)
        before = len(self.heard.items)
        self.world.wait_until(lambda: self.world.ping() and len(self.heard.items) > before)

    def ask(self, question: str, **fields: Any) -> tuple[Any, Any]:
        last = max(event.info.sequence_number for event in self.heard.items)
        self.world.ask(question, **fields)
        sent = self.heard.wait_for(
            lambda event: (
                event.info.sequence_number > last and event.info.event_type == Info.RESPONSE_SENT
            )
        )
        number = sent.info.sequence_number
        received, also_sent = (
            event for event in self.heard.items if event.info.sequence_number == number
        )
        assert also_sent is sent
        assert received.info.event_type == Info.REQUEST_RECEIVED
        return received, sent


@pytest.fixture
def introspected(fake: Any) -> Iterator[Introspected]:
    made = Introspected(fake)
    yield made
    made.set("off")


def test_contents_are_the_whole_request_and_reply(introspected: Introspected) -> None:
    introspected.begin("contents")
    image = CompressedImage(format="jpeg", data=PICTURE)
    received, sent = introspected.ask("what is this", image=image, session="s")
    (request,) = received.request
    assert (request.question, request.session) == ("what is this", "s")
    assert bytes(request.image.data) == PICTURE
    (response,) = sent.response
    assert response.status == RegionQuery.Response.BAD_IMAGE
    assert "picture" in response.message


def test_metadata_have_no_contents(introspected: Introspected) -> None:
    introspected.begin("metadata")
    received, sent = introspected.ask("what is this")
    assert (list(received.request), list(sent.response)) == ([], [])
    assert bytes(received.info.client_gid) == bytes(sent.info.client_gid)
    stamps_s = [event.info.stamp.sec + event.info.stamp.nanosec / 1e9 for event in (received, sent)]
    assert stamps_s[0] <= stamps_s[1]


def test_off_sends_no_event(introspected: Introspected) -> None:
    """It is the default: test_policy.py looks at all topics of a node that was just started."""
    introspected.begin("contents")
    introspected.set("off")
    introspected.world.ask("a secret")
    introspected.begin("contents")
    introspected.ask("no secret")
    asked = [one.question for event in introspected.heard.items for one in event.request]
    assert "no secret" in asked
    assert "a secret" not in asked


def test_it_can_be_on_from_the_start(start_fake: Any) -> None:
    own = start_fake("-p", "service_introspection:=metadata")
    topic = f"{own.namespace}{EVENTS}"
    own.wait_until(lambda: own.ros.count_publishers(topic) == 1)


def test_another_value_is_refused_with_the_accepted_ones(fake: Any) -> None:
    reason = fake.set_parameter("service_introspection", "content").reason
    assert "off, metadata, contents" in reason
