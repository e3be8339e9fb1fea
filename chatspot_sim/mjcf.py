"""A Kitchen as MuJoCo XML.

Every geom that belongs to a thing is named `thing|part|number`, so that a segmentation picture
can be read back as things and parts. What changes in a living kitchen without moving (a burner's
glow, running water, coffee, where the plug is) stands in the model twice or hidden and is shown
by its transparency; see `toggles`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from chatspot_sim.kitchen import (
    COLOURS,
    COUNTER_DEPTH,
    COUNTER_HEIGHT,
    FRIDGE_SIZE,
    MODULE_WIDTH,
    Item,
    Kitchen,
    module_centres,
)
from chatspot_sim.meshes import label_mesh_xml, label_png, turned_mesh_xml

RGB = tuple[float, float, float]
STEEL: RGB = (0.62, 0.63, 0.65)
DARK: RGB = (0.10, 0.10, 0.11)


@dataclass
class Model:
    """MJCF text, its texture files, and which geoms show which state.

    `toggles` maps (thing, attribute, value) to the names of the geoms seen only in that state.
    """

    xml: str
    assets: dict[str, bytes]
    toggles: dict[tuple[str, str, str], list[str]]


@dataclass
class _Writer:
    lines: list[str] = field(default_factory=list)
    assets: dict[str, bytes] = field(default_factory=dict)
    asset_lines: list[str] = field(default_factory=list)
    toggles: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    count: int = 0
    thing: str = ""

    def geom(self, part: str, kind: str, pos: str, size: str, rgb: RGB, **more: str) -> str:
        """Write one geom of the current thing; returns its name."""
        name = f"{self.thing}|{part}|{self.count}"
        self.count += 1
        extra = "".join(f' {k}="{v}"' for k, v in more.items())
        sized = f' size="{size}"' if size else ""
        placed = f' pos="{pos}"' if pos else ""
        colour = " ".join(f"{c:.3f}" for c in rgb)
        self.lines.append(
            f'<geom name="{name}" type="{kind}"{placed}{sized} rgba="{colour} 1"{extra}/>'
        )
        return name

    def box(
        self, part: str, centre: tuple[float, ...], half: tuple[float, ...], rgb: RGB, **more: str
    ) -> str:
        return self.geom(part, "box", _s(*centre), _s(*half), rgb, **more)

    def rod(
        self, part: str, a: tuple[float, ...], b: tuple[float, ...], radius: float, rgb: RGB
    ) -> str:
        return self.geom(part, "capsule", "", _s(radius), rgb, fromto=_s(*a, *b))

    def card(
        self, part: str, centre: tuple[float, ...], wide: float, high: float, text: str,
        ink: RGB, paper: RGB,
    ) -> str:  # fmt: skip
        """A printed card facing the camera."""
        seed = zlib.crc32(f"{self.thing}{text}".encode())
        key = f"card{len(self.assets)}"
        self.assets[f"{key}.png"] = label_png(text, ink, paper, seed, (128, int(128 * high / wide)))
        self.asset_lines.append(f'<texture name="{key}" type="2d" file="{key}.png"/>')
        self.asset_lines.append(
            f'<material name="{key}" texture="{key}" texuniform="false" specular="0.1"/>'
        )
        self.asset_lines.append(
            label_mesh_xml().replace('"card"', f'"m{key}" scale="{wide:.3f} 0.2 {high:.3f}"')
        )
        return self.geom(part, "mesh", _s(*centre), "", (1, 1, 1), mesh=f"m{key}", material=key)

    def show_when(self, attribute: str, value: str, *geoms: str) -> None:
        self.toggles.setdefault((self.thing, attribute, value), []).extend(geoms)

    def open_body(self, name: str, pos: tuple[float, ...], yaw: float = 0.0) -> None:
        angle = f' euler="0 0 {yaw:.4f}"' if yaw else ""
        self.lines.append(f'<body name="{name}" pos="{_s(*pos)}"{angle}>')

    def close_body(self) -> None:
        self.lines.append("</body>")


def _s(*values: float) -> str:
    return " ".join(f"{v:.4f}" for v in values)


def kitchen_model(kitchen: Kitchen, width: int, height: int) -> Model:
    """The whole kitchen as XML for an offscreen picture of at least width x height pixels."""
    w = _Writer()
    _room(w, kitchen)
    builders = {
        "fridge": _fridge, "microwave": _microwave, "stove": _stove, "tap": _tap,
        "drawer": _drawer, "sign": _sign, "mug": _mug, "kettle": _kettle, "lemon": _lemon,
        "apple": _apple, "banana": _banana, "pineapple": _pineapple, "knife": _knife,
        "plate": _plate, "bottle": _bottle, "jar": _jar,
    }  # fmt: skip
    for item in kitchen.items:
        w.thing = item.id
        w.open_body(item.id, item.place, item.yaw)
        builders[item.kind](w, item)
        w.close_body()
    look = kitchen.look
    light = _s(*look.light)
    ambient, diffuse = _s(*[look.ambient] * 3), _s(*[look.diffuse] * 3)
    xml = f"""<mujoco model="kitchen">
<compiler angle="radian"/>
<visual><global offwidth="{width}" offheight="{height}"/>
<quality shadowsize="1024" offsamples="4"/>
<headlight ambient="{ambient}" diffuse="0.22 0.22 0.22" specular="0.05 0.05 0.05"/></visual>
<asset>{"".join(w.asset_lines)}{_room_materials(kitchen)}</asset>
<default><geom contype="0" conaffinity="0" mass="0.1"/></default>
<worldbody><light pos="{light}" dir="{_s(-look.light[0] * 0.3, -look.light[1] * 0.6, -1)}"
 diffuse="{diffuse}" specular="0.2 0.2 0.2" castshadow="true" cutoff="85"/>
<camera name="camera" pos="0 -3 1.4"/>
{"".join(w.lines)}</worldbody></mujoco>"""
    return Model(xml, w.assets, w.toggles)


def _room_materials(kitchen: Kitchen) -> str:
    look = kitchen.look
    out = []
    for name, rgb, pattern in (
        ("wall", look.wall, look.wall_pattern),
        ("floor", look.floor, look.floor_pattern),
        ("counter", look.counter, look.counter_pattern),
    ):
        darker = _s(*(max(0.0, c * 0.86) for c in rgb))
        builtin = "checker" if pattern == "checker" else "flat"
        marks = 'mark="random" random="0.15"' if pattern == "speckle" else ""
        out.append(
            f'<texture name="{name}" type="2d" builtin="{builtin}" rgb1="{_s(*rgb)}" '
            f'rgb2="{darker}" markrgb="{darker}" {marks} width="64" height="64"/>'
            f'<material name="{name}" texture="{name}" texrepeat="6 6" specular="0.1"/>'
        )
    return "".join(out)


def _room(w: _Writer, kitchen: Kitchen) -> None:
    w.thing = "room"
    w.geom("wall", "box", _s(0, 0.05, 1.5), _s(4, 0.05, 1.5), (1, 1, 1), material="wall")
    w.geom("floor", "box", _s(0, -2, -0.05), _s(4, 2.2, 0.05), (1, 1, 1), material="floor")
    look = kitchen.look
    cupboard = look.cupboard
    groove = tuple(c * 0.7 for c in cupboard)
    for unit, x in zip(kitchen.modules, module_centres(kitchen.modules), strict=True):
        if unit == "fridge":
            continue
        half, deep = MODULE_WIDTH / 2, COUNTER_DEPTH
        w.geom("counter", "box", _s(x, -deep / 2, COUNTER_HEIGHT - 0.02), _s(half, deep / 2, 0.02),
               (1, 1, 1), material="counter")  # fmt: skip
        low = COUNTER_HEIGHT - 0.04 - (0.25 if unit == "drawers" else 0.0)
        w.box("cupboard", (x, -deep / 2 + 0.02, low / 2), (half - 0.005, deep / 2 - 0.03, low / 2),
              cupboard)  # fmt: skip
        w.box("cupboard", (x, -deep + 0.038, low / 2), (0.004, 0.004, low / 2 - 0.03),
              _rgb(groove))  # fmt: skip
        for dx in (-0.05, 0.05):
            y = -deep + 0.02
            w.rod("cupboard", (x + dx, y, low - 0.17), (x + dx, y, low - 0.07), 0.008, STEEL)


def _rgb(values: tuple[float, ...]) -> RGB:
    return (values[0], values[1], values[2])


def _colour(item: Item) -> RGB:
    return COLOURS[item.colour] if item.colour else STEEL


def _fridge(w: _Writer, item: Item) -> None:
    width, depth, height = FRIDGE_SIZE
    rgb = _colour(item)
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
    w.lines.append(f'<body name="{item.id}/door" pos="{_s(hinge * hx, -hy, 0)}">')
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


def _plug(w: _Writer, item: Item, side: float) -> None:
    """Socket on the wall beside the fridge; the wire ends in it or hangs down with the plug."""
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


def _microwave(w: _Writer, item: Item) -> None:
    hx, hy, hz = 0.24, 0.16, 0.145
    rgb = _colour(item)
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
    w.lines.append(f'<body name="{item.id}/door" pos="{_s(-hx, -hy, z0)}">')
    w.lines.append(f'<joint name="{item.id}/door" type="hinge" axis="0 0 -1" range="0 1.9"/>')
    wide = (hx + split) / 2
    w.box("door", (wide, -0.012, hz), (wide, 0.012, hz), rgb)
    w.box("door", (wide, -0.0255, hz), (wide - 0.045, 0.002, hz - 0.04), DARK)
    w.rod("handle", (2 * wide - 0.022, -0.04, hz - 0.09), (2 * wide - 0.022, -0.04, hz + 0.09),
          0.009, STEEL)  # fmt: skip
    w.lines.append("</body>")


def _stove(w: _Writer, item: Item) -> None:
    w.box("body", (0, 0, 0.006), (0.30, 0.28, 0.008), DARK)
    w.box("body", (0, -0.285, -0.36), (0.30, 0.02, 0.30), STEEL)
    w.box("oven", (0, -0.306, -0.40), (0.23, 0.004, 0.17), DARK)
    for k in range(4):
        w.geom("knob", "cylinder", _s(-0.2 + 0.133 * k, -0.31, -0.11), _s(0.02, 0.012), DARK,
               euler="1.5708 0 0")  # fmt: skip
    spots = [(-0.14, -0.13), (0.14, -0.13), (-0.14, 0.13), (0.14, 0.13)]
    for (x, y), lit in zip(spots, item.look["burners"], strict=True):
        w.geom("burner", "cylinder", _s(x, y, 0.016), _s(0.10, 0.003), (0.30, 0.30, 0.31))
        cold = w.geom("burner", "cylinder", _s(x, y, 0.019), _s(0.085, 0.003), (0.17, 0.17, 0.18))
        if lit:
            hot = w.geom("flame", "cylinder", _s(x, y, 0.019), _s(0.085, 0.003), (1.0, 0.25, 0.05))
            w.show_when("burner", "on", hot)
            w.show_when("burner", "off", cold)


def _tap(w: _Writer, item: Item) -> None:
    w.box("sink", (0, -0.16, 0.003), (0.19, 0.15, 0.004), (0.72, 0.73, 0.75))
    w.box("sink", (0, -0.16, 0.006), (0.165, 0.125, 0.003), (0.30, 0.31, 0.33))
    w.rod("body", (0, 0.03, 0.0), (0, 0.03, 0.30), 0.02, STEEL)
    w.rod("spout", (0, 0.03, 0.30), (0, -0.12, 0.30), 0.017, STEEL)
    w.rod("spout", (0, -0.12, 0.30), (0, -0.12, 0.255), 0.016, STEEL)
    w.rod("handle", (0.02, 0.03, 0.12), (0.10, 0.02, 0.15), 0.013, DARK)
    stream = w.geom("water", "cylinder", _s(0, -0.12, 0.125), _s(0.016, 0.12), (0.55, 0.78, 0.98))
    pool = w.geom("water", "cylinder", _s(0, -0.14, 0.011), _s(0.09, 0.002), (0.60, 0.80, 0.98))
    w.show_when("water", "running", stream, pool)


def _drawer(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    hx, hz = MODULE_WIDTH / 2 - 0.012, 0.10
    w.lines.append(f'<body name="{item.id}/drawer" pos="{_s(0, 0, 0.11)}">')
    w.lines.append(f'<joint name="{item.id}/drawer" type="slide" axis="0 -1 0" range="0 0.4"/>')
    w.box("front", (0, -COUNTER_DEPTH / 2 + 0.01, 0), (hx, 0.012, hz), rgb)
    w.rod("handle", (-0.1, -COUNTER_DEPTH / 2 - 0.03, 0.02), (0.1, -COUNTER_DEPTH / 2 - 0.03, 0.02),
          0.012, STEEL)  # fmt: skip
    wood: RGB = (0.72, 0.56, 0.36)
    w.box("inside", (0, -0.10, -hz + 0.02), (hx - 0.02, 0.18, 0.006), wood)
    for side in (-1, 1):
        w.box("inside", (side * (hx - 0.03), -0.10, -0.01), (0.008, 0.18, hz - 0.03), wood)
    w.lines.append("</body>")


def _sign(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    ink: RGB = (0.03, 0.03, 0.03) if sum(rgb) > 1.2 else (0.97, 0.97, 0.97)
    half = 0.085 * item.scale
    w.box("board", (0, 0.006, 0), (half * 1.25, 0.006, half * 1.05), (0.2, 0.2, 0.2))
    w.card("number", (0, -0.006, 0), half * 2.3, half * 1.9, item.text, ink, rgb)


def _mug(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    s = 1.15 * item.scale
    _scaled(w, "body", "cup", s, rgb)
    for a, b in (((0.045, 0, 0.085), (0.082, 0, 0.075)), ((0.082, 0, 0.075), (0.082, 0, 0.04)),
                 ((0.082, 0, 0.04), (0.045, 0, 0.028))):  # fmt: skip
        w.rod("handle", tuple(s * v for v in a), tuple(s * v for v in b), 0.009 * s, rgb)
    w.geom("inside", "cylinder", _s(0, 0, 0.022 * s), _s(0.041 * s, 0.002), _shade(rgb))
    coffee = w.geom("inside", "cylinder", _s(0, 0, 0.094 * s), _s(0.0445 * s, 0.002),
                    (0.25, 0.12, 0.04))  # fmt: skip
    w.show_when("contents", "full", coffee)


def _shade(rgb: RGB) -> RGB:
    return (rgb[0] * 0.75, rgb[1] * 0.75, rgb[2] * 0.75)


def _scaled(
    w: _Writer, part: str, mesh: str, scale: float, rgb: RGB, pos: tuple[float, ...] = (0, 0, 0)
) -> str:
    name = f"{mesh}_{w.thing}"
    w.asset_lines.append(
        turned_mesh_xml(mesh).replace(f'name="{mesh}"', f'name="{name}" scale="{_s(*[scale] * 3)}"')
    )
    return w.geom(part, "mesh", _s(*pos), "", rgb, mesh=name)


def _kettle(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    s = item.scale
    _scaled(w, "body", "kettle", s, rgb)
    w.geom("body", "sphere", _s(0, 0, 0.178 * s), _s(0.014 * s), DARK)
    w.rod("spout", (-0.075 * s, 0, 0.07 * s), (-0.135 * s, 0, 0.135 * s), 0.015 * s, rgb)
    points = [(0.08, 0.05), (0.13, 0.09), (0.125, 0.15), (0.06, 0.165)]
    for (x0, z0), (x1, z1) in pairwise(points):
        w.rod("handle", (x0 * s, 0, z0 * s), (x1 * s, 0, z1 * s), 0.013 * s, DARK)


def _lemon(w: _Writer, item: Item) -> None:
    s = 1.1 * item.scale
    rgb: RGB = (0.96, 0.86, 0.10)
    w.geom("body", "ellipsoid", _s(0, 0, 0.037 * s), _s(0.055 * s, 0.038 * s, 0.038 * s), rgb)
    for side in (-1, 1):
        w.geom(
            "body", "sphere", _s(side * 0.054 * s, 0, 0.037 * s), _s(0.011 * s), (0.85, 0.78, 0.1)
        )


def _apple(w: _Writer, item: Item) -> None:
    s = 1.15 * item.scale
    w.geom(
        "body", "ellipsoid", _s(0, 0, 0.043 * s), _s(0.048 * s, 0.048 * s, 0.044 * s), _colour(item)
    )
    w.rod("stem", (0, 0, 0.08 * s), (0.008 * s, 0, 0.105 * s), 0.005 * s, (0.30, 0.18, 0.08))
    w.geom("leaf", "ellipsoid", _s(0.024 * s, 0, 0.1 * s), _s(0.02 * s, 0.01 * s, 0.005 * s),
           (0.15, 0.45, 0.12))  # fmt: skip


def _banana(w: _Writer, item: Item) -> None:
    s = 1.1 * item.scale
    angles = np.linspace(-1.0, 1.0, 6)
    points = [(0.11 * np.sin(a) * s, 0.11 * (1 - np.cos(a)) * s, 0.024 * s) for a in angles]
    for k, (a, b) in enumerate(pairwise(points)):
        end = k in (0, len(points) - 2)
        rgb: RGB = (0.95, 0.82, 0.20) if not end else (0.80, 0.68, 0.15)
        w.rod("body", a, b, (0.017 if end else 0.023) * s, rgb)
    w.geom("stem", "sphere", _s(*points[0]), _s(0.015 * s), (0.28, 0.20, 0.08))


def _pineapple(w: _Writer, item: Item) -> None:
    s = 1.1 * item.scale
    w.geom("body", "ellipsoid", _s(0, 0, 0.085 * s), _s(0.058 * s, 0.058 * s, 0.085 * s),
           (0.72, 0.48, 0.12))  # fmt: skip
    for k in range(7):
        angle = 2 * np.pi * k / 7
        lean = 0.05 if k % 2 else 0.022
        w.rod("leaves", (0, 0, 0.155 * s),
              (lean * np.cos(angle) * s, lean * np.sin(angle) * s, (0.245 - lean * 0.5) * s),
              0.010 * s, (0.13, 0.42, 0.14))  # fmt: skip


def _knife(w: _Writer, item: Item) -> None:
    s = 1.2 * item.scale
    w.box("blade", (0.07 * s, 0, 0.012), (0.08 * s, 0.019 * s, 0.004), (0.80, 0.82, 0.85))
    w.box("handle", (-0.06 * s, 0, 0.014), (0.055 * s, 0.014 * s, 0.012), (0.10, 0.06, 0.04))


def _plate(w: _Writer, item: Item) -> None:
    _scaled(w, "body", "plate", item.scale, _colour(item))


def _bottle(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    s = 1.05 * item.scale if not item.inside else 1.0
    _scaled(w, "body", "bottle", s, rgb)
    w.geom("cap", "cylinder", _s(0, 0, 0.255 * s), _s(0.02 * s, 0.013 * s), DARK)
    w.card("label", (0, -0.056 * s, 0.09 * s), 0.112 * s, 0.075 * s, item.text,
           (0.03, 0.03, 0.03), (0.97, 0.97, 0.94))  # fmt: skip


def _jar(w: _Writer, item: Item) -> None:
    rgb = _colour(item)
    s = 1.05 * item.scale if not item.inside else 1.0
    _scaled(w, "body", "jar", s, (0.78, 0.80, 0.76))
    _scaled(w, "lid", "lid", s, rgb, (0, 0, 0.125 * s))
    w.card("label", (0, -0.068 * s, 0.062 * s), 0.125 * s, 0.08 * s, item.text,
           (0.03, 0.03, 0.03), (0.97, 0.97, 0.94))  # fmt: skip
