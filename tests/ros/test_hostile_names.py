"""Names that come with a request: bounded, and never able to write a line of the log themselves."""

from __future__ import annotations

from typing import Any

import pytest

FORGED = "x\n[FATAL] [1.0] [region_query_node]: forged\r\x1b[2J\x1b]0;owned\x07\u2028\u202e\x00y"
LONG = "n" * 100_000


@pytest.fixture(scope="module")
def stamp(fake: Any) -> Any:
    return fake.publish_frame()


def fields(fake: Any, stamp: Any, text: str) -> dict[str, dict[str, Any]]:
    """Each text that a client chooses, set to `text`."""
    from sensor_msgs.msg import CompressedImage

    text = text.replace("\0", "")  # what a C string ends with cannot be sent
    picture = CompressedImage(format=text, data=b"\xff\xd8\xff")
    framed = CompressedImage(format="jpeg", data=b"\xff\xd8\xff")
    framed.header.frame_id = text
    return {
        "question": {"question": f"break {text}"[:1900], "stamp": stamp},
        "session": {"session": text, "stamp": stamp},
        "camera": {"camera": text},
        "task": {"task": text, "stamp": stamp},
        "region id": {"regions": [fake.region((1, 1), name=text)], "stamp": stamp},
        "label": {"regions": [fake.region((1, 1), label=text)], "stamp": stamp},
        "bad region id": {"regions": [fake.region((99, 99), name=text)], "stamp": stamp},
        "format": {"image": picture},
        "frame_id": {"image": framed},
    }


NAMES = ("question", "session", "camera", "task", "region id", "label", "bad region id", "format",
         "frame_id")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_the_log_is_forged(fake: Any, stamp: Any, name: str) -> None:
    before = len(fake.process.lines)
    asked = fields(fake, stamp, FORGED)[name]
    asked.setdefault("question", "break it")  # an error of the model is logged, with its query
    fake.ask(**asked)
    for line in fake.log_since(before):
        assert not line.startswith("[FATAL]")
        assert not set(line) & set("\x1b\x07\r\u2028\u202e")


@pytest.mark.parametrize("name", NAMES)
def test_a_message_has_no_control_characters(fake: Any, stamp: Any, name: str) -> None:
    asked = fields(fake, stamp, FORGED)[name]
    asked.setdefault("question", "what")
    message = fake.ask(**asked).message
    assert not set(message) & set("\n\r\x1b\x07\u2028\u202e")


@pytest.mark.parametrize("name", ["session", "camera", "task", "region id", "label"])
def test_a_name_that_is_very_long_is_refused_or_cut(fake: Any, stamp: Any, name: str) -> None:
    before = len(fake.process.lines)
    asked = fields(fake, stamp, LONG)[name]
    asked.setdefault("question", "what")
    reply = fake.ask(**asked)
    assert len(reply.message) < 1000
    if name in ("session", "region id", "label"):
        assert reply.name == "BAD_REQUEST"
    assert all(len(line) < 2000 for line in fake.log_since(before))


def test_the_log_of_a_query_is_one_short_line(fake: Any, stamp: Any) -> None:
    before = len(fake.process.lines)
    fake.ask("describe <box>1,2,30,40</box> " + "very " * 300, stamp=stamp)
    (line,) = (one for one in fake.log_since(before) if "OK" in one and "very" in one)
    assert len(line) < 600


def test_a_label_of_a_detection_is_bounded(fake: Any) -> None:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    at = fake.publish_frame()
    message = Detection2DArray()
    message.header.stamp = at
    one = Detection2D(id=FORGED.replace("\0", "") + LONG)
    one.bbox.center.position.x = one.bbox.center.position.y = 20.0
    one.bbox.size_x = one.bbox.size_y = 10.0
    guess = ObjectHypothesisWithPose()
    guess.hypothesis.class_id = FORGED.replace("\0", "") + LONG
    guess.hypothesis.score = 0.9
    one.results.append(guess)
    message.detections.append(one)
    fake.detections.publish(message)
    reply = fake.ask("what", stamp=at, use_detections=True)
    (answer,) = reply.answers
    (region,) = answer.regions
    assert len(region.label) <= 256
    assert len(region.id) <= 256
    assert not set(region.label + region.id) & set("\n\r\x1b\x07")
