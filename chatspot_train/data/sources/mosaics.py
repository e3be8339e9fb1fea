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
from chatspot_train.data.image_io import read_picture

Size = tuple[int, int]  # width and height in pixels
CELL = 320  # pixels
LEAST_SCALE = 0.72  # of what fits into the cell
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Mosaic:
    """A picture made of others (H x W x 3, RGB); `boxes` are their places, in order, in pixels."""

    pixels: NDArray[np.uint8]
    boxes: tuple[Region, ...]

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def save(self, file: Path) -> None:
        """Write the picture as JPEG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels).save(file, quality=JPEG_QUALITY)


def layout(sizes: Sequence[Size], seed: int) -> tuple[Size, tuple[Region, ...]]:
    """Return the width and height of a mosaic of pictures of these sizes, and their places: rows
    and columns of cells, with random scales and gaps."""
    rng = np.random.default_rng(seed)
    columns = math.ceil(math.sqrt(len(sizes)))
    rows = math.ceil(len(sizes) / columns)
    boxes = []
    for size, k in zip(sizes, rng.permutation(columns * rows)[: len(sizes)], strict=True):
        row, column = divmod(int(k), columns)
        scale = CELL / max(size) * float(rng.uniform(LEAST_SCALE, 1.0))
        w, h = (max(2, round(side * scale)) for side in size)
        left = column * CELL + int(rng.integers(CELL - w + 1))
        top = row * CELL + int(rng.integers(CELL - h + 1))
        boxes.append(Region.box(left, top, left + w, top + h))
    return (columns * CELL, rows * CELL), tuple(boxes)


def lay(files: Sequence[Path], seed: int) -> Mosaic:
    """Lay pictures into one on a plain or noisy ground, placed by `layout` of the same seed.

    Raises PictureError for a picture that cannot be read.
    """
    pictures = [Image.fromarray(read_picture(file)) for file in files]
    (width, height), boxes = layout([picture.size for picture in pictures], seed)
    rng = np.random.default_rng([seed, 1])
    ground = rng.integers(40, 230, 3) + rng.normal(0, rng.uniform(0, 8), (height, width, 3))
    pixels = np.clip(ground, 0, 255).astype(np.uint8)
    for picture, box in zip(pictures, boxes, strict=True):
        left, top, right, bottom = (int(side) for side in box.box_xyxy_px)
        pixels[top:bottom, left:right] = np.asarray(picture.resize((right - left, bottom - top)))
    return Mosaic(pixels, boxes)
