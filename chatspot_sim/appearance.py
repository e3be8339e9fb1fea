"""How a kitchen's picture looks: camera pose, light, textures, sensor. Metres and radians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Split = Literal["train", "val", "test"]

# How far the looks of test kitchens lie outside the ranges of training, as a share of the range.
UNSEEN_SHARE = 0.15


@dataclass
class View:
    """The camera: where it stands, where it looks, its vertical field of view in degrees."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy_deg: float


@dataclass
class Look:
    """Everything of a picture but its things: light, textures, sensor."""

    light: tuple[float, float, float]
    diffuse: float
    ambient: float
    wall: tuple[float, float, float]
    floor: tuple[float, float, float]
    counter: tuple[float, float, float]
    cupboard: tuple[float, float, float]
    wall_pattern: str
    floor_pattern: str
    counter_pattern: str
    noise: float
    blur: float
    cast: tuple[float, float, float]
    gamma: float


def draw_view(rng: np.random.Generator, width: float) -> View:
    """Draw a camera pose that sees most of a row of `width` metres, or a close-up of a part."""
    seen = width * rng.uniform(0.95, 1.25) if rng.random() < 0.7 else rng.uniform(1.0, 1.5)
    slack = max(0.0, width - seen) / 2
    fovy = rng.uniform(40, 55)
    distance = max(seen, 0.9) * 0.75 / (2 * np.tan(np.radians(fovy) / 2))
    x = rng.uniform(-slack, slack) + rng.normal(0, 0.05)
    z = 0.82 + rng.normal(0, 0.06) if seen > 1.5 else 0.92 + rng.normal(0, 0.08)
    elevation = rng.uniform(np.radians(18), np.radians(36))
    azimuth = rng.normal(0, np.radians(10))
    target = np.array([x, -0.30, z])
    direction = [
        np.sin(azimuth) * np.cos(elevation),
        -np.cos(azimuth) * np.cos(elevation),
        np.sin(elevation),
    ]
    position = target + (distance + 0.25) * np.array(direction)
    return View(_triple(position), _triple(target), float(fovy))


def draw_look(rng: np.random.Generator, split: Split = "train") -> Look:
    """Draw the light, the colours of the room and the effects of the sensor.

    Light, brightness and gamma of the test split lie outside the ranges that training sees.
    """

    def within(low: float, high: float) -> float:
        return _within(rng, low, high, split)

    def pale(low: float, high: float, spread: float) -> tuple[float, float, float]:
        return _triple(np.clip(within(low, high) + rng.normal(0, spread, 3), 0.03, 0.97))

    patterns = ("flat", "checker", "speckle")
    return Look(
        light=(within(-1.2, 1.2), within(-2.6, -1.2), within(1.9, 2.8)),
        diffuse=within(0.45, 0.85),
        ambient=within(0.28, 0.5),
        wall=pale(0.45, 0.85, 0.07),
        floor=pale(0.25, 0.7, 0.06),
        counter=pale(0.3, 0.8, 0.05),
        cupboard=pale(0.3, 0.8, 0.08),
        wall_pattern=str(rng.choice(patterns)),
        floor_pattern=str(rng.choice(patterns)),
        counter_pattern=str(rng.choice(("flat", "speckle"))),
        noise=float(rng.uniform(0, 7)) if rng.random() < 0.6 else 0.0,
        blur=float(rng.uniform(0.4, 1.1)) if rng.random() < 0.3 else 0.0,
        cast=_triple(np.clip(rng.normal(1.0, 0.05, 3), 0.85, 1.15)),
        gamma=within(0.85, 1.2),
    )


def _within(rng: np.random.Generator, low: float, high: float, split: Split) -> float:
    """Draw from low to high; for tests, from the bands beside that, UNSEEN_SHARE wide.

    For training the ends are more frequent than the middle: a model that has learned rare looks
    does better on unseen ones.
    """
    part = float(rng.uniform(0, 1))
    if split == "train":
        part = 0.5 - 0.5 * float(np.cos(np.pi * part))
    if split == "test":
        part = -2 * UNSEEN_SHARE * part if part < 0.5 else 1 + 2 * UNSEEN_SHARE * (part - 0.5)
    return low + (high - low) * part


def _triple(values: Any) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return (a, b, c)
