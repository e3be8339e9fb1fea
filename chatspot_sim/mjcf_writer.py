"""Write MuJoCo XML: geoms, printed cards, and geoms visible only in one state."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from chatspot_sim.kitchen import COLOURS, Item
from chatspot_sim.meshes import label_mesh_xml, label_png, turned_mesh_xml

RGB = tuple[float, float, float]
STEEL: RGB = (0.62, 0.63, 0.65)
DARK: RGB = (0.10, 0.10, 0.11)


@dataclass
class Writer:
    """The parts of a model under construction; see chatspot_sim.mjcf.Model."""

    lines: list[str] = field(default_factory=list)
    assets: dict[str, bytes] = field(default_factory=dict)
    asset_lines: list[str] = field(default_factory=list)
    toggles: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    count: int = 0
    thing: str = ""

    def geom(self, part: str, kind: str, pos: str, size: str, rgb: RGB, **more: str) -> str:
        """Write one geom of the current thing; return its name."""
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
        """Write a box by its centre and half its sides, in m; return its name."""
        return self.geom(part, "box", numbers(*centre), numbers(*half), rgb, **more)

    def rod(
        self, part: str, a: tuple[float, ...], b: tuple[float, ...], radius: float, rgb: RGB
    ) -> str:
        """Write a round rod from a to b, in m; return its name."""
        return self.geom(part, "capsule", "", numbers(radius), rgb, fromto=numbers(*a, *b))

    def card(
        self, part: str, centre: tuple[float, ...], wide: float, high: float, text: str,
        ink: RGB, paper: RGB,
    ) -> str:  # fmt: skip
        """Write a printed card that faces the camera; return its name."""
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
        return self.geom(
            part, "mesh", numbers(*centre), "", (1, 1, 1), mesh=f"m{key}", material=key
        )

    def show_when(self, attribute: str, value: str, *geoms: str) -> None:
        """Show these geoms only while the current thing is in that state."""
        self.toggles.setdefault((self.thing, attribute, value), []).extend(geoms)

    def open_body(self, name: str, pos: tuple[float, ...], yaw: float = 0.0) -> None:
        """Open a body at a place (m), turned by `yaw` (rad): further geoms are relative to it."""
        angle = f' euler="0 0 {yaw:.4f}"' if yaw else ""
        self.lines.append(f'<body name="{name}" pos="{numbers(*pos)}"{angle}>')

    def close_body(self) -> None:
        """Close the innermost body."""
        self.lines.append("</body>")


def numbers(*values: float) -> str:
    """Format numbers for MJCF."""
    return " ".join(f"{v:.4f}" for v in values)


def to_rgb(values: tuple[float, ...]) -> RGB:
    """Return the first three values."""
    return (values[0], values[1], values[2])


def colour_of(item: Item) -> RGB:
    """Return the colour of a thing; steel if it has none."""
    return COLOURS[item.colour] if item.colour else STEEL


def shaded(rgb: RGB) -> RGB:
    """Return the colour of a thing's shaded inside."""
    return (rgb[0] * 0.75, rgb[1] * 0.75, rgb[2] * 0.75)


def scaled_mesh(
    w: Writer, part: str, mesh: str, scale: float, rgb: RGB, pos: tuple[float, ...] = (0, 0, 0)
) -> str:
    """Write a mesh of chatspot_sim.meshes at a scale; return the geom's name."""
    name = f"{mesh}_{w.thing}"
    w.asset_lines.append(
        turned_mesh_xml(mesh).replace(
            f'name="{mesh}"', f'name="{name}" scale="{numbers(*[scale] * 3)}"'
        )
    )
    return w.geom(part, "mesh", numbers(*pos), "", rgb, mesh=name)
