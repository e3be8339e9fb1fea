"""COCO region recognition (the paper's Table 1): the category of the thing in a box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from chatspot_ros.core.boxes import xyxy_to_xywh
from chatspot_train.evaluation.dataset_files import (
    KITCHEN_DETECTIONS,
    need_some,
    reading,
)
from chatspot_train.evaluation.metrics.category_match import (
    CategoryMatcher,
    ClipMatcher,
    PlainTextMatcher,
)
from chatspot_train.evaluation.metrics.coco_ap import AP_NAMES, CocoDict, average_precision
from chatspot_train.evaluation.metrics.intervals import Parts, Row, rows_of
from chatspot_train.evaluation.metrics.text import percent
from chatspot_train.evaluation.registry import register
from chatspot_train.evaluation.suite import (
    AskedTurn,
    Item,
    MissingDataError,
    NoAnswersError,
    Option,
    Prediction,
    RegionSuite,
    Report,
    Suite,
    markdown,
    need,
)  # fmt: skip
from chatspot_train.evaluation.suites.coco_pictures import (
    COCO_VAL,
    OWN_FILES,
    WANTS_OWN,
    CocoFiles,
    Picture,
    coco_dict,
    image_path,
    load_pictures,
    overlapping,
)

QUESTION = "What can you see in this region? <region>"
WANTS_DETECTIONS = (
    "give a detector's result file for val2017 in COCO's form: a list of image_id, category_id, "
    "bbox, score"
)
DETECTIONS = Option("detections", "a detector's result file, whose boxes are asked", Path)
CLIP = Option("clip", "a CLIP checkpoint that maps answers to categories")
PAPER_OWN_BOXES = dict(
    zip((*AP_NAMES, "accuracy"), (0.488, 0.488, 0.488, 0.351, 0.560, 0.603, 0.645), strict=True)
)
PAPER_DETECTOR = dict(zip(AP_NAMES, (0.396, 0.502, 0.441, 0.216, 0.458, 0.588), strict=True))


@register
@dataclass(frozen=True)
class CocoRegion(RegionSuite):
    """One question about each box of val2017 images drawn by the seed.

    The boxes are COCO's own, crowds left out, or the `max_boxes` best of each image from
    `detections`, a detector's result file in COCO's format whose categories are ignored. Without a
    limit, `pictures` images are drawn (0: all); of own `files` all are asked about.

    A detection's score is the detector's (1 for COCO's own boxes) times the confidence of the
    answer; the detector's alone if `use_confidence` is False or no answer has a confidence. The
    paper does not say which it used. An answer without a category is no detection.
    """

    detections: Path | None = None
    matcher: CategoryMatcher = field(default_factory=PlainTextMatcher)
    pictures: int = 1000
    max_boxes: int = 100
    use_confidence: bool = True
    files: CocoFiles = COCO_VAL

    name = "coco_region"
    on_kitchen = True
    headline: ClassVar[Mapping[str, str]] = {
        "AP": "average precision (AP)",
        "AP50": "AP at IoU 0.5",
        "accuracy": "accuracy on the true boxes",
    }
    options = (*OWN_FILES, DETECTIONS, CLIP)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """See Suite."""
        return cls(options.get("detections"), _matcher(options), **_own(options))

    @classmethod
    def of_boxes(cls, options: Mapping[str, Any]) -> Self:
        """See RegionSuite: COCO's own boxes."""
        return cls(matcher=_matcher(options), **_own(options))

    @classmethod
    def kitchen_variants(cls, data: Path) -> dict[str, Suite]:
        """See Suite."""
        detector = cls(detections=data / KITCHEN_DETECTIONS)
        return {cls.name: cls(), f"{cls.name}_simulated_detector": detector}

    @property
    def wants(self) -> str:
        """See Suite."""
        return WANTS_OWN if self.files.own else (
            "give --data a folder with annotations/instances_val2017.json and val2017/, both from "
            "cocodataset.org (2017 Train/Val annotations, 2017 Val images), or your own files with "
            "--annotations and --images"
        )  # fmt: skip

    @property
    def paper(self) -> Mapping[str, float]:
        """See Suite; the paper asks about COCO."""
        if self.files.own:
            return {}
        return PAPER_OWN_BOXES if self.detections is None else PAPER_DETECTOR

    def items(self, data: Path, limit: int, seed: int) -> Iterator[Item]:
        """See Suite; `limit` counts images. Raises MissingDataError, SourceError."""
        file, folder = self.files.find(data, self.wants)
        if self.detections is not None:
            need(self.detections, WANTS_DETECTIONS)
        with reading(file, folder) as job:
            pictures, names = load_pictures(
                job, limit or self.pictures, seed, self.detections, self.max_boxes
            )
            if self.detections is None:
                need_some([box for one in pictures for box in one.boxes], file, self.wants, job)
        paths = {one.image.id: image_path(one.image, folder, self.wants) for one in pictures}
        if self.detections is not None and not any(picture.boxes for picture in pictures):
            raise MissingDataError("no box is on the drawn pictures", value=self.detections,
                                   remedy=WANTS_DETECTIONS)  # fmt: skip
        return iter(_items(pictures, paths, names))

    def named(self, predictions: Sequence[Prediction]) -> list[int | None]:
        """Return the category id of each answer; None for an answer without a category."""
        categories = _categories(predictions)
        found = self.matcher.match([p.text for p in predictions], [c["name"] for c in categories])
        return [None if k is None else categories[k]["id"] for k in found]

    def right(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each answer with the box's own category.

        Raises ValueError for a detector's boxes: their truth is unknown.
        """
        return _right(self.named(predictions), predictions)

    def hallucinated(self, predictions: Sequence[Prediction]) -> list[bool]:
        """Return True for each wrong answer that names an overlapping thing (IoU > 0.5)."""
        named = self.named(predictions)
        right = _right(named, predictions)
        return [
            not good and k in p.truth["overlapping"]
            for good, k, p in zip(right, named, predictions, strict=True)
        ]

    def parts(self, predictions: Sequence[Prediction]) -> Parts:
        """Parts of `accuracy`, for COCO's own boxes, and `no_category`."""
        named = self.named(predictions)
        parts = {
            "no_category": {p.key: (float(k is None), 1.0)
                            for k, p in zip(named, predictions, strict=True)}
        }  # fmt: skip
        if _own_boxes(predictions):
            right = _right(named, predictions)
            parts["accuracy"] = {
                p.key: (float(good), 1.0) for good, p in zip(right, predictions, strict=True)
            }
        return parts

    def score(self, predictions: Sequence[Prediction]) -> Report:
        """Average precision; accuracy on COCO's own boxes. Raises ValueError for no predictions."""
        if not predictions:
            raise NoAnswersError
        truth, named = _truth(predictions), self.named(predictions)
        confident = self.use_confidence and any(p.confidence > 0 for p in predictions)
        detections = [
            {"image_id": p.truth["image_id"], "category_id": k, "bbox": p.truth["bbox"],
             "score": p.truth["score"] * (p.confidence if confident else 1.0)}
            for k, p in zip(named, predictions, strict=True) if k is not None
        ]  # fmt: skip
        rows = average_precision(truth, detections) | rows_of(self.parts(predictions))
        boxes = "GT" if _own_boxes(predictions) else "detector"
        return Report(rows, self._table(rows, boxes, len(truth["images"]), confident))

    def _table(self, rows: dict[str, Row], boxes: str, pictures: int, confident: bool) -> str:
        names = (*AP_NAMES, "accuracy")
        known = PAPER_OWN_BOXES if boxes == "GT" else PAPER_DETECTOR
        paper, ours = ([percent(some.get(name)) for name in names] for some in (known, rows))
        lines = [("paper", "GT" if boxes == "GT" else "DINO", *paper), ("ours", boxes, *ours)]
        table = markdown(("", "boxes", *names), lines[1:] if self.files.own else lines)
        score = "1" if boxes == "GT" else "the detector's"
        times = " x the answer's confidence" if confident else ""
        return (
            f"{table}\n\n{pictures} pictures; in percent; categories by {self.matcher.name}; a "
            f"detection's score is {score}{times}."
        )


def _own(options: Mapping[str, Any]) -> dict[str, Any]:
    files = CocoFiles.from_options(options)
    return {"files": files, "pictures": 0} if files.own else {}


def _matcher(options: Mapping[str, Any]) -> CategoryMatcher:
    return ClipMatcher(options["clip"]) if options.get("clip") else PlainTextMatcher()


def _own_boxes(predictions: Sequence[Prediction]) -> bool:
    return all("category_id" in p.truth for p in predictions)


def _right(named: Sequence[int | None], predictions: Sequence[Prediction]) -> list[bool]:
    if not _own_boxes(predictions):
        raise ValueError("accuracy needs COCO's own boxes, not a detector's")
    return [k == p.truth["category_id"] for k, p in zip(named, predictions, strict=True)]


def _items(
    pictures: Sequence[Picture], paths: Mapping[Any, Path], names: dict[int, str]
) -> list[Item]:
    """Return the items; `paths` are by image id.

    An image's first item carries its annotations, the first of all also those of images without
    boxes, whose things count as missed.
    """
    found: list[Item] = []
    silent = [picture for picture in pictures if not picture.boxes]
    for picture in pictures:
        image = picture.image
        for box in picture.boxes:
            truth: dict[str, Any] = {
                "image_id": image.id, "size": [image.width, image.height],
                "bbox": list(xyxy_to_xywh(box.region.box_xyxy_px)), "score": box.score,
            }  # fmt: skip
            if box.thing is not None:
                truth["category_id"] = box.thing.category_id
                truth["overlapping"] = overlapping(box.thing, picture.things)
            if box is picture.boxes[0]:
                truth["coco"] = coco_dict([picture] if found else [picture, *silent])
            if not found:
                truth["categories"] = [{"id": k, "name": name} for k, name in names.items()]
            turn = AskedTurn(QUESTION, (box.region,))
            found.append(Item(box.key, paths[image.id], (turn,), truth))
    return found


def _categories(predictions: Sequence[Prediction]) -> list[CocoDict]:
    """Return COCO's categories. Raises ValueError if the first prediction is missing."""
    for p in predictions:
        if "categories" in p.truth:
            found: list[CocoDict] = p.truth["categories"]
            return found
    raise ValueError("the first answer is missing, which carries the categories")


def _truth(predictions: Sequence[Prediction]) -> CocoDict:
    """Return COCO's annotations of all asked images. Raises ValueError if some are missing."""
    parts = [p.truth["coco"] for p in predictions if "coco" in p.truth]
    images = [image for part in parts for image in part["images"]]
    if {p.truth["image_id"] for p in predictions} - {image["id"] for image in images}:
        raise ValueError("some answers are missing: each picture's first carries its truth")
    annotations = [one for part in parts for one in part["annotations"]]
    return {"images": images, "annotations": annotations, "categories": _categories(predictions)}
