"""Ground truth of a picture: every visible thing with its pixels, state and text."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float], ...]
# A state is part of the truth if at least one of these parts is visible.
EVIDENCE = {
    ("door", ""): ("door", "inside"),
    ("plug", "in"): ("plug",),
    ("plug", "out"): ("plug", "socket"),
    ("burner", "on"): ("flame",),
    ("burner", "off"): ("burner",),
    ("water", "off"): ("spout",),
    ("water", "running"): ("water",),
    ("drawer", ""): ("front",),
    ("contents", ""): ("inside",),
}


@dataclass(frozen=True)
class Part:
    """A visible part of a thing. `box_xyxy_px` in pixels of the picture."""

    name: str
    box_xyxy_px: Box
    pixels: int


@dataclass(frozen=True)
class Thing:
    """A visible thing.

    `polygon_px` outlines its largest visible piece. `text` is its legible print, words or digits.
    `inside` is the id of its container. `visible_fraction` in [0, 1] is the share of its pixels
    that nothing else hides (1 if not measured).
    """

    id: str
    name: str
    colour: str
    box_xyxy_px: Box
    polygon_px: Points
    pixels: int
    state: dict[str, str] = field(default_factory=dict)
    text: str = ""
    inside: str = ""
    visible_fraction: float = 1.0
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Truth:
    """All visible things of a picture of `width` x `height` pixels, larger ones first.

    `stamp_ns` is the stamp of its frame; `seed` and `split` name the kitchen.
    """

    width: int
    height: int
    things: tuple[Thing, ...]
    stamp_ns: int = 0
    seed: int = 0
    split: str = ""

    def to_json(self) -> str:
        """Return one line of JSON for `from_json`."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """Read what `to_json` wrote. Raises ValueError or KeyError on anything else."""
        return _truth(json.loads(text))

    def of_kind(self, name: str) -> list[Thing]:
        """Return the visible things with this name."""
        return [thing for thing in self.things if thing.name == name]


def _truth(raw: dict[str, Any]) -> Truth:
    things = []
    for thing in raw["things"]:
        parts = tuple(
            Part(p["name"], _box(p["box_xyxy_px"]), p["pixels"]) for p in thing["parts"]
        )  # fmt: skip
        fields = {
            **thing,
            "box_xyxy_px": _box(thing["box_xyxy_px"]),
            "polygon_px": tuple((float(x), float(y)) for x, y in thing["polygon_px"]),
            "parts": parts,
        }
        things.append(Thing(**fields))
    return Truth(**{**raw, "things": tuple(things)})


def _box(values: Any) -> Box:
    a, b, c, d = (float(v) for v in values)
    return (a, b, c, d)


def shows(parts: Container[str], attribute: str, value: str) -> bool:
    """Return True if these visible parts of a thing show its state."""
    evidence = EVIDENCE.get((attribute, value), EVIDENCE.get((attribute, ""), ()))
    return any(name in parts for name in evidence)


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """Return the tight box of a non-empty H x W mask; right and bottom lie after the last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def mask_polygon(mask: NDArray[np.bool_], tolerance: float = 0.015) -> Points:
    """Outline of the largest piece of a non-empty mask, simplified to `tolerance` of its length."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    largest = max(outlines, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, tolerance * cv2.arcLength(largest, True), True)[:, 0]
    if len(simple) < 3:
        x1, y1, x2, y2 = mask_box(mask)
        return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    return tuple((float(x) + 0.5, float(y) + 0.5) for x, y in simple)
