"""COCO's average precision of boxes by pycocotools, with bootstrap intervals over images.

A bootstrap draw is a weight for each image: its number of copies. Boxes are matched within an
image, so pycocotools matches once and each draw sums the matches with its weights. The result
equals pycocotools' on the copies, apart from the order of equal scores within an image.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from chatspot_train.evaluation.metrics.intervals import Row

AP_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
DRAWS = 200
_AT_A_TIME = 50
CocoDict = dict[str, Any]
Values = NDArray[np.float64]


def average_precision(
    truth: CocoDict, detections: Sequence[CocoDict], draws: int = DRAWS, seed: int = 0
) -> dict[str, Row]:
    """Return average precision in [0, 1] by the names of AP_NAMES; `n` counts images.

    `truth` holds `images`, `annotations` and `categories` as a COCO file does; a detection has
    `image_id`, `category_id`, `bbox` (x, y, width, height in pixels) and `score`. Detections in a
    crowd's box are ignored. At most 100 detections of a category count in an image; equal scores
    are in the order of images, then of the list. A name without objects is left out, such as APl
    if all are small.
    """
    judge = matched(truth, detections)
    with redirect_stdout(io.StringIO()):
        judge.accumulate()
        judge.summarize()
    images = len(judge.params.imgIds)
    weights = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), size=draws
    )
    drawn = weighted_precision(judge, weights.astype(float))
    rows: dict[str, Row] = {}
    for k, name in enumerate(AP_NAMES):
        if judge.stats[k] >= 0:
            low, high = np.nanpercentile(drawn[:, k], [2.5, 97.5])
            rows[name] = {"value": float(judge.stats[k]), "n": images, "low": float(low),
                          "high": float(high)}  # fmt: skip
    return rows


def matched(truth: CocoDict, detections: Sequence[CocoDict]) -> COCOeval:
    """Return a COCOeval with the detections matched to the truth, image by image."""
    boxes = [
        {**found, "area": found["bbox"][2] * found["bbox"][3], "iscrowd": 0} for found in detections
    ]
    with redirect_stdout(io.StringIO()):
        judge = COCOeval(_indexed(truth, truth["annotations"]), _indexed(truth, boxes), "bbox")
        judge.evaluate()
    return judge


def _indexed(truth: CocoDict, annotations: Sequence[CocoDict]) -> Any:
    """Return a COCO of these annotations with new ids: pycocotools takes the id 0 for no match."""
    coco = COCO()
    coco.dataset = {
        "images": truth["images"], "categories": truth["categories"],
        "annotations": [{**one, "id": k} for k, one in enumerate(annotations, start=1)],
    }  # fmt: skip
    coco.createIndex()
    return coco


def weighted_precision(judge: Any, weights: Values) -> Values:
    """Return average precision of weighted images (draws x AP_NAMES).

    `judge` is an evaluated COCOeval; `weights` (draws x images) counts each image's copies. A name
    without objects in a draw is nan.
    """
    categories, areas = len(judge.params.catIds), len(judge.params.areaRng)
    images = len(judge.params.imgIds)
    cells = np.array([
        _cell(judge.evalImgs[first : first + images], judge.params.recThrs, weights)
        for first in range(0, categories * areas * images, images)
    ])  # fmt: skip
    # categories x areas (all, small, medium, large) x draws x thresholds
    cells = cells.reshape(categories, areas, len(weights), -1)
    at = {round(float(v), 2): k for k, v in enumerate(judge.params.iouThrs)}
    found = [
        cells[:, 0], cells[:, 0, :, at[0.5]], cells[:, 0, :, at[0.75]],
        cells[:, 1], cells[:, 2], cells[:, 3],
    ]  # fmt: skip
    return np.stack([_mean(one) for one in found], axis=1)


def _mean(values: Values) -> Values:
    """Return the mean over all axes but the draws (axis 1), without nan."""
    flat = values.reshape(*values.shape[:2], -1)
    known = ~np.isnan(flat)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, flat, 0).sum((0, 2)) / known.sum((0, 2))


def _cell(found: Sequence[CocoDict | None], levels: Values, weights: Values) -> Values:
    """Return average precision of one category and area range (draws x IoU thresholds).

    `found` are pycocotools' matches image by image. Where nothing is to be found it is nan.
    """
    told = [(image, one) for image, one in enumerate(found) if one is not None]
    positives = np.zeros(len(found))
    for image, one in told:
        positives[image] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
    thresholds = told[0][1]["dtMatches"].shape[0] if told else 10
    wanted = weights @ positives
    result = np.where(wanted[:, None] > 0, 0.0, np.nan).repeat(thresholds, axis=1)
    scores = np.array([score for _, one in told for score in one["dtScores"]])
    if not len(scores) or not positives.any():
        return result
    order = np.argsort(-scores, kind="mergesort")
    image_of = np.concatenate([np.full(len(one["dtScores"]), image) for image, one in told])[order]
    matched = np.concatenate([one["dtMatches"] for _, one in told], axis=1)[:, order] > 0
    counts = ~np.concatenate([one["dtIgnore"] for _, one in told], axis=1)[:, order].astype(bool)
    for first in range(0, len(weights), _AT_A_TIME):
        some = weights[first : first + _AT_A_TIME]
        weight = some[:, None, image_of]
        right = np.cumsum(weight * (matched & counts), axis=-1)
        wrong = np.cumsum(weight * (~matched & counts), axis=-1)
        precision = right / (right + wrong + np.spacing(1))
        precision = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
        for k, total in enumerate(wanted[first : first + _AT_A_TIME]):
            if total > 0:
                result[first + k] = [
                    _at_levels(one / total, best, levels)
                    for one, best in zip(right[k], precision[k], strict=True)
                ]
    return result


def _at_levels(recall: Values, precision: Values, levels: Values) -> float:
    """Return the mean of the best precision from each recall level on; 0 for an unreached level."""
    index = np.searchsorted(recall, levels, side="left")
    return float(precision[index[index < len(precision)]].sum() / len(levels))
