import shlex
from typing import Any

import pytest
import yaml
from geometry_msgs.msg import Point32
from hypothesis import given
from hypothesis import strategies as st

from chatspot_ros import msg, srv
from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Ask
from chatspot_ros.operators.service_call import service_call

ELEMENTS = {"regions": msg.Region, "points": Point32}
ASK = Ask(
    "Is it 'open'? $HOME `x` \"now\"\\",
    (Region.box(1, 2, 3.456, 4), Region(((5, 6), (7, 8)), id="d", label="a: cup", stroke=True)),
    camera="front",
    stamp_ns=12_000_000_034,
    use_detections=True,
    marks=True,
    task="state",
    choices=("yes", "it's: no", "\U0001f44d"),
    json_schema='{"type": "string"}',
    session="s-1",
    timeout_s=1.5,
)


def request_of(line: str) -> dict:
    words = shlex.split(line)
    assert words[:3] == ["ros2", "service", "call"]
    assert words[4] == "chatspot_ros/srv/RegionQuery"
    assert len(words) == 6
    return yaml.safe_load(words[5])


def fill(message: Any, fields: dict) -> Any:
    """Set a message's fields, which refuse a value of another type; return the message."""
    for name, value in fields.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, list):
            made = [fill(ELEMENTS[name](), one) for one in value] if name in ELEMENTS else value
            setattr(message, name, made)
        else:
            setattr(message, name, value)
    return message


def test_the_line_asks_the_same_over_ros():
    """As `ros2 service call` does it: YAML into the request's fields."""
    request = fill(srv.RegionQuery.Request(), request_of(service_call(ASK)))
    assert request.question == ASK.question
    assert [(point.x, point.y) for point in request.regions[0].points] == [
        (1, 2),
        (pytest.approx(3.46), 4),
    ]
    assert (request.regions[1].label, request.regions[1].stroke) == ("a: cup", True)
    assert (request.stamp.sec, request.stamp.nanosec) == (12, 34)
    assert (request.timeout.sec, request.timeout.nanosec) == (1, 500_000_000)
    assert (request.camera, request.task, request.session) == ("front", "state", "s-1")
    assert tuple(request.choices) == ASK.choices
    assert request.json_schema == ASK.json_schema
    assert request.use_detections
    assert request.marks


def test_what_is_not_asked_is_not_in_the_line():
    assert request_of(service_call(Ask("What?"))) == {"question": "What?"}
    assert shlex.split(service_call(Ask("What?"), "/robot/node"))[3] == "/robot/node/region_query"


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_question_survives_shell_and_yaml(question):
    line = service_call(Ask(question))
    assert "\n" not in line or not question.isprintable()
    assert request_of(line)["question"] == question
