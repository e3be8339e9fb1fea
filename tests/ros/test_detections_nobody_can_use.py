"""One broken detection costs itself: not its message, not the log, not the truth."""

from __future__ import annotations

import math
from typing import Any

import pytest

BROKEN: dict[str, dict[str, float]] = {
    "theta inf": {"theta": math.inf}, "theta -inf": {"theta": -math.inf},
    "theta nan": {"theta": math.nan}, "centre nan": {"x": math.nan}, "centre inf": {"x": math.inf},
    "size nan": {"size": math.nan}, "size inf": {"size": math.inf}, "size 0": {"size": 0.0},
    "size below 0": {"size": -4.0}, "outside": {"x": 999.0},
}  # fmt: skip


def detection(x: float = 20.0, size: float = 10.0, theta: float = 0.0, name: str = "mug",
              scores: tuple[tuple[str, float], ...] = ()) -> Any:  # fmt: skip
    from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

    one = Detection2D(id=name)
    one.bbox.center.position.x, one.bbox.center.position.y = x, 20.0
    one.bbox.center.theta = theta
    one.bbox.size_x = one.bbox.size_y = size
    for label, score in scores or ((name, 0.9),):
        guess = ObjectHypothesisWithPose()
        guess.hypothesis.class_id, guess.hypothesis.score = label, score
        one.results.append(guess)
    return one


def seen(fake: Any, *detections: Any) -> Any:
    """A frame with these detections; its stamp."""
    from vision_msgs.msg import Detection2DArray

    stamp = fake.publish_frame()
    message = Detection2DArray(detections=list(detections))
    message.header.stamp = stamp
    fake.detections.publish(message)
    return stamp


@pytest.mark.parametrize("kind", BROKEN)
def test_the_others_of_the_message_are_asked_about(fake: Any, kind: str) -> None:
    before = len(fake.process.lines)
    stamp = seen(fake, detection(name="a"), detection(**BROKEN[kind], name="bad"),
                 detection(name="b"))  # fmt: skip
    reply = fake.ask("what", stamp=stamp, use_detections=True)
    assert reply.name == "OK", reply.message
    assert [answer.regions[0].id for answer in reply.answers] == ["a", "b"]
    told = [line for line in fake.log_since(before) if "Traceback" in line or "File " in line]
    assert told == []


def test_broken_detections_are_logged_in_one_line(fake: Any) -> None:
    before = len(fake.process.lines)
    for _ in range(5):
        stamp = seen(fake, detection(theta=math.inf, name="bad"), detection(name="a"))
        fake.ask("what", stamp=stamp, use_detections=True)
    about = [line for line in fake.log_since(before) if "detection" in line.lower()]
    assert len(about) <= 1


@pytest.mark.parametrize("scores", [
    (("bad", math.nan), ("mug", 0.5)), (("mug", 0.5), ("bad", math.nan)),
    (("bad", math.nan), ("worse", math.nan), ("mug", 0.1)), (("bad", -math.inf), ("mug", 0.0)),
    (("bad", math.inf), ("mug", 0.9)),
])  # fmt: skip
def test_a_score_that_is_no_number_does_not_win(
    fake: Any, scores: tuple[tuple[str, float], ...]
) -> None:
    stamp = seen(fake, detection(scores=scores))
    (answer,) = fake.ask("what", stamp=stamp, use_detections=True).answers
    assert answer.regions[0].label == "mug"


def test_unusable_is_not_said_to_be_nothing(fake: Any) -> None:
    stamp = seen(fake, detection(x=999.0), detection(size=0.0))
    message = fake.ask("what", stamp=stamp, use_detections=True).message
    assert "2" in message
    assert "found nothing" not in message


def test_nothing_is_said_to_be_nothing(fake: Any) -> None:
    assert "nothing" in fake.ask("what", stamp=seen(fake), use_detections=True).message
