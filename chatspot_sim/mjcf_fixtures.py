"""Fixtures of a kitchen as MuJoCo XML: fridge, microwave, stove, tap, drawer, sign."""

from __future__ import annotations

from collections.abc import Callable

from chatspot_sim.kitchen import COUNTER_DEPTH, FRIDGE_SIZE, MODULE_WIDTH, Item
from chatspot_sim.mjcf_writer import DARK, RGB, STEEL, Writer, colour_of, numbers


def _fridge(w: Writer, item: Item) -> None:
    width, depth, height = FRIDGE_SIZE
    rgb = colour_of(item)
    inside: RGB = (0.80, 0.84, 0.88)
    hx, hy, hz = width / 2, depth / 2, height / 2
    t = 0.03
    w.box("body", (-hx + t / 2, 0, hz), (t / 2, hy, hz), rgb)
    w.box("body", (hx - t / 2, 0, hz), (t / 2, hy, hz), rgb)
    w.box("body", (0, 0, height - t / 2), (hx, hy, t / 2), rgb)
    w.box("body", (0, 0, 0.06), (hx, hy, 0.06), rgb)
    w.box("inside", (0, hy - 0.02, hz), (hx - t, 0.02, hz - t), inside)
    for z in (0.44, 0.84):
        w.box("inside", (0, 0.02, z), (hx - t, hy - 0.06, 0.008), (0.62, 0.68, 0.72))
    hinge = -1.0 if item.look["inner_side"] == "right" else 1.0
    w.lines.append(f'<body name="{item.id}/door" pos="{numbers(hinge * hx, -hy, 0)}">')
    w.lines.append(
        f'<joint name="{item.id}/door" type="hinge" axis="0 0 {1 if hinge > 0 else -1}" '
        f'range="0 1.9"/>'
    )
    w.box("door", (-hinge * hx, -0.025, hz + 0.05), (hx, 0.025, hz - 0.07), rgb)
    handle_x = -hinge * (width - 0.07)
    for z in (0.55, 1.0):
        w.rod("handle", (handle_x, -0.05, z), (handle_x, -0.085, z), 0.012, STEEL)
    w.rod("handle", (handle_x, -0.085, 0.52), (handle_x, -0.085, 1.03), 0.015, DARK)
    w.lines.append("</body>")
    _plug(w, item, -hinge)


def _plug(w: Writer, item: Item, side: float) -> None:
    """Write the socket beside the fridge, and the wire: plugged in, or hanging with its plug."""
    width, depth, _ = FRIDGE_SIZE
    x0, y0 = side * width / 2, 0.1
    sx, wall = side * (width / 2 + 0.21), depth / 2 - 0.012
    z = 1.12
    wire: RGB = (0.07, 0.07, 0.08)
    w.box("socket", (sx, wall, z), (0.055, 0.01, 0.055), (0.96, 0.96, 0.94))
    for dx in (-0.018, 0.018):
        w.box("socket", (sx + dx, wall - 0.011, z), (0.008, 0.003, 0.010), (0.05, 0.05, 0.05))
    start = (x0, y0, 1.2)
    bend = (x0 + side * 0.07, y0 - 0.03, 1.08)
    names = [
        w.rod("wire", start, bend, 0.011, wire),
        w.rod("wire", bend, (sx, wall - 0.07, z), 0.011, wire),
        w.box("plug", (sx, wall - 0.045, z), (0.032, 0.035, 0.032), (0.12, 0.12, 0.13)),
    ]
    w.show_when("plug", "in", *names)
    low = (x0 + side * 0.10, y0 - 0.05, 0.86)
    names = [
        w.rod("wire", start, (x0 + side * 0.06, y0 - 0.04, 1.0), 0.011, wire),
        w.rod("wire", (x0 + side * 0.06, y0 - 0.04, 1.0), low, 0.011, wire),
        w.box("plug", (low[0], low[1], low[2] - 0.03), (0.03, 0.03, 0.036), (0.12, 0.12, 0.13)),
        w.box("plug", (low[0] - 0.012, low[1], low[2] - 0.078), (0.005, 0.005, 0.014), STEEL),
        w.box("plug", (low[0] + 0.012, low[1], low[2] - 0.078), (0.005, 0.005, 0.014), STEEL),
    ]
    w.show_when("plug", "out", *names)


def _microwave(w: Writer, item: Item) -> None:
    hx, hy, hz = 0.24, 0.16, 0.145
    rgb = colour_of(item)
    z0 = 0.012
    split = 0.09  # the panel takes the right part of the front
    w.box("body", (0, 0, z0 + 2 * hz - 0.008), (hx, hy, 0.008), rgb)
    w.box("body", (0, 0, z0 + 0.008), (hx, hy, 0.008), rgb)
    w.box("body", (-hx + 0.008, 0, z0 + hz), (0.008, hy, hz), rgb)
    w.box("body", ((split + hx) / 2, 0, z0 + hz), ((hx - split) / 2, hy, hz), rgb)
    w.box("inside", (0, hy - 0.01, z0 + hz), (hx, 0.01, hz), (0.75, 0.70, 0.52))
    panel_x = (split + hx) / 2
    for row in range(3):
        for column in range(3):
            place = (panel_x - 0.035 + 0.035 * column, -hy - 0.003, z0 + 0.05 + 0.035 * row)
            w.box("buttons", place, (0.011, 0.004, 0.011), (0.55, 0.55, 0.57))
    w.card("display", (panel_x, -hy - 0.008, z0 + 2 * hz - 0.07), 0.135, 0.095, item.text,
           (0.35, 1.0, 0.45), (0.02, 0.05, 0.03))  # fmt: skip
    w.lines.append(f'<body name="{item.id}/door" pos="{numbers(-hx, -hy, z0)}">')
    w.lines.append(f'<joint name="{item.id}/door" type="hinge" axis="0 0 -1" range="0 1.9"/>')
    wide = (hx + split) / 2
    w.box("door", (wide, -0.012, hz), (wide, 0.012, hz), rgb)
    w.box("door", (wide, -0.0255, hz), (wide - 0.045, 0.002, hz - 0.04), DARK)
    w.rod("handle", (2 * wide - 0.022, -0.04, hz - 0.09), (2 * wide - 0.022, -0.04, hz + 0.09),
          0.009, STEEL)  # fmt: skip
    w.lines.append("</body>")


def _stove(w: Writer, item: Item) -> None:
    w.box("body", (0, 0, 0.006), (0.30, 0.28, 0.008), DARK)
    w.box("body", (0, -0.285, -0.36), (0.30, 0.02, 0.30), STEEL)
    w.box("oven", (0, -0.306, -0.40), (0.23, 0.004, 0.17), DARK)
    for k in range(4):
        w.geom(
            "knob",
            "cylinder",
            numbers(-0.2 + 0.133 * k, -0.31, -0.11),
            numbers(0.02, 0.012),
            DARK,
            euler="1.5708 0 0",
        )
    spots = [(-0.14, -0.13), (0.14, -0.13), (-0.14, 0.13), (0.14, 0.13)]
    for (x, y), lit in zip(spots, item.look["burners"], strict=True):
        w.geom("burner", "cylinder", numbers(x, y, 0.016), numbers(0.10, 0.003), (0.30, 0.30, 0.31))
        cold = w.geom(
            "burner", "cylinder", numbers(x, y, 0.019), numbers(0.085, 0.003), (0.17, 0.17, 0.18)
        )
        if lit:
            hot = w.geom(
                "flame", "cylinder", numbers(x, y, 0.019), numbers(0.085, 0.003), (1.0, 0.25, 0.05)
            )
            w.show_when("burner", "on", hot)
            w.show_when("burner", "off", cold)


def _tap(w: Writer, item: Item) -> None:
    w.box("sink", (0, -0.16, 0.003), (0.19, 0.15, 0.004), (0.72, 0.73, 0.75))
    w.box("sink", (0, -0.16, 0.006), (0.165, 0.125, 0.003), (0.30, 0.31, 0.33))
    w.rod("body", (0, 0.03, 0.0), (0, 0.03, 0.30), 0.02, STEEL)
    w.rod("spout", (0, 0.03, 0.30), (0, -0.12, 0.30), 0.017, STEEL)
    w.rod("spout", (0, -0.12, 0.30), (0, -0.12, 0.255), 0.016, STEEL)
    w.rod("handle", (0.02, 0.03, 0.12), (0.10, 0.02, 0.15), 0.013, DARK)
    stream = w.geom(
        "water", "cylinder", numbers(0, -0.12, 0.125), numbers(0.016, 0.12), (0.55, 0.78, 0.98)
    )
    pool = w.geom(
        "water", "cylinder", numbers(0, -0.14, 0.011), numbers(0.09, 0.002), (0.60, 0.80, 0.98)
    )
    w.show_when("water", "running", stream, pool)


def _drawer(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    hx, hz = MODULE_WIDTH / 2 - 0.012, 0.10
    w.lines.append(f'<body name="{item.id}/drawer" pos="{numbers(0, 0, 0.11)}">')
    w.lines.append(f'<joint name="{item.id}/drawer" type="slide" axis="0 -1 0" range="0 0.4"/>')
    w.box("front", (0, -COUNTER_DEPTH / 2 + 0.01, 0), (hx, 0.012, hz), rgb)
    w.rod("handle", (-0.1, -COUNTER_DEPTH / 2 - 0.03, 0.02), (0.1, -COUNTER_DEPTH / 2 - 0.03, 0.02),
          0.012, STEEL)  # fmt: skip
    wood: RGB = (0.72, 0.56, 0.36)
    w.box("inside", (0, -0.10, -hz + 0.02), (hx - 0.02, 0.18, 0.006), wood)
    for side in (-1, 1):
        w.box("inside", (side * (hx - 0.03), -0.10, -0.01), (0.008, 0.18, hz - 0.03), wood)
    w.lines.append("</body>")


def _sign(w: Writer, item: Item) -> None:
    rgb = colour_of(item)
    ink: RGB = (0.03, 0.03, 0.03) if sum(rgb) > 1.2 else (0.97, 0.97, 0.97)
    half = 0.085 * item.scale
    w.box("board", (0, 0.006, 0), (half * 1.25, 0.006, half * 1.05), (0.2, 0.2, 0.2))
    w.card("number", (0, -0.006, 0), half * 2.3, half * 1.9, item.text, ink, rgb)


BUILDERS: dict[str, Callable[[Writer, Item], None]] = {
    "fridge": _fridge,
    "microwave": _microwave,
    "stove": _stove,
    "tap": _tap,
    "drawer": _drawer,
    "sign": _sign,
}
