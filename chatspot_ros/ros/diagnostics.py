"""Messages for /diagnostics: the state of the node and of its cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class CameraReport:
    """The state of one camera. Counts are since the start; `rate_hz` is over about a second.

    `silence`: why no image comes; empty if they come. `age_s` None: no frame has come since the
    node subscribed. `detections_matched` of the `detections_held` messages have a frame that is
    held. `detections_unusable` counts boxes that could not be asked about.
    """

    name: str
    topic: str
    subscribed: bool
    detections_topic: str = ""
    frames: int = 0
    lost: int = 0
    rate_hz: float = 0.0
    age_s: float | None = None
    silence: str = ""
    max_age_s: float = 0.0
    held: int = 0
    held_bytes: int = 0
    detections: int = 0
    detections_held: int = 0
    detections_matched: int = 0
    detections_unusable: int = 0


@dataclass(frozen=True)
class NodeReport:
    """The state of the node. `why_not`: why it does not answer; empty if it does.

    `broken`: the fault, if the model cannot be loaded or fails; else empty. `values` are copied
    into the message.
    """

    state: str
    why_not: str
    broken: str
    waiting: int
    queue_size: int
    answered: int
    values: Mapping[str, object]


def to_diagnostics(
    node_name: str, stamp: Any, node: NodeReport, cameras: Sequence[CameraReport]
) -> DiagnosticArray:
    """Return a message with one status for the node and one for each camera.

    ERROR: the model cannot be loaded or fails. WARN: the node does not answer, its queue is full,
    or images or detections should come and do not.
    """
    hardware = str(node.values.get("device", "")) or "none"
    level, message = _judge_node(node)
    values = {"state": node.state, "queue depth": node.waiting, **node.values}
    statuses = [_status(node_name, hardware, level, message, values)]
    for camera in cameras:
        level, message = _judge_camera(camera)
        name = f"{node_name}: camera {camera.name}"
        statuses.append(_status(name, camera.topic, level, message, _camera_values(camera)))
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array


def _judge_node(node: NodeReport) -> tuple[bytes, str]:
    if node.broken:
        return ERROR, node.broken
    if node.why_not:
        return WARN, node.why_not
    if node.waiting >= node.queue_size:
        return WARN, f"the queue is full: {node.waiting} questions wait"
    return OK, f"answering; {node.answered} answered so far"


def _judge_camera(camera: CameraReport) -> tuple[bytes, str]:
    if not camera.subscribed:
        return OK, "not subscribed: the node is not active"
    if camera.age_s is None:
        return WARN, f"no image yet on {camera.topic}{_because(camera)}"
    if 0 < camera.max_age_s < camera.age_s:
        return WARN, f"no image on {camera.topic} for {camera.age_s:.1f} s{_because(camera)}"
    if camera.held and camera.detections_held and not camera.detections_matched:
        return WARN, "no detections have the stamp of a frame"
    return OK, f"{camera.rate_hz:.1f} images a second"


def _because(camera: CameraReport) -> str:
    return f": {camera.silence}" if camera.silence else ""


def _camera_values(camera: CameraReport) -> dict[str, object]:
    return {
        "topic": camera.topic,
        "detections topic": camera.detections_topic,
        "frames received": camera.frames,
        "frames dropped": camera.lost,
        "images a second": f"{camera.rate_hz:.1f}",
        "newest frame came, s ago": "" if camera.age_s is None else f"{camera.age_s:.1f}",
        "frames held": camera.held,
        "frames held, MB": f"{camera.held_bytes / 1e6:.1f}",
        "detection messages received": camera.detections,
        "detection messages held": camera.detections_held,
        "detection messages with a frame": camera.detections_matched,
        "detections left out": camera.detections_unusable,
    }


def _status(
    name: str, hardware: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        name=name, hardware_id=hardware, level=level, message=message, values=pairs
    )
