"""Boxes: how much they overlap, how they are moved, and COCO's average precision of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from chatspot_ros.regions import BoxXyxy

AP_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
CocoDict = dict[str, Any]


def noisy_box(
    box: BoxXyxy, scale: float, width: int, height: int, rng: np.random.Generator
) -> BoxXyxy:
    """Each edge moved by up to half of `scale` of the box's side, evenly drawn, kept inside."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    moves = rng.uniform(-0.5, 0.5, 4) * scale * np.array([w, h, w, h])
    a, b, c, d = np.clip(np.array(box) + moves, 0, [width, height, width, height])
    return float(a), float(b), float(c), float(d)


def ious(a: Sequence[BoxXyxy], b: Sequence[BoxXyxy]) -> NDArray[np.float64]:
    """Intersection over union of each of N boxes with each of M, as N x M; x1, y1, x2, y2 each."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    return np.asarray(mask.iou(_xywh(a), _xywh(b), [0] * len(b)), np.float64)


def iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    return float(ious([a], [b])[0, 0])


def _xywh(boxes: Sequence[BoxXyxy]) -> NDArray[np.float64]:
    corners = np.array(boxes, np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def average_precision(truth: CocoDict, detections: Sequence[CocoDict]) -> dict[str, float]:
    """COCO's average precision of boxes, in [0, 1], by the names of AP_NAMES, from pycocotools.

    `truth` holds `images`, `annotations` and `categories` as a COCO file does; a detection has
    `image_id`, `category_id`, `bbox` (x, y, width, height in pixels) and `score`. What lies in a
    crowd's box counts neither for nor against. At most 100 detections of a category count in a
    picture; of equal scores the earlier picture's comes first, then the earlier in the list. A
    name that no object counts for, such as APl where all are small, is left out.
    """
    boxes = [
        {**found, "area": found["bbox"][2] * found["bbox"][3], "iscrowd": 0} for found in detections
    ]
    with redirect_stdout(io.StringIO()):
        judge = COCOeval(_indexed(truth, truth["annotations"]), _indexed(truth, boxes), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    values = zip(AP_NAMES, judge.stats[: len(AP_NAMES)], strict=True)
    return {name: float(value) for name, value in values if value >= 0}


def _indexed(truth: CocoDict, annotations: Sequence[CocoDict]) -> Any:
    """A COCO of these annotations, numbered anew: pycocotools takes the id 0 for no match."""
    coco = COCO()
    coco.dataset = {
        "images": truth["images"], "categories": truth["categories"],
        "annotations": [{**one, "id": k} for k, one in enumerate(annotations, start=1)],
    }  # fmt: skip
    coco.createIndex()
    return coco
