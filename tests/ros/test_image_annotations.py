"""Answers as foxglove_msgs/ImageAnnotations, with a stand-in for that package."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import PALETTE, Note
from chatspot_ros.ros.annotated_publisher import AnnotatedPublisher
from chatspot_ros.ros.image_annotations import load_messages, to_image_annotations
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.request import Picture, Query, QueryReply

STAMP = Time(sec=5, nanosec=7)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Any:
    path = Path(__file__).with_name("foxglove_stand_in.py")
    spec = importlib.util.spec_from_file_location("foxglove_msgs.msg", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "foxglove_msgs", ModuleType("foxglove_msgs"))
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", module)
    spec.loader.exec_module(module)
    return module


@dataclass
class FakePublisher:
    subscribers: int = 1
    sent: list[Any] = field(default_factory=list)

    def get_subscription_count(self) -> int:
        return self.subscribers

    def publish(self, message: Any) -> None:
        self.sent.append(message)


@dataclass
class FakeNode:
    """What a publisher needs of a node: the stand-in is no type that rclpy could publish."""

    topics: dict[str, FakePublisher] = field(default_factory=dict)

    def create_publisher(self, kind: Any, name: str, qos: Any) -> FakePublisher:
        return self.topics.setdefault(name, FakePublisher())


def test_every_kind_of_region_is_drawn_where_it_is(messages: Any) -> None:
    notes = [
        Note((Region.box(30, 40, 10, 20),), "open", (Region.box(1, 2, 3, 4),)),
        Note((Region.point(5, 6),), ""),
        Note((Region.polygon([(1, 1), (9, 1), (5, 8)]),), "a\nmug"),
        Note((Region.image(),), "a kitchen"),
    ]
    made = to_image_annotations(messages, STAMP, (640, 480), notes)
    corners = [[(one.x, one.y) for one in line.points] for line in made.points]
    assert corners == [
        [(10, 20), (30, 20), (30, 40), (10, 40)],
        [(1, 2), (3, 2), (3, 4), (1, 4)],
        [(1, 1), (9, 1), (5, 8)],
        [(0, 0), (640, 0), (640, 480), (0, 480)],
    ]
    assert [(one.position.x, one.position.y) for one in made.circles] == [(5, 6)]
    assert [one.text for one in made.texts] == ["open", "a\\nmug", "a kitchen"]
    parts = (*made.points, *made.circles, *made.texts)
    assert {(one.timestamp.sec, one.timestamp.nanosec) for one in (made, *parts)} == {(5, 7)}
    assert {one.type for one in made.points} == {2}
    first, grounded = made.points[0].outline_color, made.points[1].outline_color
    assert [round(255 * value) for value in (first.r, first.g, first.b)] == list(PALETTE[0])
    assert (grounded.r, grounded.g, grounded.b, grounded.a) == (1, 1, 1, 1)
    assert all(one.position.y >= one.font_size for one in made.texts if one.text == "a kitchen")


def test_they_are_published_beside_the_picture_while_somebody_listens(messages: Any) -> None:
    node = FakeNode()
    drawn = AnnotatedPublisher(node, Metrics())  # type: ignore[arg-type]
    picture = Picture(lambda: None, stamp_ns=5_000_000_007, frame_id="optical")
    reply = QueryReply(Query("what"), answers=[Answer("a mug", (Region.box(1, 2, 30, 40),))])
    node.topics["~/annotated"].subscribers = 0
    drawn.draw(picture, np.zeros((48, 64, 3), np.uint8), reply)
    (sent,) = node.topics["~/annotations"].sent
    assert (sent.points[0].timestamp, sent.texts[0].text) == (STAMP, "a mug")
    assert node.topics["~/annotated"].sent == []
    node.topics["~/annotations"].subscribers = 0
    node.topics["~/annotated"].subscribers = 1
    drawn.draw(picture, np.zeros((48, 64, 3), np.uint8), reply)
    assert len(node.topics["~/annotations"].sent) == 1
    assert node.topics["~/annotated"].sent[0].header.stamp == STAMP


def test_without_the_package_there_is_no_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove_msgs", None)
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", None)
    assert load_messages() is None
    node = FakeNode()
    AnnotatedPublisher(node, Metrics())  # type: ignore[arg-type]
    assert set(node.topics) == {"~/annotated"}
