"""Several pictures of single things laid into one: the region decides which one is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chatspot_ros.core.regions import Region

CELL = 320  # pixels
LEAST_SCALE = 0.72  # of what fits into the cell
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Mosaic:
    """A picture made of others (H x W x 3, RGB); `boxes` are their places, in order, in pixels."""

    pixels: NDArray[np.uint8]
    boxes: tuple[Region, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def save(self, file: Path) -> None:
        """Write the picture as JPEG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels).save(file, quality=JPEG_QUALITY)


def lay(files: Sequence[Path], rng: np.random.Generator) -> Mosaic:
    """Lay pictures into rows and columns, with random scales, gaps and a plain or noisy ground.

    Raises OSError for a picture that cannot be read.
    """
    columns = math.ceil(math.sqrt(len(files)))
    rows = math.ceil(len(files) / columns)
    width, height = columns * CELL, rows * CELL
    ground = rng.integers(40, 230, 3) + rng.normal(0, rng.uniform(0, 8), (height, width, 3))
    pixels = np.clip(ground, 0, 255).astype(np.uint8)
    boxes = []
    for file, k in zip(files, rng.permutation(columns * rows)[: len(files)], strict=True):
        row, column = divmod(int(k), columns)
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        scale = CELL / max(picture.size) * float(rng.uniform(LEAST_SCALE, 1.0))
        w, h = (max(2, round(side * scale)) for side in picture.size)
        left = column * CELL + int(rng.integers(CELL - w + 1))
        top = row * CELL + int(rng.integers(CELL - h + 1))
        pixels[top : top + h, left : left + w] = np.asarray(picture.resize((w, h)))
        boxes.append(Region.box(left, top, left + w, top + h))
    return Mosaic(pixels, tuple(boxes))
