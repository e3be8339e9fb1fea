"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions for things in COCO's images.

The refs are read as JSON, beside COCO's `instances.json`; the published pickle is refused. All
first sentences come before all second ones, so that a question for a thing's place does not follow
one that told it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import (
    Entry,
    Job,
    Source,
    SourceError,
    draw,
    draw_number,
)
from chatspot_train.data.sources.coco import Coco, CocoAnnotation, CocoImage, Id, load_coco, read_id
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import (
    Schema,
    box_xywh,
    clean,
    items,
    load_json,
)
from chatspot_train.data.sources.registry import register

LOCATE_QUESTIONS = (
    "Where is {thing}?",
    "Find {thing}.",
    "Locate {thing}.",
    "Where in the picture is {thing}?",
    "Point to {thing}.",
    "Give the box of {thing}.",
    "Where do you see {thing}?",
)
NAME_QUESTIONS = (
    "What tells <region> from everything else in the picture?",
    "Name <region> so that nothing else can be meant.",
    "Refer to <region> in a few words.",
    "What is the shortest way to say which thing <region> is?",
    "Give an expression that only fits <region>.",
)
EVERY_THIRD = 3  # every third question asks for the expression, the others for the box


class _Sentence(Schema):
    sent: str = ""
    raw: str = ""


class Ref(Schema):
    """A thing and its expressions; each of `sentences` is validated on demand."""

    ref_id: int
    ann_id: Id
    image_id: Id
    split: str
    sentences: tuple[Any, ...]

    def expression(self, k: int) -> str:
        """Return the k-th expression. Raises SkipError where the ref has none."""
        if k >= len(self.sentences):
            raise SkipError("the ref has no sentences", self.ref_id)
        sentence = _Sentence.model_validate(self.sentences[k])
        return clean(sentence.sent if sentence.sent.strip() else sentence.raw)


def _files(job: Job) -> tuple[Path, Path]:
    """Return the files of refs and instances: in the given folder, or beside the given refs."""
    refs = job.annotations
    if refs.is_dir():
        found = sorted(refs.glob("refs*.json")) or sorted(refs.glob("refs*.p"))
        if len(found) != 1:
            raise SourceError(
                f"there is not one file of refs but {len(found)}", value=refs / "refs*.json",
                remedy="give one of them with --annotations",
            )  # fmt: skip
        refs = found[0]
    return refs, refs.with_name("instances.json")


def _entries(job: Job) -> list[Entry]:
    """Return one entry for each sentence, in rounds; a ref without any is in the first round."""
    refs_file, instances_file = _files(job)
    refs = [
        (where, raw) for where, raw in items(refs_file, load_json(refs_file))
        if not job.split or not isinstance(raw, dict) or raw.get("split") in (job.split, None)
    ]  # fmt: skip
    instances = _Instances(load_coco(instances_file, job))
    counts = [_count_sentences(raw) for _, raw in refs]
    return [
        (f"{where}.sentences[{k}]", (raw, k, instances))
        for k in range(max(counts, default=0))
        for (where, raw), count in zip(refs, counts, strict=True)
        if k < count
    ]


def _count_sentences(raw: Any) -> int:
    sentences = raw.get("sentences") if isinstance(raw, dict) else None
    return max(len(sentences), 1) if isinstance(sentences, list) else 1


class _Instances:
    """COCO's images and annotations by id, validated on demand."""

    def __init__(self, coco: Coco) -> None:
        self._images, self._things = (
            {read_id(raw.get("id")): raw for _, raw in entries if isinstance(raw, dict)}
            for entries in (coco.images, coco.annotations)
        )

    def image(self, image_id: int | str) -> CocoImage:
        if image_id not in self._images:
            raise SkipError("instances.json has no such picture", image_id)
        return CocoImage.model_validate(self._images[image_id])

    def thing(self, ann_id: int | str) -> CocoAnnotation:
        if ann_id not in self._things:
            raise SkipError("instances.json has no such annotation", ann_id)
        thing = CocoAnnotation.model_validate(self._things[ann_id])
        if thing.iscrowd:
            raise SkipError("the box is of a crowd, not of one thing", ann_id)
        return thing


def _turn(ref: Ref, k: int, thing: CocoAnnotation, size: tuple[int, int]) -> RecordTurn:
    expression = ref.expression(k)
    box = box_xywh(thing.bbox).clipped(*size)
    key = (ref.ref_id, k)
    if draw_number(EVERY_THIRD, "refcoco", *key, "way"):
        question = draw(LOCATE_QUESTIONS, "refcoco", *key).replace("{thing}", expression)
        return RecordTurn(question, "<region>", (), "locate", (box,))
    shapes: list[Region] = [box]
    outline = thing.polygon()
    if outline is not None:
        shapes.append(outline.clipped(*size))
    shape = shapes[draw_number(len(shapes), "refcoco", *key, "shape")]
    return RecordTurn(draw(NAME_QUESTIONS, "refcoco", *key), expression, (shape,))


def _source(name: str, refs: str, splits: tuple[str, ...]) -> Source:
    def convert(raw: Any, where: str, job: Job) -> Iterator[Record]:
        loaded, k, instances = raw
        ref = Ref.model_validate(loaded)
        thing = instances.thing(ref.ann_id)
        image = instances.image(ref.image_id)
        size = job.pictures.size(image.file_name, (image.width, image.height))
        turn = _turn(ref, k, thing, size)
        yield source.record(f"{ref.ref_id}-{k}", image.file_name, size, [turn], ref.split)

    source = Source(
        name=name,
        licence="the expressions: see the authors' page; the pictures are COCO's, under Flickr's "
        "terms",
        tags=("region level", "short"),
        annotations=refs,
        entries=_entries,
        convert=convert,
        splits=splits,
    )
    return source


for _name, _refs, _splits in (
    ("refcoco", "refcoco/refs(unc).json", ("train", "val", "testA", "testB")),
    ("refcoco+", "refcoco+/refs(unc).json", ("train", "val", "testA", "testB")),
    ("refcocog", "refcocog/refs(umd).json", ("train", "val", "test")),
):
    register(_source(_name, _refs, _splits))
