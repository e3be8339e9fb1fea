"""Films of simulated kitchens for `benchmarks.watch`: scripted changes, and what is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_sim.detector import Detection, DetectorSettings, detect
from chatspot_sim.kitchen import STATES, Item, draw_kitchen
from chatspot_sim.sensor import sense
from chatspot_sim.truth import Truth
from chatspot_sim.world import World

Rgb = NDArray[np.uint8]

SIZE = (480, 360)
# A picture every so many seconds. Nothing is scripted at first; then something changes every so
# many seconds. A kitchen is watched on after its last change.
SHOT_S, STILL_S, PERIOD_S, LAST_S = 2, 60, 30, 70
MOST_CHANGES = 17
# A slow door takes so many seconds, in steps of so many; from this share on it is open.
SLOW_S, SLOW_STEP_S, OPEN_FROM = 60, 10, 0.25
# The lamp or another thing moves, and a shadow begins to pass, so long after every second change.
DISTRACTED_S, SHADOW_S = 15, 8
WATCHED = {"door", "drawer", "burner", "water", "contents"}
MOVED = ("bottle", "jar", "apple", "lemon", "pineapple")
OTHERS = ("kettle", "plate", "knife", "banana")
_SLOW_SHARE, _MOVED_SHARE = 0.12, 0.2
# Standard deviation of a pixel's noise, in grey levels.
_LEAST_NOISE = 4.0


@dataclass(frozen=True)
class Change:
    """A scripted change of a visible thing. `attribute` "": it was moved.

    `until_s`: the same thing changes again, or the film ends.
    """

    kind: str
    item: str
    attribute: str
    value: str
    at_s: float
    until_s: float = float("inf")


@dataclass(frozen=True)
class Shot:
    """One picture (uint8 H x W x 3, RGB), what the detector finds, and the true states by id."""

    now_s: float
    rgb: Rgb
    detections: list[Detection]
    states: dict[str, dict[str, str]]


@dataclass
class Film:
    """A kitchen of the test split, and the changes that were made in it."""

    number: int
    changes: list[Change] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """Add a change; it ends the time in which the one before of the same kind can be seen."""
        self.changes = [
            replace(one, until_s=change.at_s)
            if (one.item, one.attribute) == (change.item, change.attribute)
            and one.until_s == float("inf")
            else one
            for one in self.changes
        ]
        self.changes.append(change)


def film(made: Film, most: int) -> Iterator[Shot]:
    """Yield the pictures; `made` gets its changes, `most` at most."""
    rng = np.random.default_rng([made.number, 25])
    most = min(most, MOST_CHANGES)
    kitchen = draw_kitchen(made.number, "test")
    with World(kitchen, *SIZE) as world:
        script = _Script(made, world, rng)
        sensor = _Sensor(world, rng)
        now_s, next_s, end_s = 0, STILL_S, STILL_S + LAST_S
        while now_s < end_s:
            if now_s >= next_s and len(made.changes) < most and script.is_idle:
                script.begin(now_s)
                next_s = now_s + PERIOD_S
                end_s = now_s + LAST_S + (0 if script.is_idle else SLOW_S)
            elif now_s % (2 * PERIOD_S) // SHOT_S == DISTRACTED_S // SHOT_S and now_s > STILL_S:
                script.distract()
                sensor.begin_shadow(now_s)
            script.go_on(now_s)
            yield sensor.shoot(now_s)
            now_s += SHOT_S


class _Script:
    """Draws and makes the changes of one kitchen."""

    def __init__(self, made: Film, world: World, rng: np.random.Generator) -> None:
        self._made, self._world, self._rng = made, world, rng
        # A slow door: its item, its attribute, the time of its beginning, from and to which share.
        self._slow: tuple[Item, str, int, float, float] | None = None

    @property
    def is_idle(self) -> bool:
        """True where no door is on its way."""
        return self._slow is None

    def begin(self, now_s: int) -> None:
        """Make one change that is to be seen, or begin a slow one."""
        before = self._truth()
        drawn = self._rng.random()
        if drawn < _MOVED_SHARE and self._move(now_s, before, MOVED):
            return
        choices = [
            (item, name)
            for item in self._world.kitchen.items
            for name in STATES.get(item.kind, {})
            if name in WATCHED and name in _shown(before, item.id)
        ]
        while choices:
            item, name = choices.pop(int(self._rng.integers(len(choices))))
            values = STATES[item.kind][name]
            old = item.state[name]
            new = values[1] if old == values[0] else values[0]
            if drawn > 1 - _SLOW_SHARE and name in ("door", "drawer"):
                end = item.look["open_to"] if new == "open" else 0.0
                self._slow = item, name, now_s, item.opening, end
                return
            self._world.set_state(item.id, name, new)
            if _shown(self._truth(), item.id).get(name) == new:
                self._made.add(Change(name, item.id, name, new, now_s))
                return
            self._world.set_state(item.id, name, old)

    def go_on(self, now_s: int) -> None:
        """Move a slow door a step."""
        if self._slow is None or (now_s - self._slow[2]) % SLOW_STEP_S:
            return
        item, name, began_s, start, end = self._slow
        share = min((now_s - began_s) / SLOW_S, 1.0)
        old = item.state[name]
        opening = start + share * (end - start)
        value = "open" if opening >= OPEN_FROM else "closed"
        self._world.set_opening(item.id, opening, value)
        if value != old:
            self._made.add(Change(f"slow_{name}", item.id, name, value, now_s))
        if share == 1.0:
            self._slow = None

    def distract(self) -> None:
        """Move a thing that nobody watches, or the lamp a little."""
        if self._rng.random() < 0.5 and self._move(0, self._truth(), OTHERS):
            return
        self._world.move_light(self._rng.normal(0, 0.05, 3))

    def _move(self, now_s: int, before: Truth, kinds: tuple[str, ...]) -> bool:
        items = [
            item
            for item in self._world.kitchen.items
            if item.kind in kinds and not item.inside and before.of_kind(item.kind)
        ]
        if not items:
            return False
        item = items[int(self._rng.integers(len(items)))]
        x, y, z = item.place
        self._world.move(item.id, (x + float(self._rng.choice([-0.07, 0.07])), y, z))
        if kinds is MOVED and any(one.id == item.id for one in self._truth().things):
            self._made.add(Change("moved", item.id, "", "", now_s))
        return True

    def _truth(self) -> Truth:
        return self._world.clean_frame().truth


class _Sensor:
    """Takes the pictures: exposure that drifts, shadows that pass, noise, a detector's errors."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._phase = float(rng.uniform(0, 2 * np.pi))
        self._shadow = (-100, 0.0, 1.0, 1.0, 8.0)
        # Noise is drawn once and shifted: the sensor does the rest.
        spread = max(world.kitchen.look.noise, _LEAST_NOISE)
        self._look = replace(world.kitchen.look, noise=0.0)
        self._noise = rng.normal(0, spread, (world.height, world.width)).astype(np.float32)

    def begin_shadow(self, now_s: int) -> None:
        """Let a person's shadow pass from now on, from either side."""
        rng = self._rng
        side = float(rng.choice([-1, 1]))
        self._shadow = (now_s, side, rng.uniform(60, 200), rng.uniform(0.5, 0.8),
                        rng.uniform(4, 12))  # fmt: skip

    def shoot(self, now_s: int) -> Shot:
        """Return the picture and the detections of this second."""
        frame = self._world.clean_frame()
        gain = 1 + 0.2 * np.sin(2 * np.pi * now_s / 97 + self._phase)
        lit = np.clip(self._shade(frame.rgb, now_s) * gain, 0, 255).astype(np.uint8)
        grain = np.roll(self._noise, self._rng.integers(self._noise.size))
        sensed = sense(lit, self._look, self._rng) + grain[..., None]
        rgb = np.clip(sensed, 0, 255).astype(np.uint8)
        found = detect(frame.truth, DetectorSettings(), self._rng)
        states = {thing.id: dict(thing.state) for thing in frame.truth.things}
        return Shot(float(now_s), rgb, found, states)

    def _shade(self, rgb: Rgb, now_s: int) -> NDArray[np.float32]:
        began_s, side, wide, share, softness = self._shadow
        passed = (now_s - began_s) / SHADOW_S
        if not 0 <= passed <= 1:
            return rgb.astype(np.float32)
        height, width = rgb.shape[:2]
        x = width / 2 + side * (passed - 0.5) * (width + 2 * wide)
        corners = [[x - wide / 2, 0], [x + wide / 2, 0], [x + wide, height], [x - wide, height]]
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.array(corners, np.int32)], 1.0)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), softness), np.float32)
        return rgb * (1 - (1 - share) * mask[..., None])


def _shown(truth: Truth, item_id: str) -> dict[str, str]:
    """Return the states of a thing that a picture shows, {} where the detector finds it never."""
    least = DetectorSettings().min_pixels
    found = [one for one in truth.things if one.id == item_id and one.pixels >= 2 * least]
    return found[0].state if found else {}
