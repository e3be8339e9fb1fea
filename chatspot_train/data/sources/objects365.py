"""Objects365, in COCO's format: the things in an image, and the thing in a region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source, draw, draw_number
from chatspot_train.data.sources.coco import CocoAnnotation, CocoImage, load_coco, read_id
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import box_xywh, clean
from chatspot_train.data.sources.registry import register

LIST_QUESTIONS = (
    "Which kinds of things are in the picture?",
    "What things can be seen? Name each kind once.",
    "List the kinds of objects in this picture.",
    "What is in view? Give the kinds of things, the most frequent first.",
    "Name everything in the picture, each kind of thing once.",
)
COUNT_QUESTIONS = (
    "How many of this kind are in the picture: {thing}?",
    "Count the things of this kind in the picture: {thing}.",
    "How many times do you see this kind of thing: {thing}?",
    "How many are there of: {thing}?",
)
REGION_QUESTIONS = (
    "What is in <region>?",
    "What is the thing in <region> called?",
    "Which kind of object is in <region>?",
    "Name the object in <region>.",
    "What do you see in <region>?",
    "<region>: what is it?",
)


def thing_name(name: str) -> str:
    """Return a category's name in words: `Cabinet/shelf` becomes `cabinet or shelf`."""
    return clean(name.replace("/", " or ")).lower()


def _entries(job: Job) -> list[Entry]:
    """Return (image, its annotations, the loaded file) for every image of the file."""
    coco = load_coco(job.annotations, job)
    groups = coco.by_image(job)

    def of(raw: Any) -> list[Entry]:
        image_id = read_id(raw.get("id")) if isinstance(raw, dict) else None
        return groups.get(image_id, []) if image_id is not None else []

    return [(where, (raw, of(raw), coco)) for where, raw in coco.images]


def _picture(raw: Any, job: Job) -> tuple[CocoImage, str]:
    """Return the image and its path.

    The file names `images/v1/patch8/NAME`, while the archives unpack to `patch8/NAME`.
    """
    image = CocoImage.model_validate(raw)
    parts = image.file_name.split("/")
    name = job.pictures.find(dict.fromkeys("/".join(parts[-k:]) for k in (len(parts), 2, 1)))
    job.pictures.size(name, (image.width, image.height))
    return image, name


def _convert_image(raw: Any, where: str, job: Job) -> Iterator[Record]:
    loaded, annotations, coco = raw
    image, name = _picture(loaded, job)
    counts: Counter[str] = Counter()
    crowded: set[str] = set()
    for place, one in annotations:
        with job.guard(place):
            annotation = CocoAnnotation.model_validate(one)
            thing = thing_name(coco.name(annotation.category_id))
            counts[thing] += 1
            if annotation.iscrowd:
                crowded.add(thing)
    if not counts:
        return
    names = [thing for thing, _ in counts.most_common()]
    key = ("objects365_image", image.id)
    turns = [RecordTurn(draw(LIST_QUESTIONS, *key), ", ".join(names))]
    # A crowd has one box for any number of things.
    countable = [thing for thing in names if thing not in crowded]
    if countable:
        thing = countable[draw_number(len(countable), *key, "thing")]
        question = draw(COUNT_QUESTIONS, *key, "count").replace("{thing}", thing)
        turns.append(RecordTurn(question, str(counts[thing])))
    yield IMAGE.record(str(image.id), name, (image.width, image.height), turns)


def _convert_region(raw: Any, where: str, job: Job) -> Iterator[Record]:
    loaded, annotations, coco = raw
    image, name = _picture(loaded, job)
    turns = []
    for place, one in annotations:
        with job.guard(place):
            annotation = CocoAnnotation.model_validate(one)
            if annotation.iscrowd:
                raise SkipError("the box is of a crowd, not of one thing", annotation.id)
            region = box_xywh(annotation.bbox).clipped(image.width, image.height)
            question = draw(REGION_QUESTIONS, "objects365_region", annotation.id)
            thing = thing_name(coco.name(annotation.category_id))
            turns.append(RecordTurn(question, thing, (region,)))
    yield from REGION.records(str(image.id), name, (image.width, image.height), turns)


IMAGE = Source(
    name="objects365_image",
    licence="Objects365: CC BY 4.0 for the annotations; the pictures belong to their owners",
    tags=("image level", "short"),
    annotations="zhiyuan_objv2_train.json",
    entries=_entries,
    convert=_convert_image,
)
REGION = replace(
    IMAGE, name="objects365_region", tags=("region level", "short"), convert=_convert_region
)
register(IMAGE)
register(REGION)
