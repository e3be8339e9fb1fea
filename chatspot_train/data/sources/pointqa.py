"""PointQA: questions whose meaning depends on a pointed place, on Visual Genome's images.

LookTwice-QA asks how many things like the pointed one the image shows; Local-QA asks for an
attribute of the pointed thing. Both are read from the authors' files (an object of lists, by image)
and from Shikra's JSON lines with `file_path`, whose boxes are corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import AliasChoices, Field

from chatspot_ros.core.regions import Region
from chatspot_train.data.records import Record, RecordTurn
from chatspot_train.data.sources.base import Entry, Job, Source, SourceError, draw_number
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.image_folder import visual_genome_names
from chatspot_train.data.sources.json_reader import (
    Schema,
    XywhBox,
    box_xyxy,
    clean,
    json_lines,
    load_json,
    mapping_entries,
)  # fmt: skip
from chatspot_train.data.sources.registry import register

SPLITS = ("train", "val", "test", "testdev", "testfinal")
LEVELS = ("obj_question", "super_question", "general_question")


class _Point(Schema):
    x: float
    y: float
    ans: str = ""


class LookTwice(Schema):
    """One entry of LookTwice-QA."""

    answer: str = Field(validation_alias=AliasChoices("ans", "answer"))
    bbox: XywhBox | tuple[float, ...]
    point: _Point | tuple[float, float]
    obj_question: str = ""
    super_question: str = ""
    general_question: str = ""


class _LocalObjects(Schema):
    question: str
    all_objs: tuple[Any, ...]
    points: tuple[Any, ...]


class _LocalLine(Schema):
    question: str
    answer: str
    bbox: tuple[float, ...]
    point: tuple[float, float]


def _entries(job: Job) -> Iterator[Entry]:
    """Yield (id, possible image names, question, split) of every question of the wanted split."""
    if job.annotations.suffix == ".jsonl":
        if job.split:
            raise SourceError(
                "these lines do not say their split", value=job.split,
                remedy="leave --split out, and give the file of the split",
            )  # fmt: skip
        for where, raw in json_lines(job):
            names = (str(raw.get("file_path")),) if isinstance(raw, dict) else ()
            yield where, (where.replace("line ", ""), names, raw, "")
        return
    splits = _splits(job)
    for where, (image_id, questions) in mapping_entries(job):
        split = splits.get(image_id, "")
        if job.split and split != job.split:
            continue
        listed = questions if isinstance(questions, list) else [questions]
        for k, raw in enumerate(listed):
            yield f"{where}[{k}]", (f"{image_id}-{k}", visual_genome_names(image_id), raw, split)


def _splits(job: Job) -> dict[str, str]:
    """Return the split of each image id, from the lists beside the file.

    Without --split a list may be missing; its images have no split then.
    """
    name = job.annotations.stem.removesuffix("_dataset")
    found: dict[str, str] = {}
    for split in (job.split,) if job.split else SPLITS:
        path = job.annotations.with_name(f"{name}_{split}_imgs.json")
        if not job.split and not path.is_file():
            continue
        loaded = load_json(path)
        if not isinstance(loaded, list):
            raise SourceError("the split's pictures are not a list", value=path,
                              remedy="give the data set's own file")  # fmt: skip
        found |= {str(image_id): split for image_id in loaded}
    return found


def _picture(names: tuple[str, ...], job: Job) -> tuple[str, tuple[int, int]]:
    image = job.pictures.find(names)
    return image, job.pictures.size(image)


def box_region(box: XywhBox | tuple[float, ...]) -> Region:
    """Return the box, given by its corner and size or by two corners, as a region."""
    return box.region() if isinstance(box, XywhBox) else box_xyxy(box)


def point_region(point: _Point | tuple[float, float]) -> Region:
    """Return the point as a region."""
    return Region.point(point.x, point.y) if isinstance(point, _Point) else Region.point(*point)


def _about(question: str) -> str:
    """Return the question with the region at its end, as in `What color is it? <region>`."""
    return f"{clean(question)} <region>"


def _convert_look_twice(raw: Any, where: str, job: Job) -> Iterator[Record]:
    """Convert one question of one level: all three have the same answer."""
    key, names, loaded, split = raw
    entry = LookTwice.model_validate(loaded)
    levels = [text for text in (getattr(entry, level) for level in LEVELS) if text.strip()]
    if not levels:
        raise SkipError("there is none of " + ", ".join(LEVELS), loaded)
    image, size = _picture(names, job)
    pointed = draw_number(2, "looktwice_qa", key, "shape")
    region = (point_region(entry.point) if pointed else box_region(entry.bbox)).clipped(*size)
    question = levels[draw_number(len(levels), "looktwice_qa", key)]
    turn = RecordTurn(_about(question), clean(entry.answer), (region,))
    yield LOOK_TWICE.record(key, image, size, [turn], split)


def _convert_local(raw: Any, where: str, job: Job) -> Iterator[Record]:
    key, names, loaded, split = raw
    image, size = _picture(names, job)
    turns = []
    for k, (question, answer, box, point) in enumerate(local_questions(loaded, where, job)):
        with job.guard(f"{where}.points[{k}]"):
            pointed = draw_number(2, "pointqa_local", key, k)
            region = (point_region(point) if pointed else box_region(box)).clipped(*size)
            turns.append(RecordTurn(_about(question), clean(answer), (region,)))
    yield from LOCAL.records(key, image, size, turns, split)


Asked = tuple[str, str, XywhBox | tuple[float, ...], _Point | tuple[float, float]]


def local_questions(loaded: Any, where: str, job: Job) -> Iterator[Asked]:
    """Yield (question, answer, box, point) of each thing that an entry asks about."""
    if isinstance(loaded, dict) and "file_path" in loaded:
        line = _LocalLine.model_validate(loaded)
        yield line.question, line.answer, line.bbox, line.point
        return
    entry = _LocalObjects.model_validate(loaded)
    if len(entry.all_objs) != len(entry.points):
        raise SkipError("not as many points as objects", f"{len(entry.points)} points")
    for k, (thing, pointed) in enumerate(zip(entry.all_objs, entry.points, strict=True)):
        with job.guard(f"{where}.all_objs[{k}]"):
            point = _Point.model_validate(pointed)
            yield entry.question, point.ans, XywhBox.model_validate(thing), point


LOOK_TWICE = Source(
    name="looktwice_qa",
    licence="PointQA: see the authors' repository; the pictures are Visual Genome's, CC BY 4.0",
    tags=("region level", "short"),
    annotations="Datasets/LookTwiceQA/looktwiceqa_dataset.json",
    entries=_entries,
    convert=_convert_look_twice,
    splits=("train", "val", "test"),
)
LOCAL = replace(
    LOOK_TWICE,
    name="pointqa_local",
    annotations="Datasets/LocalQA/localqa_dataset.json",
    convert=_convert_local,
    splits=("train", "val", "testdev", "testfinal"),
)
register(LOOK_TWICE)
register(LOCAL)
