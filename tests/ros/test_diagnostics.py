"""What /diagnostics says, and how bad it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from chatspot_ros.ros.diagnostics import CameraReport, NodeReport, to_diagnostics
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.request import Query, QueryReply

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
NODE = NodeReport(
    state="active",
    why_not="",
    broken="",
    waiting=0,
    queue_size=8,
    answered=3,
    values={"model": "tiny", "device": "cpu"},
)
CAMERA = CameraReport("front", "/front/image", True, frames=9, rate_hz=29.97, age_s=0.1, held=9)


def node_status(**changes: Any) -> Any:
    return to_diagnostics("/n", Time(sec=5), replace(NODE, **changes), []).status[0]


def camera_status(**changes: Any) -> Any:
    return to_diagnostics("/n", Time(sec=5), NODE, [replace(CAMERA, **changes)]).status[1]


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "answering; 3 answered"),
        ({"why_not": "the model is loading", "state": "configuring"}, WARN, "is loading"),
        ({"waiting": 8}, WARN, "full: 8"),
        ({"broken": "the weights are gone", "why_not": "x"}, ERROR, "the weights are gone"),
    ],
)
def test_levels_of_the_node(changes: dict[str, Any], level: bytes, words: str) -> None:
    status = node_status(**changes)
    assert (status.name, status.hardware_id, status.level) == ("/n", "cpu", level)
    assert words in status.message
    values = {value.key: value.value for value in status.values}
    assert values["model"] == "tiny"
    assert values["queue depth"] == str(changes.get("waiting", 0))
    assert values["state"] == changes.get("state", "active")


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "30.0 images a second"),
        ({"age_s": None, "frames": 0}, WARN, "no image yet on /front/image"),
        ({"age_s": 11.0, "max_age_s": 10.0}, WARN, "for 11.0 s"),
        ({"age_s": 11.0, "max_age_s": 0.0}, OK, "images a second"),
        ({"detections_held": 4}, WARN, "stamp of a frame"),
        ({"detections_held": 4, "detections_matched": 1}, OK, "images a second"),
        ({"subscribed": False, "age_s": None}, OK, "not subscribed"),
    ],
)
def test_levels_of_a_camera(changes: dict[str, Any], level: bytes, words: str) -> None:
    status = camera_status(**changes)
    assert (status.name, status.level) == ("/n: camera front", level)
    assert words in status.message


def test_the_figures_of_a_camera() -> None:
    status = camera_status(lost=2, held_bytes=2_500_000, detections=7)
    values = {value.key: value.value for value in status.values}
    assert (values["frames received"], values["frames dropped"]) == ("9", "2")
    assert values["frames held, MB"] == "2.5"
    assert values["detection messages received"] == "7"


# --- what is counted


def reply(status: str, message: str = "", number: int = 1) -> QueryReply:
    return QueryReply(Query("what"), id=f"q{number}", status=status, message=message)


def test_replies_by_status_and_the_last_error() -> None:
    now_s = [100.0]
    metrics = Metrics(lambda: now_s[0])
    for number, status in enumerate(("OK", "OK", "TIMEOUT", "CANCELLED", "NOT_ACTIVE")):
        metrics.note_reply(reply(status, "said", number))
    now_s[0] = 107.0
    values = metrics.values()
    assert metrics.answered == values["replies OK"] == 2
    # A cancel and an inactive node are nobody's error.
    assert values["last error"] == "q2 TIMEOUT: said"
    assert values["last error, s ago"] == "7"
    assert "last error" not in Metrics().values()


def test_a_failing_model_is_broken_until_it_answers_again() -> None:
    metrics = Metrics()
    metrics.note_reply(reply("MODEL_ERROR", "nan"))
    metrics.note_reply(reply("BAD_REGION", "outside"))
    assert "nan" in metrics.failing
    metrics.note_reply(reply("OK"))
    assert metrics.failing == ""
    assert metrics.values()["replies MODEL_ERROR"] == 1


def test_time_to_the_first_token_is_noted_once_per_question() -> None:
    now_s = [0.0]
    metrics = Metrics(lambda: now_s[0])
    assert metrics.values()["time to first token, s (median)"] == ""
    for wait_s in (1.0, 2.0, 9.0):
        word = metrics.first_token_timer()
        now_s[0] += wait_s
        word()
        now_s[0] += 100.0
        word()
    assert metrics.values()["time to first token, s (median)"] == "2"


def test_the_pace_of_answers_is_a_median() -> None:
    metrics = Metrics()
    metrics.note_answer(10, 0.5)
    assert metrics.values()["tokens a second (median)"] == "20.0"
    for _ in range(2):
        metrics.note_answer(20, 0.5)
    metrics.note_answer(0, 0.5)
    assert metrics.values()["tokens a second (median)"] == "40.0"
