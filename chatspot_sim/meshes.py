"""Meshes and textures without a MuJoCo primitive: bodies of revolution and printed labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Profile = Sequence[tuple[float, float]]

# Radius and height of each ring from the bottom up, in metres.
PROFILES: dict[str, Profile] = {
    "cup": [(0.0, 0.0), (0.043, 0.0), (0.05, 0.012), (0.05, 0.105), (0.044, 0.105),
            (0.042, 0.02), (0.0, 0.018)],
    "bottle": [(0.0, 0.0), (0.046, 0.0), (0.048, 0.01), (0.048, 0.16), (0.04, 0.185),
               (0.018, 0.215), (0.017, 0.25), (0.0, 0.25)],
    "jar": [(0.0, 0.0), (0.055, 0.0), (0.06, 0.012), (0.06, 0.115), (0.052, 0.13), (0.0, 0.13)],
    "lid": [(0.0, 0.0), (0.057, 0.0), (0.057, 0.028), (0.0, 0.03)],
    "plate": [(0.0, 0.0), (0.06, 0.0), (0.115, 0.018), (0.12, 0.022), (0.112, 0.024),
              (0.06, 0.007), (0.0, 0.006)],
    "kettle": [(0.0, 0.0), (0.085, 0.0), (0.092, 0.02), (0.085, 0.09), (0.06, 0.15),
               (0.045, 0.165), (0.0, 0.17)],
}  # fmt: skip


def turned_mesh_xml(name: str, sides: int = 22) -> str:
    """Return a `<mesh>`: a profile of PROFILES revolved around the z axis."""
    profile = PROFILES[name]
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rings = [
        [(r * np.cos(a), r * np.sin(a), z) for a in angles] if r > 0 else [(0.0, 0.0, z)]
        for r, z in profile
    ]
    starts = np.concatenate([[0], np.cumsum([len(ring) for ring in rings])])
    faces: list[tuple[int, int, int]] = []
    for k in range(len(rings) - 1):
        low, high = starts[k], starts[k + 1]
        for i in range(sides):
            j = (i + 1) % sides
            if len(rings[k]) == 1:
                faces.append((low, high + j, high + i))
            elif len(rings[k + 1]) == 1:
                faces.append((low + i, low + j, high))
            else:
                faces.append((low + i, low + j, high + j))
                faces.append((low + i, high + j, high + i))
    vertices = " ".join(f"{v:.4f}" for ring in rings for point in ring for v in point)
    indices = " ".join(str(int(i)) for face in faces for i in face)
    return f'<mesh name="{name}" inertia="shell" vertex="{vertices}" face="{indices}"/>'


def label_mesh_xml() -> str:
    """Return a thin unit card that faces -y and shows a whole texture upright."""
    front = [(-0.5, 0, -0.5), (0.5, 0, -0.5), (0.5, 0, 0.5), (-0.5, 0, 0.5)]
    back = [(x, 0.02, z) for x, _, z in front]
    vertices = " ".join(f"{v:g}" for p in front + back for v in p)
    coordinates = "0 1 1 1 1 0 0 0 " + "0.01 0.01 " * 4
    faces = "0 1 2 0 2 3 5 4 7 5 7 6 4 0 3 4 3 7 1 5 6 1 6 2 3 2 6 3 6 7 4 5 1 4 1 0"
    return (
        f'<mesh name="card" inertia="shell" vertex="{vertices}" '
        f'texcoord="{coordinates.strip()}" face="{faces}"/>'
    )


def label_png(
    text: str,
    ink_rgb: tuple[float, float, float],
    paper_rgb: tuple[float, float, float],
    font: int,
    size_wh: tuple[int, int] = (128, 64),
) -> bytes:
    """Return a PNG filled by `text`; colours in [0, 1]. `font` counts cv2's Hershey fonts."""
    width, height = size_wh
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    face = fonts[font % len(fonts)]
    paper = tuple(int(255 * c) for c in reversed(paper_rgb))
    ink = tuple(int(255 * c) for c in reversed(ink_rgb))
    picture = np.full((height, width, 3), paper, np.uint8)
    (text_w, text_h), _ = cv2.getTextSize(text, face, 1.0, 3)
    scale = min(width * 0.9 / text_w, height * 0.72 / text_h)
    thickness = max(2, round(3.2 * scale))
    (text_w, text_h), _ = cv2.getTextSize(text, face, scale, thickness)
    origin = ((width - text_w) // 2, (height + text_h) // 2)
    cv2.putText(picture, text, origin, face, scale, ink, thickness, cv2.LINE_AA)
    done, png = cv2.imencode(".png", picture)
    if not done:
        raise RuntimeError(f"OpenCV could not encode the label {text!r} as PNG")
    return bytes(png)
