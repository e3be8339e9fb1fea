"""A question as the line that asks it from a terminal: `ros2 service call ...`."""

from __future__ import annotations

import json
import shlex

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Ask

_NS = 1_000_000_000


def service_call(ask: Ask, node: str = "/region_query_node") -> str:
    """Return the shell line that asks the node `node` (its full name) the same.

    A picture that is sent along is left out: no line could hold it.
    """
    fields = [f"question: {_quoted(ask.question)}"]
    if ask.camera:
        fields.append(f"camera: {_quoted(ask.camera)}")
    if ask.stamp_ns:
        fields.append(f"stamp: {_time(ask.stamp_ns)}")
    if ask.regions:
        fields.append(f"regions: [{', '.join(_region(one) for one in ask.regions)}]")
    fields += [f"{name}: true" for name in ("use_detections", "marks") if getattr(ask, name)]
    if ask.choices:
        fields.append(f"choices: [{', '.join(map(_quoted, ask.choices))}]")
    fields += [
        f"{name}: {_quoted(getattr(ask, name))}"
        for name in ("task", "json_schema", "session")
        if getattr(ask, name)
    ]
    if ask.timeout_s:
        fields.append(f"timeout: {_time(round(ask.timeout_s * _NS))}")
    request = shlex.quote("{" + ", ".join(fields) + "}")
    service = shlex.quote(f"{node}/region_query")
    return f"ros2 service call {service} chatspot_ros/srv/RegionQuery {request}"


def _quoted(text: str) -> str:
    """Return a text as YAML writes it in double quotes, what is not printable by its number.

    JSON's own numbers will not do: YAML takes the two of a pair for two characters.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)


def _time(ns: int) -> str:
    return f"{{sec: {ns // _NS}, nanosec: {ns % _NS}}}"


def _region(region: Region) -> str:
    # A point without a decimal point would be an integer, which ROS takes for no float.
    points = ", ".join(
        f"{{x: {round(x, 2)}, y: {round(y, 2)}}}" for x, y in _as_floats(region.points_px)
    )
    fields = [f"points: [{points}]"]
    fields += [
        f"{name}: {_quoted(getattr(region, name))}"
        for name in ("id", "label")
        if getattr(region, name)
    ]
    if region.stroke:
        fields.append("stroke: true")
    return "{" + ", ".join(fields) + "}"


def _as_floats(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]
