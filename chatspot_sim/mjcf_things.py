"""Movable things of a kitchen as MuJoCo XML: crockery, fruit, bottles."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from chatspot_sim.kitchen import Item
from chatspot_sim.mjcf_writer import DARK, RGB, Writer, colour_of, numbers, scaled_mesh, shaded


def _mug(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    s = 1.15 * item.scale
    scaled_mesh(w, "body", "cup", s, rgb)
    for a, b in (((0.045, 0, 0.085), (0.082, 0, 0.075)), ((0.082, 0, 0.075), (0.082, 0, 0.04)),
                 ((0.082, 0, 0.04), (0.045, 0, 0.028))):  # fmt: skip
        w.rod("handle", tuple(s * v for v in a), tuple(s * v for v in b), 0.009 * s, rgb)
    w.geom("inside", "cylinder", numbers(0, 0, 0.022 * s), numbers(0.041 * s, 0.002), shaded(rgb))
    coffee = w.geom("inside", "cylinder", numbers(0, 0, 0.094 * s), numbers(0.0445 * s, 0.002),
                    (0.25, 0.12, 0.04))  # fmt: skip
    w.show_when("contents", "full", coffee)


def _kettle(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    s = item.scale
    scaled_mesh(w, "body", "kettle", s, rgb)
    w.geom("body", "sphere", numbers(0, 0, 0.178 * s), numbers(0.014 * s), DARK)
    w.rod("spout", (-0.075 * s, 0, 0.07 * s), (-0.135 * s, 0, 0.135 * s), 0.015 * s, rgb)
    points = [(0.08, 0.05), (0.13, 0.09), (0.125, 0.15), (0.06, 0.165)]
    for (x0, z0), (x1, z1) in pairwise(points):
        w.rod("handle", (x0 * s, 0, z0 * s), (x1 * s, 0, z1 * s), 0.013 * s, DARK)


def _lemon(w: Writer, item: Item) -> None:
    s = 1.1 * item.scale
    rgb: RGB = (0.96, 0.86, 0.10)
    w.geom(
        "body", "ellipsoid", numbers(0, 0, 0.037 * s), numbers(0.055 * s, 0.038 * s, 0.038 * s), rgb
    )
    for side in (-1, 1):
        w.geom(
            "body",
            "sphere",
            numbers(side * 0.054 * s, 0, 0.037 * s),
            numbers(0.011 * s),
            (0.85, 0.78, 0.1),
        )


def _apple(w: Writer, item: Item) -> None:
    s = 1.15 * item.scale
    w.geom(
        "body",
        "ellipsoid",
        numbers(0, 0, 0.043 * s),
        numbers(0.048 * s, 0.048 * s, 0.044 * s),
        colour_of(item),
    )
    w.rod("stem", (0, 0, 0.08 * s), (0.008 * s, 0, 0.105 * s), 0.005 * s, (0.30, 0.18, 0.08))
    w.geom(
        "leaf",
        "ellipsoid",
        numbers(0.024 * s, 0, 0.1 * s),
        numbers(0.02 * s, 0.01 * s, 0.005 * s),
        (0.15, 0.45, 0.12),
    )


def _banana(w: Writer, item: Item) -> None:
    s = 1.1 * item.scale
    angles = np.linspace(-1.0, 1.0, 6)
    points = [(0.11 * np.sin(a) * s, 0.11 * (1 - np.cos(a)) * s, 0.024 * s) for a in angles]
    for k, (a, b) in enumerate(pairwise(points)):
        end = k in (0, len(points) - 2)
        rgb: RGB = (0.95, 0.82, 0.20) if not end else (0.80, 0.68, 0.15)
        w.rod("body", a, b, (0.017 if end else 0.023) * s, rgb)
    w.geom("stem", "sphere", numbers(*points[0]), numbers(0.015 * s), (0.28, 0.20, 0.08))


def _pineapple(w: Writer, item: Item) -> None:
    s = 1.1 * item.scale
    w.geom("body", "ellipsoid", numbers(0, 0, 0.085 * s), numbers(0.058 * s, 0.058 * s, 0.085 * s),
           (0.72, 0.48, 0.12))  # fmt: skip
    for k in range(7):
        angle = 2 * np.pi * k / 7
        lean = 0.05 if k % 2 else 0.022
        w.rod("leaves", (0, 0, 0.155 * s),
              (lean * np.cos(angle) * s, lean * np.sin(angle) * s, (0.245 - lean * 0.5) * s),
              0.010 * s, (0.13, 0.42, 0.14))  # fmt: skip


def _knife(w: Writer, item: Item) -> None:
    s = 1.2 * item.scale
    w.box("blade", (0.07 * s, 0, 0.012), (0.08 * s, 0.019 * s, 0.004), (0.80, 0.82, 0.85))
    w.box("handle", (-0.06 * s, 0, 0.014), (0.055 * s, 0.014 * s, 0.012), (0.10, 0.06, 0.04))


def _plate(w: Writer, item: Item) -> None:
    scaled_mesh(w, "body", "plate", item.scale, colour_of(item))


def _bottle(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    s = 1.05 * item.scale if not item.inside else 1.0
    scaled_mesh(w, "body", "bottle", s, rgb)
    w.geom("cap", "cylinder", numbers(0, 0, 0.255 * s), numbers(0.02 * s, 0.013 * s), DARK)
    w.card("label", (0, -0.056 * s, 0.09 * s), 0.112 * s, 0.075 * s, item.text,
           (0.03, 0.03, 0.03), (0.97, 0.97, 0.94))  # fmt: skip


def _jar(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    s = 1.05 * item.scale if not item.inside else 1.0
    scaled_mesh(w, "body", "jar", s, (0.78, 0.80, 0.76))
    scaled_mesh(w, "lid", "lid", s, rgb, (0, 0, 0.125 * s))
    w.card("label", (0, -0.068 * s, 0.062 * s), 0.125 * s, 0.08 * s, item.text,
           (0.03, 0.03, 0.03), (0.97, 0.97, 0.94))  # fmt: skip


BUILDERS: dict[str, Callable[[Writer, Item], None]] = {
    "mug": _mug,
    "kettle": _kettle,
    "lemon": _lemon,
    "apple": _apple,
    "banana": _banana,
    "pineapple": _pineapple,
    "knife": _knife,
    "plate": _plate,
    "bottle": _bottle,
    "jar": _jar,
}
