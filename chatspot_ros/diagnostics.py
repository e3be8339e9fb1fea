"""The node's health, for /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from chatspot_ros.camera_input import CameraInput
from chatspot_ros.query import OK
from chatspot_ros.query_service import QueryService

# Replies that are the node's own trouble, not the caller's.
_FAILURES = ("MODEL_ERROR",)


def to_diagnostics(
    node_name: str,
    stamp: Any,
    service: QueryService,
    inputs: Sequence[CameraInput],
    outcomes: Mapping[str, int],
    drawn: int,
) -> DiagnosticArray:
    """Return one status for the node.

    ERROR after a failure of the model, WARN while it cannot answer.
    """
    values: dict[str, object] = {
        "model": service.model,
        "pending": service.pending_count,
        "pictures drawn": drawn,
    }
    values |= {f"replies {status}": count for status, count in sorted(outcomes.items())}
    silent = []
    for camera in inputs:
        values[f"frames of {camera.feed.name}"] = camera.frame_count
        if camera.last_frame_s is None:
            silent.append(camera.topic)
        else:
            values[f"age of {camera.feed.name}, s"] = (
                f"{time.monotonic() - camera.last_frame_s:.1f}"
            )
    status = DiagnosticStatus(name=node_name, hardware_id="none")
    if any(outcomes.get(name) for name in _FAILURES):
        status.level, status.message = DiagnosticStatus.ERROR, "the model has failed; see the log"
    elif service.inactive_because:
        status.level, status.message = DiagnosticStatus.WARN, service.inactive_because
    elif silent:
        status.level, status.message = DiagnosticStatus.WARN, f"no image yet on {', '.join(silent)}"
    else:
        status.level, status.message = (
            DiagnosticStatus.OK,
            f"answering; {outcomes.get(OK, 0)} answered so far",
        )
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
