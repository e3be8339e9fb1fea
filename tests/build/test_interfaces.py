"""The interfaces: names, comments of the fields, contents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chatspot_ros.action import AskRegion
from chatspot_ros.msg import ActionStep, Region, RegionAnswer
from chatspot_ros.srv import KitchenAct, RegionQuery
from geometry_msgs.msg import Point32

ROOT = Path(__file__).resolve().parents[2]
INTERFACE_FILES = sorted(
    path
    for folder in ("msg", "srv", "action", "third_party/vision_msgs/msg")
    for path in (ROOT / folder).iterdir()
)

STATUS = {
    "OK": 0,
    "BAD_REQUEST": 1,
    "BAD_REGION": 2,
    "BAD_IMAGE": 3,
    "NO_IMAGE": 4,
    "STALE_IMAGE": 5,
    "FRAME_EXPIRED": 6,
    "BUSY": 7,
    "TIMEOUT": 8,
    "CANCELLED": 9,
    "NOT_ACTIVE": 10,
    "MODEL_ERROR": 11,
    "SMALL_TALK": 12,
    "UNSUPPORTED": 13,
    "COMMAND": 14,
    "STOP": 15,
}


def sections(path: Path) -> list[str]:
    return re.split(r"^---$", path.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("path", INTERFACE_FILES, ids=lambda path: path.name)
def test_every_field_is_explained(path: Path) -> None:
    lines = path.read_text().splitlines()
    unexplained = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line and not line.startswith(("#", "---")) and not before.startswith("#")
    ]
    assert unexplained == []


@pytest.mark.parametrize("path", INTERFACE_FILES, ids=lambda path: path.name)
def test_every_interface_begins_with_what_it_is(path: Path) -> None:
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert second == "" or second.startswith("# ")


def test_ask_region_has_the_fields_of_region_query() -> None:
    assert (
        AskRegion.Goal.get_fields_and_field_types()
        == RegionQuery.Request.get_fields_and_field_types()
    )
    assert (
        AskRegion.Result.get_fields_and_field_types()
        == RegionQuery.Response.get_fields_and_field_types()
    )


def test_ask_region_says_the_same_as_region_query() -> None:
    title = re.compile(r"\A(#.*\n)+")
    request, response = sections(ROOT / "srv/RegionQuery.srv")
    goal, result, _ = sections(ROOT / "action/AskRegion.action")
    assert title.sub("", goal) == title.sub("", request)
    assert result.strip() == response.strip()


@pytest.mark.parametrize("holder", [RegionQuery.Response, AskRegion.Result])
def test_status_constants(holder: type) -> None:
    named = {name: getattr(holder, name) for name in dir(type(holder)) if name.isupper()}
    assert {name: value for name, value in named.items() if name[0] != "_"} == STATUS


def test_a_request_asks_about_the_newest_whole_image_by_default() -> None:
    request = RegionQuery.Request()
    assert request.camera == ""
    assert (request.stamp.sec, request.stamp.nanosec) == (0, 0)
    assert len(request.image.data) == 0
    assert request.regions == []
    assert request.use_detections is False
    assert (request.timeout.sec, request.timeout.nanosec) == (0, 0)


def test_interfaces_hold_what_is_put_into_them() -> None:
    box = Region(id="7", label="mug", points=[Point32(x=1.0, y=2.0), Point32(x=30.0, y=40.0)])
    step = ActionStep(action="open", target="fridge door", text="open the fridge door")
    answer = RegionAnswer(regions=[box], text="a mug", steps=[step], confidence=0.5)
    response = RegionQuery.Response(
        status=RegionQuery.Response.OK,
        answers=[answer],
        queued_s=1.0,
        seeing_s=2.0,
        answering_s=3.0,
    )
    assert response.answers[0].regions[0].points[1].y == 40.0
    assert AskRegion.Feedback(answer_index=2, text="mug").answer_index == 2
    assert KitchenAct.Request(step=step).step.action == "open"
    assert KitchenAct.Response(done=True, message="the door is open").done
