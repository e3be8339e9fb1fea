"""All things of a kitchen, also those that no camera sees: what a mission is judged by."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from chatspot_sim.kitchen import Kitchen


@dataclass(frozen=True)
class Kept:
    """A thing: its state, and the id of what it is in ("" for the room, "hand" once picked)."""

    id: str
    kind: str
    state: dict[str, str]
    inside: str


@dataclass(frozen=True)
class Inventory:
    """The things of the kitchen of `seed` at the time `stamp_ns` of a picture."""

    seed: int
    stamp_ns: int
    things: tuple[Kept, ...]

    def to_json(self) -> str:
        """Return one line of JSON for `from_json`."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Inventory:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        raw = json.loads(text)
        things = tuple(Kept(**thing) for thing in raw["things"])
        return cls(int(raw["seed"]), int(raw["stamp_ns"]), things)

    @classmethod
    def of(cls, kitchen: Kitchen, stamp_ns: int) -> Inventory:
        """Take the inventory of a kitchen."""
        things = tuple(
            Kept(item.id, item.kind, dict(item.state), item.inside) for item in kitchen.items
        )
        return cls(kitchen.seed, stamp_ns, things)
