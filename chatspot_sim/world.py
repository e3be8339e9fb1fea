"""A kitchen that changes: MuJoCo renders it, actions change it, its segmentation is the truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.actions import act_on
from chatspot_sim.appearance import View, draw_view
from chatspot_sim.kitchen import Item, Kitchen, rearrange
from chatspot_sim.mjcf import kitchen_model
from chatspot_sim.reach import thing_at, to_world_m
from chatspot_sim.sensor import sense
from chatspot_sim.truth import Part, Thing, Truth, mask_box, mask_polygon, shows

HIDDEN_PARTS = {"wire", "plug", "socket", "water"}  # not part of a thing's own outline
LABEL_ASPECTS = {"display": 1.42, "number": 1.21, "label": 1.52}  # width over height
MIN_PIXELS = 30  # smaller things are not in the truth
MIN_TEXT_HEIGHT = 0.035  # of the picture's height; smaller print cannot be read
DOOR_ANGLE = 1.85  # radians, a door open as far as it goes
DRAWER_TRAVEL = 0.34  # metres


@dataclass(frozen=True)
class Frame:
    """A picture (uint8 H x W x 3, RGB), its truth, and the thing number of every pixel.

    `labels` (int16 H x W) counts `truth.things` from 1; 0 is the room.
    """

    rgb: NDArray[np.uint8]
    truth: Truth
    labels: NDArray[np.int16]


@dataclass(frozen=True)
class _Seen:
    """A rendered picture and its things, before the sensor."""

    clean_rgb: NDArray[np.uint8]
    things: tuple[Thing, ...]
    labels: NDArray[np.int16]


class World:
    """One kitchen with its camera and actions. Use it from one thread."""

    def __init__(self, kitchen: Kitchen, width: int = 640, height: int = 480) -> None:
        """Build the model. Raises ValueError if width or height is not positive."""
        if width < 1 or height < 1:
            raise ValueError(f"a picture needs at least 1 x 1 pixels (got {width} x {height})")
        self.kitchen = kitchen
        self.width, self.height = width, height
        built = kitchen_model(kitchen, width, height)
        self._toggles = built.toggles
        self._model = mujoco.MjModel.from_xml_string(built.xml, built.assets)
        self._data = mujoco.MjData(self._model)
        self._renderer: mujoco.Renderer | None = None
        self._noise = np.random.default_rng([kitchen.seed, 77])
        self._seen: dict[bool, _Seen] = {}
        self._depth_m: NDArray[np.float32] | None = None
        self._names = [
            [*self._model.geom(i).name.split("|"), "", ""][:2] for i in range(self._model.ngeom)
        ]
        self._visible_rgba = self._model.geom_rgba.copy()
        self._refresh()
        self.look_from(kitchen.view)

    def close(self) -> None:
        """Free the rendering context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look_from(self, view: View) -> None:
        """Move the camera."""
        self.kitchen.view = view
        position, target = np.array(view.position), np.array(view.target)
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(right, forward), -forward], axis=1)
        self._model.cam_pos[0] = position
        mujoco.mju_mat2Quat(self._model.cam_quat[0], frame.flatten())
        self._model.cam_fovy[0] = view.fovy_deg
        mujoco.mj_forward(self._model, self._data)
        self._forget()

    def act(
        self, action: str, target: str, optical_m: Sequence[float] | None = None
    ) -> tuple[bool, str]:
        """Apply one skill (`open`, `pick`, ...) to a thing, named by id or by kind.

        `optical_m` is its place in the camera's optical frame, in m: of several things with that
        name, the one there is meant. Return whether that worked, and the effect or the reason.
        """
        if optical_m is not None:
            point_m = to_world_m(self.kitchen.view, optical_m)
            found = thing_at(self._model, self._data, self.kitchen, target, point_m)
            if isinstance(found, str):
                return False, found
            target = found.id
        done, message = act_on(self.kitchen, action, target)
        self._refresh()
        return done, message

    def set_state(self, item_id: str, attribute: str, value: str) -> None:
        """Set a thing's state directly, as a person in the room would."""
        item = self.kitchen.item(item_id)
        item.state[attribute] = value
        if attribute in ("door", "drawer"):
            item.opening = item.look["open_to"] if value == "open" else 0.0
        self._refresh()

    def set_opening(self, item_id: str, opening: float, value: str) -> None:
        """Leave a door or drawer open by a share of its way, 0 to 1; `value` is open or closed."""
        item = self.kitchen.item(item_id)
        item.opening = opening
        item.state["drawer" if "drawer" in item.state else "door"] = value
        self._refresh()

    def move(self, item_id: str, place: tuple[float, float, float]) -> None:
        """Put a thing elsewhere, in metres."""
        self.kitchen.item(item_id).place = place
        self._refresh()

    def move_light(self, by: NDArray[np.float64]) -> None:
        """Move the lamp by (x, y, z), in metres."""
        self._model.light_pos[0] += by
        self._refresh()

    def rearrange(self, rng: np.random.Generator) -> None:
        """Draw another moment of the kitchen: new states, moved or absent things, a new view."""
        rearrange(self.kitchen, rng)
        self._model.light_pos[0] = (
            rng.uniform(-1.2, 1.2), rng.uniform(-2.6, -1.2), rng.uniform(1.9, 2.8)
        )  # fmt: skip
        self._refresh()
        self.look_from(draw_view(rng, self.kitchen.width))

    def frame(self, stamp_ns: int = 0, measure_visibility: bool = False) -> Frame:
        """Take a picture of the current state.

        An unchanged kitchen is not rendered again: only the sensor's noise differs.
        """
        clean = self.clean_frame(stamp_ns, measure_visibility)
        return replace(clean, rgb=sense(clean.rgb, self.kitchen.look, self._noise))

    def clean_frame(self, stamp_ns: int = 0, measure_visibility: bool = False) -> Frame:
        """As `frame`, before the sensor."""
        if measure_visibility not in self._seen:
            things, labels = self._things(self._segment(), measure_visibility)
            self._seen[measure_visibility] = _Seen(self._render(), things, labels)
        seen = self._seen[measure_visibility]
        truth = Truth(self.width, self.height, seen.things, stamp_ns, self.kitchen.seed,
                      self.kitchen.split)  # fmt: skip
        return Frame(seen.clean_rgb, truth, seen.labels)

    def depth_m(self) -> NDArray[np.float32]:
        """Return the true depth along the camera's axis of every pixel of now, H x W, in m."""
        if self._depth_m is None:
            renderer = self._renderer_now()
            renderer.enable_depth_rendering()
            renderer.update_scene(self._data, "camera")
            self._depth_m = np.array(renderer.render(), np.float32)
            renderer.disable_depth_rendering()
        return self._depth_m

    @cached_property
    def _thing_of_geom(self) -> NDArray[np.int16]:
        order = {item.id: k + 1 for k, item in enumerate(self.kitchen.items)}
        own = [
            order.get(thing, 0) if part not in HIDDEN_PARTS else 0 for thing, part in self._names
        ]
        return np.array([*own, 0], np.int16)

    def _render(self) -> NDArray[np.uint8]:
        renderer = self._renderer_now()
        renderer.disable_segmentation_rendering()
        renderer.update_scene(self._data, "camera")
        return np.asarray(renderer.render())

    def _segment(self) -> NDArray[np.int32]:
        """Return the geom number of every pixel, -1 for none."""
        renderer = self._renderer_now()
        renderer.enable_segmentation_rendering()
        renderer.update_scene(self._data, "camera")
        return np.asarray(renderer.render()[..., 0], np.int32)

    def _renderer_now(self) -> mujoco.Renderer:
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._model, self.height, self.width)
        return self._renderer

    def _things(
        self, ids: NDArray[np.int32], measure_visibility: bool
    ) -> tuple[tuple[Thing, ...], NDArray[np.int16]]:
        owners = self._thing_of_geom[ids]
        counts = np.bincount(owners.ravel(), minlength=len(self.kitchen.items) + 1)
        found = [k for k in np.argsort(-counts, kind="stable") if k > 0 and counts[k] >= MIN_PIXELS]
        labels = np.zeros_like(owners)
        things = []
        parts = self._parts(ids)
        for number, k in enumerate(found, start=1):
            mask = owners == k
            labels[mask] = number
            item = self.kitchen.items[k - 1]
            shown = self._visible_fraction(k, mask) if measure_visibility else 1.0
            things.append(_thing(item, mask, tuple(parts.get(item.id, ())), shown))
        return tuple(things), labels

    @cached_property
    def _part_numbers(self) -> tuple[NDArray[np.int16], list[tuple[str, str]]]:
        """The (thing, part) number of every geom, and the names in that order."""
        names: list[tuple[str, str]] = list(dict.fromkeys((t, p) for t, p in self._names))
        numbers = {name: k for k, name in enumerate(names)}
        own = [numbers[(t, p)] for t, p in self._names]
        return np.array([*own, -1], np.int16), names

    def _parts(self, ids: NDArray[np.int32]) -> dict[str, list[Part]]:
        """Return the visible parts of every thing, by the thing's id."""
        numbers, names = self._part_numbers
        owners = numbers[ids]
        counts = np.bincount(owners[owners >= 0], minlength=len(names))
        parts: dict[str, list[Part]] = {}
        for k, (thing, part) in enumerate(names):
            if counts[k] >= MIN_PIXELS // 2 and thing != "room":
                box = mask_box(owners == k)
                parts.setdefault(thing, []).append(Part(part, box, int(counts[k])))
        return parts

    def _visible_fraction(self, k: int, mask: NDArray[np.bool_]) -> float:
        """Return the visible share of a thing's pixels, from a rendering of it alone."""
        mine = self._thing_of_geom[:-1] == k
        saved = self._model.geom_rgba.copy()
        self._model.geom_rgba[~mine, 3] = 0.0
        try:
            alone = self._segment()
        finally:
            self._model.geom_rgba[:] = saved
        whole = int((alone >= 0).sum())
        return min(1.0, float(mask.sum()) / whole) if whole else 1.0

    def _refresh(self) -> None:
        """Copy the kitchen's data into the model: joints, places, visibility."""
        self._model.geom_rgba[:] = self._visible_rgba
        for item in self.kitchen.items:
            self._model.body(item.id).pos[:] = item.place
            if item.kind in ("fridge", "microwave"):
                self._data.joint(f"{item.id}/door").qpos[0] = item.opening * DOOR_ANGLE
            elif item.kind == "drawer":
                self._data.joint(f"{item.id}/drawer").qpos[0] = item.opening * DRAWER_TRAVEL
        for (thing, attribute, value), geoms in self._toggles.items():
            if self.kitchen.item(thing).state[attribute] != value:
                for name in geoms:
                    self._model.geom(name).rgba[3] = 0.0
        mujoco.mj_forward(self._model, self._data)
        self._forget()

    def _forget(self) -> None:
        """Render anew: something has moved."""
        self._seen.clear()
        self._depth_m = None


def _thing(item: Item, mask: NDArray[np.bool_], parts: tuple[Part, ...], shown: float) -> Thing:
    height, width = mask.shape
    by_name = {part.name: part for part in parts}
    seen = {k: v for k, v in item.state.items() if shows(by_name, k, v)}
    legible = any(
        _legible(by_name[name], aspect, width, height)
        for name, aspect in LABEL_ASPECTS.items()
        if name in by_name
    )
    return Thing(
        id=item.id, name=item.kind, colour=item.colour, box_xyxy_px=mask_box(mask),
        polygon_px=mask_polygon(mask), pixels=int(mask.sum()), state=seen,
        text=item.text if legible else "", inside=item.inside, visible_fraction=shown,
        parts=parts,
    )  # fmt: skip


def _legible(part: Part, aspect: float, width: int, height: int) -> bool:
    """Return True if print is large enough, not cut by the picture's edge, not half hidden."""
    x1, y1, x2, y2 = part.box_xyxy_px
    if y2 - y1 < MIN_TEXT_HEIGHT * height or x1 < 1 or y1 < 1 or x2 > width - 1 or y2 > height - 1:
        return False
    squeeze = (x2 - x1) / (y2 - y1) / aspect
    return 0.8 < squeeze < 1.5 and part.pixels > 0.55 * (x2 - x1) * (y2 - y1)
