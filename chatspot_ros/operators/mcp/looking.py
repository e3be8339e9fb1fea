"""The tools list_cameras, look and list_detections: each returns its values and its picture."""

from __future__ import annotations

from collections.abc import Sequence

from chatspot_ros.core.regions import Region
from chatspot_ros.operators.client import Frame
from chatspot_ros.operators.mcp.arguments import region_of
from chatspot_ros.operators.mcp.pictures import part_around, show_part
from chatspot_ros.operators.mcp.results import (
    CamerasResult,
    LookResult,
    frame_name,
    seen_picture,
    seen_region,
)
from chatspot_ros.operators.mcp.robot import Robot

_DETECTIONS_S = 3.0


async def list_cameras(robot: Robot) -> tuple[CamerasResult, None]:
    """Return the names of the cameras. Raises NotActiveError: the node is not there."""
    names = await robot.cameras()
    return CamerasResult(cameras=list(names), problem=robot.problem()), None


async def look(
    robot: Robot, camera: str, region: Sequence[float], with_detections: bool
) -> tuple[LookResult, bytes]:
    """Return the newest picture, or a part of it.

    Raises:
        ChatspotError: no picture comes, or camera or region cannot be used.
    """
    frame = await robot.look(await robot.camera(camera))
    found = frame.detections if with_detections else ()
    return _seen(frame, found, [region_of(region, frame)] if region else [], robot.problem())


async def list_detections(robot: Robot, camera: str) -> tuple[LookResult, bytes]:
    """Return the newest picture that has detections, and these.

    Raises:
        ChatspotError: no picture comes, or there is no such camera.
    """
    frame = await robot.with_detections(await robot.camera(camera), _DETECTIONS_S)
    note = "" if frame.detections else "no detections have come: the robot may have no detector"
    return _seen(frame, frame.detections, [], note or robot.problem())


def _seen(
    frame: Frame, detections: Sequence[Region], part_of: Sequence[Region], note: str
) -> tuple[LookResult, bytes]:
    if detections and frame.detections_stamp_ns not in (0, frame.stamp_ns):
        older = frame_name(frame.detections_stamp_ns)
        note = f"the detections are of frame {older}, a little before this picture; {note}"
    shown = show_part(frame.image_rgb, detections, (), part_around(frame.image_rgb, part_of))
    values = LookResult(
        picture=seen_picture(frame, shown),
        detections=[seen_region(one, number) for number, one in enumerate(detections, 1)],
        note=note.removesuffix("; "),
    )
    return values, shown.jpeg
