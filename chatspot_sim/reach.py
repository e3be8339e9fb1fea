"""Which thing of a kitchen lies at a position: what a gripper that goes there touches."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.actions import find_all
from chatspot_sim.appearance import View
from chatspot_sim.kitchen import Item, Kitchen

REACH_M = 0.2  # a gripper finds its thing within so much of a position


def to_world_m(view: View, optical_m: Sequence[float]) -> NDArray[np.float64]:
    """Return a point of the camera's optical frame (x right, y down, z forward) in the kitchen's.

    Both in metres.
    """
    position, target = np.array(view.position), np.array(view.target)
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    x, y, z = optical_m
    return np.asarray(position + x * right + y * np.cross(forward, right) + z * forward)


def distance_m(
    model: mujoco.MjModel, data: mujoco.MjData, geoms: Sequence[int], point_m: NDArray[np.float64]
) -> float:
    """Return the distance of a point of the world to the nearest of these geoms' boxes, in m."""
    nearest = np.inf
    for geom in geoms:
        in_geom = data.geom_xmat[geom].reshape(3, 3).T @ (point_m - data.geom_xpos[geom])
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        beyond = np.maximum(np.abs(in_geom - centre) - half, 0.0)
        nearest = min(nearest, float(np.linalg.norm(beyond)))
    return nearest


def thing_at(
    model: mujoco.MjModel, data: mujoco.MjData, kitchen: Kitchen, target: str,
    point_m: NDArray[np.float64],
) -> Item | str:  # fmt: skip
    """Return the thing named `target` that lies at a point of the world, or the problem."""
    named = find_all(kitchen, target)
    if not named:
        there = ", ".join(item.id for item in kitchen.items)
        return f"there is no {target!r} in this kitchen; there are {there}"
    owner = [model.geom(k).name.split("|")[0] for k in range(model.ngeom)]
    shown = model.geom_rgba[:, 3] > 0
    far_m = {
        item.id: distance_m(
            model, data, [k for k, own in enumerate(owner) if own == item.id and shown[k]], point_m
        )
        for item in named
    }
    nearest = min(named, key=lambda item: far_m[item.id])
    if far_m[nearest.id] > REACH_M:
        return (
            f"there is no {target!r} at this position: the nearest, {nearest.id}, is "
            f"{far_m[nearest.id]:.2f} m away; ask again where it is"
        )
    return nearest
