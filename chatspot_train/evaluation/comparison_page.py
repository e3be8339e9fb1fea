"""The HTML page of a comparison: the questions that two models answer differently."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from chatspot_ros.core.regions import Point
from chatspot_train.data.preview import small_jpeg
from chatspot_train.evaluation.suite import Prediction

MAX_CARDS = 200
PICTURES = "pictures"
COLOURS = {"asked": "#c45500", "truth": "#0a7d2c", "a": "#e6194b", "b": "#1f4fd8"}
_ENVIRONMENT = Environment(
    loader=PackageLoader("chatspot_train.evaluation"), autoescape=True, trim_blocks=True
)


def write_page(
    out: Path, names: tuple[str, str], suite: str, comparison: Any, cards: Sequence[Card]
) -> None:
    """Write comparison.html and its images into `out`, with the first MAX_CARDS cards.

    `comparison` is a compare.Comparison of the models `names`.
    """
    album = Album(out)
    shown = cards[:MAX_CARDS]
    for card in shown:
        card.show(album)
    page = _ENVIRONMENT.get_template("comparison.html.jinja").render(
        a=names[0], b=names[1], suite=suite, found=comparison, cards=shown, colours=COLOURS,
        corners=_corners,
    )  # fmt: skip
    (out / "comparison.html").write_text(page, encoding="utf-8")


class Album:
    """The page's images as JPEG files in PICTURES, each once."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the page."""
        self._folder = folder / PICTURES
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shown: dict[Path, tuple[str, int, int]] = {}

    def show(self, path: Path) -> tuple[str, int, int]:
        """Return the image's address relative to the page, its original width and height, px.

        Raises OSError or ValueError for an unreadable file.
        """
        if path not in self._shown:
            small = small_jpeg(path)
            with Image.open(path) as picture:
                width, height = picture.size
            name = f"{len(self._shown):04d}.jpg"
            (self._folder / name).write_bytes(small)
            self._shown[path] = (f"{PICTURES}/{name}", width, height)
        return self._shown[path]


@dataclass
class Card:
    """One question on the page; `picture` is its image, `problem` the reason for a missing one."""

    a: Prediction
    b: Prediction
    scored: bool
    picture: str = ""
    problem: str = "The picture is in no file."
    width: int = 0
    height: int = 0
    boxes: list[tuple[Sequence[float], str]] = field(default_factory=list)

    @property
    def truth(self) -> str:
        """The truth as text."""
        told = self.a.truth.items()
        return "\n".join(f"{key}: {json.dumps(v, ensure_ascii=False)}" for key, v in told)

    def show(self, album: Album) -> None:
        """Add the image and the boxes of the truth and both answers."""
        files = [Path(image) for image in (self.a.image, self.b.image) if image]
        if not files:
            return
        try:
            there = next((file for file in files if file.exists()), files[0])
            self.picture, self.width, self.height = album.show(there)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            self.problem = f"The picture cannot be shown: {error}"
        for name in ("box", "box_xyxy_px"):
            true = self.a.truth.get(name)
            if isinstance(true, list) and len(true) == 4:
                self.boxes.append((true, COLOURS["truth"]))
        self.boxes += [(box, COLOURS["a"]) for box in self.a.boxes_xyxy_px]
        self.boxes += [(box, COLOURS["b"]) for box in self.b.boxes_xyxy_px]


def _corners(points: Sequence[Point]) -> str:
    """Return a polygon's corners for SVG; two points are a box with four corners."""
    if len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
