"""Where the thing in a region is in space: the result of a depth picture and a camera's model."""

from __future__ import annotations

from dataclasses import dataclass

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Where the thing in a region is, or in `note` why that is not known.

    `xyz_m` is the middle of its near surface in the frame `frame_id` (optical: x right, y down,
    z forward) at `stamp_ns`; `target_xyz_m` is the same point in `target_frame`. None: not known.
    `extent_m` is the size of its visible part along the axes of `frame_id`; 0: not known.
    `depth_share` in [0, 1] is the share of the region's pixels with a usable depth.
    """

    xyz_m: Vector | None = None
    extent_m: Vector = (0.0, 0.0, 0.0)
    depth_share: float = 0.0
    note: str = ""
    frame_id: str = ""
    stamp_ns: int = 0
    target_xyz_m: Vector | None = None
    target_frame: str = ""
