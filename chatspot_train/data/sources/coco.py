"""COCO's file format: images, annotations and categories in one JSON object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from chatspot_ros.core.regions import Region
from chatspot_train.data.sources.base import Entry, Job
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.data.sources.json_reader import Schema, items, load_json


def read_id(value: Any) -> int | str | None:
    """Return an id as its equals in other files are read: 7 for 7.0 and "7"; None: it is none."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _checked_id(value: Any) -> int | str:
    found = read_id(value)
    if found is None:
        raise ValueError("an id is a whole number or a text")
    return found


Id = Annotated[Any, BeforeValidator(_checked_id)]  # an int, or a str that is no number


class CocoImage(Schema):
    """An image."""

    id: Id
    file_name: str
    width: int
    height: int

    def find(self, pictures: ImageFolder) -> str:
        """Return its name in the folder: as the file has it, or the last part of a path of another
        machine. Raises SkipError where there is no such file."""
        plain = pictures.relative(self.file_name).replace("\\", "/")
        last = plain.rpartition("/")[2]
        return pictures.find(dict.fromkeys((last,) if plain.startswith("/") else (plain, last)))


class CocoAnnotation(Schema):
    """A thing in an image. `bbox` is x, y, width, height in pixels; `iscrowd` 1: many things.

    `segmentation` is a list of polygons (x1, y1, x2, y2, ...), or an object of run lengths.
    """

    id: Id
    image_id: Id
    category_id: Id
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
    id: Id
    name: str


@dataclass(frozen=True)
class Coco:
    """A loaded file; `names` are those of the categories. Entries are not validated yet."""

    file: Path
    images: list[Entry]
    annotations: list[Entry]
    names: dict[Any, str]

    def by_image(self, job: Job) -> dict[Any, list[Entry]]:
        """Return annotations by image id; report those without an image."""
        known = {read_id(raw.get("id")) for _, raw in self.images if isinstance(raw, dict)}
        groups: dict[Any, list[Entry]] = defaultdict(list)
        for where, raw in self.annotations:
            image_id = read_id(raw.get("image_id")) if isinstance(raw, dict) else None
            if image_id is not None and image_id in known:
                groups[image_id].append((where, raw))
            else:
                error = SkipError("the annotation is of no picture in the file", image_id)
                job.report.drop(self.file, where, error)
        return groups

    def annotated(self) -> set[int | str]:
        """Return the ids of the categories that have annotations: others may be groups, as some
        tools write them, or were never looked for."""
        found = (read_id(raw.get("category_id")) for _, raw in self.annotations
                 if isinstance(raw, dict))  # fmt: skip
        return {one for one in found if one in self.names and one is not None}

    def name(self, category_id: int | str) -> str:
        """Return the name of a category. Raises SkipError for an unknown one."""
        if category_id not in self.names:
            raise SkipError("there is no such category", category_id)
        return self.names[category_id]


def load_coco(file: Path, job: Job) -> Coco:
    """Load a file; report entries with the id of an earlier one. Raises SourceError where it has
    another format."""
    loaded = load_json(file)
    images, annotations, categories = (
        list(_first_of_id(items(file, loaded, key), file, job))
        for key in ("images", "annotations", "categories")
    )
    names: dict[Any, str] = {}
    for where, raw in categories:
        with job.guard(where, file):
            category = _Category.model_validate(raw)
            names[category.id] = category.name
    return Coco(file, images, annotations, names)


def _first_of_id(entries: list[Entry], file: Path, job: Job) -> Iterator[Entry]:
    """Yield the entries, and report those whose id an earlier one has."""
    seen: set[int | str] = set()
    for where, raw in entries:
        one = read_id(raw.get("id")) if isinstance(raw, dict) else None
        if one is not None and one in seen:
            job.report.drop(file, where, SkipError("the id stands twice in the file", one))
            continue
        if one is not None:
            seen.add(one)
        yield where, raw
