"""COCO images with the boxes to ask about and all annotations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from chatspot_ros.core.boxes import ious, xywh_to_xyxy
from chatspot_ros.core.regions import BoxXyxy, Region
from chatspot_train.data.sources.base import Job
from chatspot_train.data.sources.coco import CocoAnnotation, CocoImage, Id, load_coco
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.image_folder import ImageFolder
from chatspot_train.data.sources.json_reader import Schema, box_xywh, items, load_json
from chatspot_train.evaluation.dataset_files import sample
from chatspot_train.evaluation.metrics.coco_ap import CocoDict
from chatspot_train.evaluation.suite import Option, SuiteOptionError, need

OVERLAP = 0.5
OWN_FILES = (
    Option("annotations", "your own file of COCO's form, under any name", Path),
    Option("images", "the folder of its pictures", Path),
)
WANTS_OWN = "give --annotations a file of COCO's form and --images the folder of its pictures"


@dataclass(frozen=True)
class CocoFiles:
    """A file of COCO's form and the folder of its pictures, relative to the data, or `own` ones."""

    annotations: Path = Path("annotations/instances_val2017.json")
    images: Path = Path("val2017")
    own: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CocoFiles:
        """Return the own files, if they are given. Raises SuiteOptionError where one is missing."""
        annotations, images = (options.get(option.name) for option in OWN_FILES)
        if annotations is None and images is None:
            return cls()
        if annotations is None or images is None:
            raise SuiteOptionError(
                "own data needs its annotations and its pictures", value=annotations or images,
                remedy="give both --annotations and --images",
            )  # fmt: skip
        return cls(annotations.absolute(), images.absolute(), own=True)

    def find(self, data: Path, wants: str) -> tuple[Path, Path]:
        """Return the paths of both. Raises MissingDataError."""
        return need(data / self.annotations, wants), need(data / self.images, wants)


COCO_VAL = CocoFiles()


def image_path(image: CocoImage, folder: Path, wants: str) -> Path:
    """Return the path of an image in a folder. Raises MissingDataError."""
    try:
        return folder / image.find(ImageFolder(folder))
    except SkipError:
        return need(folder / image.file_name, wants)


class Thing(CocoAnnotation):
    """An annotation; `area` is that of its outline in square pixels, for COCO's size classes; that
    of the box in a file without areas."""

    bbox: tuple[float, float, float, float]
    area: float = -1.0

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        """Take the box's area where none is given."""
        if self.area < 0:
            object.__setattr__(self, "area", self.bbox[2] * self.bbox[3])
        return self

    @property
    def box_xyxy_px(self) -> BoxXyxy:
        """The box by two corners."""
        return xywh_to_xyxy(self.bbox)


class _Detection(Schema):
    image_id: Id
    bbox: tuple[float, ...]
    score: float


@dataclass(frozen=True)
class AskedBox:
    """A box to ask about; `thing` is its annotation, None for a detector's box."""

    key: str
    region: Region
    score: float
    thing: Thing | None = None


@dataclass(frozen=True)
class Picture:
    """An image with all its annotations and the boxes to ask about."""

    image: CocoImage
    things: list[Thing]
    boxes: list[AskedBox]


def load_pictures(
    job: Job, count: int, seed: int, detections: Path | None = None, max_boxes: int = 100
) -> tuple[list[Picture], dict[int, str]]:
    """Return `count` images drawn by the seed (0: all), sorted by id, and the categories.

    The boxes are COCO's own without crowds, or the `max_boxes` best of a detector's result file.
    """
    coco = load_coco(job.annotations, job)
    images = []
    for where, raw in coco.images:
        with job.guard(where):
            images.append(CocoImage.model_validate(raw))
    chosen = sample(sorted(images, key=_place), count, seed)
    entries = coco.by_image(job)
    pictures = [_with_own_boxes(image, entries.get(image.id, []), job) for image in chosen]
    if detections is not None:
        found = _detected(detections, job)
        pictures = [_with_boxes(p, found.get(p.image.id, [])[:max_boxes], job) for p in pictures]
    return pictures, coco.names


def _place(image: CocoImage) -> tuple[bool, int, str]:
    """Return the place of an image among others: numbers first, then texts."""
    is_text = isinstance(image.id, str)
    return is_text, 0 if isinstance(image.id, str) else image.id, str(image.id) if is_text else ""


def _with_boxes(picture: Picture, found: Sequence[tuple[str, Region, float]], job: Job) -> Picture:
    boxes = []
    for where, region, score in found:
        with job.guard(where):
            inside = region.clipped(picture.image.width, picture.image.height)
            boxes.append(AskedBox(f"detection{where}", inside, score))
    return replace(picture, boxes=boxes)


def _with_own_boxes(image: CocoImage, entries: Sequence[tuple[str, Any]], job: Job) -> Picture:
    things: list[Thing] = []
    boxes: list[AskedBox] = []
    for where, raw in entries:
        with job.guard(where):
            thing = Thing.model_validate(raw)
            things.append(thing)
            if thing.iscrowd:
                raise SkipError("the annotation is a crowd", thing.id)
            region = box_xywh(thing.bbox).clipped(image.width, image.height)
            boxes.append(AskedBox(str(thing.id), region, 1.0, thing))
    return Picture(image, things, boxes)


def _detected(file: Path, job: Job) -> dict[Id, list[tuple[str, Region, float]]]:
    """Return a detector's boxes by image, the best first: (where, box, score)."""
    found: dict[Id, list[tuple[str, Region, float]]] = defaultdict(list)
    for where, raw in items(file, load_json(file)):
        with job.guard(where, file):
            one = _Detection.model_validate(raw)
            found[one.image_id].append((where, box_xywh(one.bbox), one.score))
    return {k: sorted(boxes, key=lambda box: -box[2]) for k, boxes in found.items()}


def overlapping(thing: Thing, things: Sequence[Thing]) -> list[int]:
    """Return the other categories whose boxes overlap with IoU > 0.5, crowds left out."""
    others = [one for one in things if not one.iscrowd and one.category_id != thing.category_id]
    near = ious([thing.box_xyxy_px], [one.box_xyxy_px for one in others])[0]
    return sorted({one.category_id for one, v in zip(others, near, strict=True) if v > OVERLAP})


def coco_dict(pictures: Sequence[Picture]) -> CocoDict:
    """Return `images` and `annotations` for `coco_ap.average_precision`."""
    things = [thing for picture in pictures for thing in picture.things]
    return {
        "images": [{"id": picture.image.id} for picture in pictures],
        "annotations": [
            {"image_id": t.image_id, "category_id": t.category_id, "bbox": list(t.bbox),
             "area": t.area, "iscrowd": t.iscrowd}
            for t in things
        ],
    }  # fmt: skip
