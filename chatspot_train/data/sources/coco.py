"""COCO's file format: images, annotations and categories in one JSON object."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import Entry, Job
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, items, load_json


def coco_id(value: Any) -> Any:
    """Return an id in one form: 7 for 7.0 and "7"; other texts stay."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value


CocoId = Annotated[int | str, BeforeValidator(coco_id)]


class CocoImage(Schema):
    """An image."""

    id: CocoId
    file_name: str
    width: int
    height: int


class CocoAnnotation(Schema):
    """A thing in an image. `bbox` is x, y, width, height in pixels; `iscrowd` 1: many things.

    `segmentation` is a list of polygons (x1, y1, x2, y2, ...), or an object of run lengths.
    """

    id: CocoId
    image_id: CocoId
    category_id: int
    bbox: tuple[float, ...]
    iscrowd: int = 0
    segmentation: Any = None

    def polygon(self) -> Region | None:
        """Return the outline in pixels if it is a single polygon, else None."""
        parts = self.segmentation
        if not isinstance(parts, list) or len(parts) != 1:
            return None
        numbers = parts[0]
        if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
            return None
        if not all(isinstance(value, int | float) for value in numbers):
            return None
        return Region.polygon(zip(numbers[::2], numbers[1::2], strict=True))


class _Category(Schema):
    id: int
    name: str


@dataclass(frozen=True)
class Coco:
    """A loaded file; `names` are those of the categories. Entries are not validated yet."""

    file: Path
    images: list[Entry]
    annotations: list[Entry]
    names: dict[int, str]

    def by_image(self, job: Job) -> dict[CocoId, list[Entry]]:
        """Return annotations by image id; report those without an image."""
        ids = (coco_id(raw.get("id")) for _, raw in self.images if isinstance(raw, dict))
        known = {one for one in ids if isinstance(one, int | str)}
        groups: dict[CocoId, list[Entry]] = defaultdict(list)
        for where, raw in self.annotations:
            image_id = coco_id(raw.get("image_id")) if isinstance(raw, dict) else None
            if isinstance(image_id, int | str) and image_id in known:
                groups[image_id].append((where, raw))
            else:
                error = SkipError("the annotation is of no picture in the file", image_id)
                job.report.drop(self.file, where, error)
        return groups

    def name(self, category_id: int) -> str:
        """Return the name of a category. Raises SkipError for an unknown one."""
        if category_id not in self.names:
            raise SkipError("there is no such category", category_id)
        return self.names[category_id]


def load_coco(file: Path, job: Job) -> Coco:
    """Load a file. Raises SourceError where it has another format."""
    loaded = load_json(file)
    names: dict[int, str] = {}
    for where, raw in items(file, loaded, "categories"):
        with job.guard(where, file):
            category = _Category.model_validate(raw)
            names[category.id] = category.name
    return Coco(file, items(file, loaded, "images"), items(file, loaded, "annotations"), names)
