"""The vision tower that a checkpoint's config.json names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VisionTower:
    """The type of a vision tower, empty: not named; and the side of its pictures in pixels, 0: it
    takes pictures of any size."""

    kind: str
    side: int


def read_tower(folder: Path) -> VisionTower:
    """Return the vision tower of a checkpoint; what config.json does not say is left empty."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}  # the loader says what is wrong with it
    vision = config.get("vision_config") if isinstance(config, dict) else None
    vision = vision if isinstance(vision, dict) else {}
    return VisionTower(str(vision.get("model_type") or ""), _side(vision.get("image_size")))


def _side(size: Any) -> int:
    sides = size if isinstance(size, list) else [size]
    square = len({*map(str, sides)}) == 1 and isinstance(sides[0], int)
    return int(sides[0]) if square else 0
