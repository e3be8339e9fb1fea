"""A Kitchen as MuJoCo XML.

Every geom that belongs to a thing is named `thing|part|number`, so that a segmentation picture
can be mapped to things and parts. States that change without motion (a burner's glow, running
water, coffee, the plug's place) have geoms of their own, shown and hidden by transparency: see
`toggles`.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatspot_sim import mjcf_fixtures, mjcf_things
from chatspot_sim.kitchen import (
    COUNTER_DEPTH,
    COUNTER_HEIGHT,
    MODULE_WIDTH,
    Kitchen,
    module_centres,
)
from chatspot_sim.mjcf_writer import STEEL, Writer, numbers, to_rgb

BUILDERS = mjcf_fixtures.BUILDERS | mjcf_things.BUILDERS


@dataclass
class Model:
    """MJCF text, its texture files, and the geoms of each state.

    `toggles` maps (thing, attribute, value) to the geoms that are visible only in that state.
    """

    xml: str
    assets: dict[str, bytes]
    toggles: dict[tuple[str, str, str], list[str]]


def kitchen_model(kitchen: Kitchen, width: int, height: int) -> Model:
    """Return the kitchen as XML for an offscreen picture of at least width x height pixels."""
    w = Writer()
    _room(w, kitchen)
    for item in kitchen.items:
        w.thing = item.id
        w.open_body(item.id, item.place, item.yaw)
        BUILDERS[item.kind](w, item)
        w.close_body()
    look = kitchen.look
    light = numbers(*look.light)
    ambient, diffuse = numbers(*[look.ambient] * 3), numbers(*[look.diffuse] * 3)
    xml = f"""<mujoco model="kitchen">
<compiler angle="radian"/>
<visual><global offwidth="{width}" offheight="{height}"/>
<quality shadowsize="1024" offsamples="4"/>
<headlight ambient="{ambient}" diffuse="0.22 0.22 0.22" specular="0.05 0.05 0.05"/></visual>
<asset>{"".join(w.asset_lines)}{_room_materials(kitchen)}</asset>
<default><geom contype="0" conaffinity="0" mass="0.1"/></default>
<worldbody><light pos="{light}" dir="{numbers(-look.light[0] * 0.3, -look.light[1] * 0.6, -1)}"
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
        darker = numbers(*(max(0.0, c * 0.86) for c in rgb))
        builtin = "checker" if pattern == "checker" else "flat"
        marks = 'mark="random" random="0.15"' if pattern == "speckle" else ""
        out.append(
            f'<texture name="{name}" type="2d" builtin="{builtin}" rgb1="{numbers(*rgb)}" '
            f'rgb2="{darker}" markrgb="{darker}" {marks} width="64" height="64"/>'
            f'<material name="{name}" texture="{name}" texrepeat="6 6" specular="0.1"/>'
        )
    return "".join(out)


def _room(w: Writer, kitchen: Kitchen) -> None:
    w.thing = "room"
    w.geom("wall", "box", numbers(0, 0.05, 1.5), numbers(4, 0.05, 1.5), (1, 1, 1), material="wall")
    w.geom(
        "floor", "box", numbers(0, -2, -0.05), numbers(4, 2.2, 0.05), (1, 1, 1), material="floor"
    )
    look = kitchen.look
    cupboard = look.cupboard
    groove = tuple(c * 0.7 for c in cupboard)
    for unit, x in zip(kitchen.modules, module_centres(kitchen.modules), strict=True):
        if unit == "fridge":
            continue
        half, deep = MODULE_WIDTH / 2, COUNTER_DEPTH
        w.geom(
            "counter",
            "box",
            numbers(x, -deep / 2, COUNTER_HEIGHT - 0.02),
            numbers(half, deep / 2, 0.02),
            (1, 1, 1),
            material="counter",
        )
        low = COUNTER_HEIGHT - 0.04 - (0.25 if unit == "drawers" else 0.0)
        w.box("cupboard", (x, -deep / 2 + 0.02, low / 2), (half - 0.005, deep / 2 - 0.03, low / 2),
              cupboard)  # fmt: skip
        w.box("cupboard", (x, -deep + 0.038, low / 2), (0.004, 0.004, low / 2 - 0.03),
              to_rgb(groove))  # fmt: skip
        for dx in (-0.05, 0.05):
            y = -deep + 0.02
            w.rod("cupboard", (x + dx, y, low - 0.17), (x + dx, y, low - 0.07), 0.008, STEEL)
