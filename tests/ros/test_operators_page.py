"""The examples of docs/operators.md: commands can be read, requests are answered by a node."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from chatspot_ros.action import AskRegion
from chatspot_ros.srv import RegionQuery
from geometry_msgs.msg import Point
from sensor_msgs.msg import CompressedImage

from chatspot_ros.tools.cli import make_parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
KINDS = {
    "RegionQuery": RegionQuery.Request,
    "AskRegion": AskRegion.Goal,
    "Point": Point,
}


def lines() -> Iterator[str]:
    """Yield the lines of the page's code blocks; those that end with a backslash are joined."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Set the fields of a message; an unknown one is an error."""
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        assert name in kinds, f"{type(message).__name__} has no {name}"
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, list):
            region, point = "chatspot_ros/Region", "geometry_msgs/Point32"
            made = {region: _region, point: _point}[kinds[name].removeprefix("sequence<")[:-1]]
            setattr(message, name, [fill(made(), one) for one in value])
        else:
            setattr(message, name, value)
    return message


def _region() -> Any:
    from chatspot_ros.msg import Region

    return Region()


def _point() -> Any:
    from geometry_msgs.msg import Point32

    return Point32()


def requests() -> list[tuple[str, Any]]:
    """Return the requests of `ros2 service call`, `action send_goal` and `topic pub`, and those
    that are typed into a window, each with its line."""
    found = []
    for line in lines():
        words = shlex.split(line)
        if words[:1] == ["ros2"] and words[1] in ("service", "action", "topic"):
            kind = next(word for word in words if word.count("/") == 2 and word[0] != "/")
            found.append((line, fill(KINDS[kind.rpartition("/")[2]](), yaml.safe_load(words[-1]))))
        elif line.startswith("'"):
            found.append((line, RegionQuery.Request(question=yaml.safe_load(line))))
        elif line.startswith("{"):
            found.append((line, fill(RegionQuery.Request(), yaml.safe_load(line))))
    return found


def test_every_request_is_answered(fake: Any) -> None:
    data = cv2.imencode(".png", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()
    asked = requests()
    assert len(asked) >= 7
    for line, message in asked:
        if isinstance(message, Point):
            assert (message.x, message.y) == (320.0, 240.0)
            continue
        request = message
        if isinstance(message, AskRegion.Goal):
            request = RegionQuery.Request(question=message.question)
        request.image = CompressedImage(format="png", data=data)
        reply = fake.finish(fake.client.call_async(request))
        assert (reply.status, len(reply.answers)) == (0, 1), f"{line}: {reply.message}"


@pytest.mark.parametrize("line", [line for line in lines() if line.startswith("chatspot ")])
def test_every_command_can_be_read(line: str) -> None:
    words = shlex.split(line)[1:]
    options, more = make_parser(words[0]).parse_known_args(words)
    assert options.execute
    assert not [word for word in more if word.startswith("-")]
