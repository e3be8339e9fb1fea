"""A simulated detector: the true boxes with errors, missed things and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chatspot_sim.truth import Box, Thing, Truth

_LEAST_SIDE_PX = 2.0


@dataclass(frozen=True)
class DetectorSettings:
    """Error rates of the detector.

    `jitter` is the standard deviation of each edge, as a share of the box's width or height.
    `miss_rate` is the share of clearly visible things that are missed. Things of fewer than
    `min_pixels` pixels, or with a visible share below `min_visible` (0 to 1), are never found.
    """

    jitter: float = 0.02
    miss_rate: float = 0.05
    min_pixels: int = 150
    min_visible: float = 0.3


@dataclass(frozen=True)
class Detection:
    """One detected thing: its id and name in the truth, its box in pixels, a score in (0, 1]."""

    id: str
    name: str
    box_xyxy_px: Box
    score: float


def detect(truth: Truth, settings: DetectorSettings, rng: np.random.Generator) -> list[Detection]:
    """Detect the visible things, the highest score first; boxes stay inside the picture."""
    found = []
    for thing in truth.things:
        too_small = thing.pixels < settings.min_pixels
        if too_small or thing.visible_fraction < settings.min_visible:
            continue
        if rng.random() < settings.miss_rate:
            continue
        box = _jittered(thing.box_xyxy_px, truth.width, truth.height, settings.jitter, rng)
        found.append(Detection(thing.id, thing.name, box, _score(thing, truth, rng)))
    return sorted(found, key=lambda detection: -detection.score)


def _jittered(box: Box, width: int, height: int, jitter: float, rng: np.random.Generator) -> Box:
    x1, y1, x2, y2 = box
    spread = jitter * np.array([x2 - x1, y2 - y1] * 2)
    edges = np.clip(np.array(box) + rng.normal(0, 1, 4) * spread, 0, [width, height] * 2)
    a, b, c, d = (float(v) for v in edges)
    if c - a < _LEAST_SIDE_PX or d - b < _LEAST_SIDE_PX:
        return box
    return (a, b, c, d)


def _score(thing: Thing, truth: Truth, rng: np.random.Generator) -> float:
    """Return a score below 1 that grows with the thing's size and visibility."""
    size = min(1.0, np.sqrt(thing.pixels / (0.02 * truth.width * truth.height)))
    sure = 0.55 + 0.25 * size + 0.15 * thing.visible_fraction
    return float(np.clip(sure + rng.normal(0, 0.03), 0.05, 0.99))
