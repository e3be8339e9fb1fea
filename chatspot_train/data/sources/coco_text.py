"""COCO-Text 2: words in COCO's training images, with their boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from chatspot_train.data.records import Record
from chatspot_train.data.sources.base import Entry, Job, Source, SourceError
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import Schema, box_xywh, load_json
from chatspot_train.data.sources.region_reading import reading_turn
from chatspot_train.data.sources.registry import register


class _Image(Schema):
    file_name: str
    width: int
    height: int
    split: str = Field(alias="set")


class _Word(Schema):
    bbox: tuple[float, ...]
    legibility: str
    utf8_string: str = ""


def _entries(job: Job) -> list[Entry]:
    """Return (key, image, [(key, word), ...]) of every image in the wanted split."""
    loaded = load_json(job.annotations)
    whole = loaded if isinstance(loaded, dict) else {}
    images, words, of_image = (whole.get(key) for key in ("imgs", "anns", "imgToAnns"))
    if not (isinstance(images, dict) and isinstance(words, dict) and isinstance(of_image, dict)):
        raise SourceError(
            "the annotations do not hold imgs, anns and imgToAnns", value=job.annotations,
            remedy="give COCO-Text's own cocotext.v2.json",
        )  # fmt: skip
    return [
        (f"imgs[{key}]", (key, image, [(k, words.get(str(k))) for k in of_image.get(key, [])]))
        for key, image in images.items()
        if not job.split or not isinstance(image, dict) or image.get("set") in (job.split, None)
    ]  # fmt: skip


def _convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
    key, loaded, words = raw
    image = _Image.model_validate(loaded)
    size = job.pictures.size(image.file_name, (image.width, image.height))
    turns = []
    for word_id, one in words:
        with job.guard(f"anns[{word_id}]"):
            if one is None:
                raise SkipError("imgToAnns names a word that is not in anns", word_id)
            word = _Word.model_validate(one)
            if word.legibility != "legible":
                raise SkipError("the text is not legible", word.legibility)
            box = box_xywh(word.bbox)
            turns.append(reading_turn(word.utf8_string, box, size, "coco_text", word_id))
    yield from SOURCE.records(key, image.file_name, size, turns, image.split)


SOURCE = Source(
    name="coco_text",
    licence="COCO-Text: CC BY 4.0; the pictures are COCO's, under Flickr's terms",
    tags=("region level", "short", "text"),
    annotations="cocotext.v2.json",
    entries=_entries,
    convert=_convert,
    splits=("train", "val", "test"),
)
register(SOURCE)
