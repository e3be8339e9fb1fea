"""The contents of a simulated kitchen: plain data, drawn from a seed.

Lengths are metres, angles radians. x runs to the right along the back wall, y out of the
room through that wall (the counter lies at negative y), z up from the floor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chatspot_sim.appearance import Look, Split, View, draw_look, draw_view

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.10),
    "green": (0.12, 0.55, 0.18),
    "blue": (0.12, 0.25, 0.75),
    "yellow": (0.90, 0.80, 0.12),
    "orange": (0.92, 0.48, 0.08),
    "purple": (0.48, 0.16, 0.60),
    "white": (0.92, 0.92, 0.92),
    "black": (0.08, 0.08, 0.09),
}
APPLE_COLOURS = ("red", "green", "yellow")
FRIDGE_COLOURS = ("white", "red", "blue", "black", "green", "yellow")
BOTTLE_WORDS = ("COLA", "MILK", "WATER", "JUICE", "OIL", "BEER")
JAR_WORDS = ("SALT", "SUGAR", "TEA", "RICE", "FLOUR", "JAM")

COUNTER_HEIGHT = 0.72
COUNTER_DEPTH = 0.60
MODULE_WIDTH = 0.64
FRIDGE_SIZE = (0.62, 0.58, 1.30)

SMALL_KINDS = ("mug", "lemon", "apple", "banana", "pineapple", "knife", "plate", "bottle", "jar")
THING_KINDS = (
    "fridge", "microwave", "kettle", "stove", "tap", "drawer", "sign", *SMALL_KINDS,
)  # fmt: skip
# Parts of things that people have a name for.
PART_NAMES = (
    "handle", "door", "display", "spout", "label", "lid", "leaves", "blade", "plug", "socket",
    "buttons",
)  # fmt: skip
_PLURALS = {"knife": "knives"}

# Attribute -> its two values, per kind of thing that has a state.
STATES: dict[str, dict[str, tuple[str, str]]] = {
    "fridge": {"door": ("closed", "open"), "plug": ("in", "out")},
    "microwave": {"door": ("closed", "open")},
    "stove": {"burner": ("off", "on")},
    "tap": {"water": ("off", "running")},
    "drawer": {"drawer": ("closed", "open")},
    "mug": {"contents": ("empty", "full")},
}
_SPLIT_KEY = {"train": 0, "val": 1, "test": 2}


def plural(kind: str) -> str:
    """Return the plural of a kind: mugs, knives."""
    return _PLURALS.get(kind, f"{kind}s")


@dataclass
class Item:
    """One thing of the kitchen.

    `place` is the centre of its base; `inside` is the id of its container ("" for the room,
    "hand" once picked); `opening` in [0, 1] is how far its door or drawer is open.
    """

    id: str
    kind: str
    place: tuple[float, float, float]
    colour: str = ""
    yaw: float = 0.0
    scale: float = 1.0
    state: dict[str, str] = field(default_factory=dict)
    text: str = ""
    inside: str = ""
    opening: float = 0.0
    look: dict[str, Any] = field(default_factory=dict)


@dataclass
class Kitchen:
    """A drawn kitchen. `modules` are the counter units from left to right."""

    seed: int
    split: Split
    modules: tuple[str, ...]
    items: list[Item]
    view: View
    look: Look

    @property
    def width(self) -> float:
        """Width of the row of units along the wall."""
        return sum(FRIDGE_SIZE[0] if m == "fridge" else MODULE_WIDTH for m in self.modules)

    def item(self, item_id: str) -> Item:
        """Return the item with this id. Raises KeyError."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise KeyError(item_id)


def draw_kitchen(seed: int, split: Split = "train") -> Kitchen:
    """Draw a kitchen. The same seed and split give the same kitchen; splits never share one."""
    rng = np.random.default_rng([_SPLIT_KEY[split], int(seed), 20240])
    modules = _draw_modules(rng)
    items = _draw_furniture(rng, modules)
    items += _draw_small_things(rng, modules, items)
    kitchen = Kitchen(seed, split, modules, items, View((0, 0, 0), (0, 0, 0), 45.0),
                      draw_look(rng, split))  # fmt: skip
    kitchen.view = draw_view(rng, kitchen.width)
    return kitchen


def _draw_modules(rng: np.random.Generator) -> tuple[str, ...]:
    units = list(rng.permutation(["stove", "sink", "drawers", "counter"])[: rng.integers(1, 3)])
    if rng.random() < 0.75:
        units.insert(0 if rng.random() < 0.5 else len(units), "fridge")
    elif len(units) == 1:
        units.append("counter")
    if not {"drawers", "counter"} & set(units):
        units[-1 if units[0] == "fridge" else 0] = "counter"
    return tuple(str(u) for u in units)


def _away_from_socket(modules: tuple[str, ...]) -> float:
    """Return the x direction of the free wall: the fridge's socket is on its inner side."""
    return 1.0 if modules[0] == "fridge" else -1.0


def rearrange(kitchen: Kitchen, rng: np.random.Generator) -> None:
    """Draw new states, swap the places of the things on the counter and take some away."""
    for item in kitchen.items:
        for name, values in STATES.get(item.kind, {}).items():
            item.state[name] = str(rng.choice(values))
        if "open_to" in item.look:
            item.look["open_to"] = float(rng.uniform(0.65, 1.0))
            item.opening = item.look["open_to"] if "open" in item.state.values() else 0.0
    loose = [i for i in kitchen.items if i.kind in (*SMALL_KINDS, "kettle") and not i.inside]
    places = [item.place for item in loose]
    for item, k in zip(loose, rng.permutation(len(loose)), strict=True):
        item.place = places[k]
        if item.kind not in ("bottle", "jar", "mug"):
            item.yaw = float(rng.uniform(-np.pi, np.pi))
    for item in loose:
        if rng.random() < 0.12:
            item.inside, item.place = "hand", (0.0, -6.0, -3.0)


def module_centres(modules: tuple[str, ...]) -> list[float]:
    """Return x of the middle of each unit; the row is centred on x = 0."""
    widths = [FRIDGE_SIZE[0] if m == "fridge" else MODULE_WIDTH for m in modules]
    edges = np.concatenate([[0.0], np.cumsum(widths)]) - sum(widths) / 2
    return [float(c) for c in (edges[:-1] + edges[1:]) / 2]


def _draw_furniture(rng: np.random.Generator, modules: tuple[str, ...]) -> list[Item]:
    items: list[Item] = []
    centres = module_centres(modules)
    for unit, x in zip(modules, centres, strict=True):
        if unit == "fridge":
            side = "right" if x < 0 else "left"  # the side that faces the counter
            items.append(_stateful(rng, "fridge", (x, -0.30, 0.0), look={"inner_side": side},
                                   colour=str(rng.choice(FRIDGE_COLOURS))))  # fmt: skip
        elif unit == "stove":
            burners = [bool(b) for b in rng.random(4) < 0.4]
            item = _stateful(rng, "stove", (x, -0.30, COUNTER_HEIGHT))
            item.look = {"burners": burners if any(burners) else [True, False, False, False]}
            items.append(item)
        elif unit == "sink":
            items.append(_stateful(rng, "tap", (x, -0.14, COUNTER_HEIGHT)))
        elif unit == "drawers":
            items.append(_stateful(rng, "drawer", (x, -0.30, COUNTER_HEIGHT - 0.26),
                                   colour=str(rng.choice(list(COLOURS)))))  # fmt: skip
    flat = [x for unit, x in zip(modules, centres, strict=True) if unit in ("drawers", "counter")]
    if flat and rng.random() < 0.65:
        colour = str(rng.choice(["white", "black", "red", "blue"]))
        place = (float(rng.choice(flat)), -0.20, COUNTER_HEIGHT)
        microwave = _stateful(rng, "microwave", place, colour=colour)
        microwave.text = f"{rng.integers(0, 100):02d}"
        items.append(microwave)
    if rng.random() < 0.6:
        xs = [x for unit, x in zip(modules, centres, strict=True) if unit != "fridge"]
        x = float(rng.choice(xs)) + _away_from_socket(modules) * rng.uniform(0.08, 0.2)
        items.append(Item("sign_1", "sign", (x, -0.012, rng.uniform(1.22, 1.36)),
                          colour=str(rng.choice(["white", "yellow", "blue", "red", "green"])),
                          text=f"{rng.integers(10, 100)}",
                          scale=rng.uniform(0.9, 1.3)))  # fmt: skip
    return items


def _stateful(
    rng: np.random.Generator,
    kind: str,
    place: tuple[float, float, float],
    colour: str = "",
    look: dict[str, Any] | None = None,
) -> Item:
    state = {name: str(rng.choice(values)) for name, values in STATES[kind].items()}
    item = Item(f"{kind}_1", kind, place, colour=colour, state=state, look=look or {})
    item.look["open_to"] = float(rng.uniform(0.65, 1.0))
    if "open" in state.values():
        item.opening = item.look["open_to"]
    return item


def _draw_small_things(
    rng: np.random.Generator, modules: tuple[str, ...], furniture: list[Item]
) -> list[Item]:
    slots = _counter_slots(rng, modules, furniture)
    wanted = min(len(slots), int(rng.integers(4, 9)))
    kinds = ["kettle"] if rng.random() < 0.5 else []
    favourites = rng.choice(SMALL_KINDS, size=3)  # so that several of a kind are common
    while len(kinds) < wanted:
        kinds.append(str(rng.choice(favourites if rng.random() < 0.5 else SMALL_KINDS)))
    kinds = kinds[:wanted]
    things = [
        _small_thing(rng, kind, slots[i], kinds[:i].count(kind) + 1) for i, kind in enumerate(kinds)
    ]
    if any(item.kind == "fridge" for item in furniture):
        things += _draw_fridge_contents(rng, furniture, kinds)
    return things


def _counter_slots(
    rng: np.random.Generator, modules: tuple[str, ...], furniture: list[Item]
) -> list[tuple[float, float, float]]:
    microwave = next((item for item in furniture if item.kind == "microwave"), None)
    slots = []
    for unit, x in zip(modules, module_centres(modules), strict=True):
        if unit in ("fridge", "stove"):
            continue
        front = [-0.21, 0.0, 0.21]
        back = [-0.2, 0.02, 0.22]
        if unit == "sink":
            front, back = [-0.25, 0.25], [-0.25, 0.25]
        if microwave is not None and abs(microwave.place[0] - x) < 0.01:
            front, back = ([0.22] if microwave.state["door"] == "open" else [-0.2, 0.2]), []
        slots += [(x + dx, -0.46, COUNTER_HEIGHT) for dx in front]
        slots += [(x + dx, -0.17, COUNTER_HEIGHT) for dx in back]
    jitter = rng.normal(0, 0.015, (len(slots), 2))
    order = rng.permutation(len(slots))
    return [
        (slots[i][0] + jitter[i][0], slots[i][1] + jitter[i][1], slots[i][2])
        for i in order
    ]  # fmt: skip


def _draw_fridge_contents(
    rng: np.random.Generator, furniture: list[Item], counter_kinds: list[str]
) -> list[Item]:
    fridge = next(item for item in furniture if item.kind == "fridge")
    shelves = [(dx, z) for z in (0.45, 0.85) for dx in (-0.13, 0.13)]
    chosen = rng.permutation(4)[: rng.integers(1, 4)]
    things: list[Item] = []
    for index in chosen:
        dx, z = shelves[index]
        kind = str(rng.choice(["bottle", "bottle", "lemon", "apple", "jar", "pineapple"]))
        number = counter_kinds.count(kind) + sum(t.kind == kind for t in things) + 1
        place = (fridge.place[0] + dx, fridge.place[1] - 0.12, z)
        thing = _small_thing(rng, kind, place, number)
        thing.inside = fridge.id
        things.append(thing)
    return things


def _small_thing(
    rng: np.random.Generator, kind: str, place: tuple[float, float, float], number: int
) -> Item:
    item = Item(f"{kind}_{number}", kind, place, scale=float(rng.uniform(0.9, 1.25)))
    item.yaw = float(rng.uniform(-np.pi, np.pi))
    if kind in ("mug", "kettle", "plate", "bottle", "jar"):
        item.colour = str(rng.choice(list(COLOURS)))
    if kind == "apple":
        item.colour = str(rng.choice(APPLE_COLOURS))
    if kind in ("lemon", "banana"):
        item.colour = "yellow"
    if kind == "mug":
        item.state = {"contents": str(rng.choice(STATES["mug"]["contents"]))}
        item.yaw = float(rng.choice([-1, 1]) * rng.uniform(0.0, 0.8))
    if kind in ("bottle", "jar"):
        item.text = str(rng.choice(BOTTLE_WORDS if kind == "bottle" else JAR_WORDS))
        item.yaw = float(rng.normal(0, 0.2))
    if kind in ("knife", "banana"):
        item.yaw = float(rng.uniform(-0.6, 0.6) + np.pi * rng.integers(0, 2))
    return item
