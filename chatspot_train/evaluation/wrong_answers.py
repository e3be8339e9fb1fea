"""A sheet of wrong answers on their pictures: a model is known by what it gets wrong."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import Note, annotate
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.evaluation.suite import Item, Prediction

SHEET = "wrong.jpg"  # in a result folder
MOST, COLUMNS = 12, 3
TILE_WH = (480, 360)
_log = logging.getLogger(__name__)


def write_sheet(
    items: Sequence[Item], predictions: Sequence[Prediction], right: Sequence[bool], out: Path
) -> int:
    """Draw up to MOST wrong answers, of as many rows and pictures as there are, as `out`/SHEET.

    A missing answer is not drawn. Returns the number of tiles; with none an earlier sheet goes.
    """
    (out / SHEET).unlink(missing_ok=True)
    asked = {item.key: item for item in items}
    wrong = [
        (asked[one.key], one) for one, good in zip(predictions, right, strict=True)
        if not good and not one.error
    ]  # fmt: skip
    tiles: list[RgbImage] = []
    for item, prediction in _spread(wrong):
        if len(tiles) == MOST:
            break
        try:
            picture = item.image() if callable(item.image) else read_picture(item.image)
        except RecordError as error:
            _log.warning("%s is not on the sheet of wrong answers: %s", item.key, error)
            continue
        tiles.append(_tile(picture, prediction))
    count = len(tiles)
    if count:
        blank = np.full_like(tiles[0], 255)
        tiles += [blank] * (-count % COLUMNS)
        rows = [np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)]
        sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(out / SHEET), sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return count


def _spread(wrong: Sequence[tuple[Item, Prediction]]) -> list[tuple[Item, Prediction]]:
    """Return them row by row in turn, each row's evenly drawn from all of its own."""
    rows: dict[str, list[tuple[Item, Prediction]]] = defaultdict(list)
    for pair in wrong:
        rows[str(pair[1].truth.get("row", pair[1].truth.get("kind", "")))].append(pair)
    drawn = [found[:: max(1, len(found) // MOST)] for found in rows.values()]
    return [pair for pair in chain.from_iterable(zip_longest(*drawn)) if pair is not None]


def _tile(image_rgb: RgbImage, prediction: Prediction) -> RgbImage:
    """Return the picture with regions, the answer and the truth, of TILE_WH pixels."""
    scale = min(TILE_WH[0] / image_rgb.shape[1], (TILE_WH[1] - 60) / image_rgb.shape[0])
    size = [max(1, round(side * scale)) for side in image_rgb.shape[1::-1]]
    small: RgbImage = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    regions = [
        Region(tuple((x * scale, y * scale) for x, y in one)) for one in prediction.regions_px
    ]
    boxes = [Region.box(*(side * scale for side in box)) for box in prediction.boxes_xyxy_px]
    drawn = annotate(small, [Note(tuple(regions or [Region.image()]), "", tuple(boxes))])
    tile = np.full((TILE_WH[1], TILE_WH[0], 3), 255, np.uint8)
    tile[: size[1], : size[0]] = drawn
    texts = (f"? {prediction.question}", f"- {prediction.text}", f"+ {_truth(prediction.truth)}")
    for number, text in enumerate(texts):
        line = text.encode("ascii", "replace").decode()[:68]
        cv2.putText(tile, line, (4, TILE_WH[1] - 44 + 18 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
                    (0, 0, 0), 1, cv2.LINE_AA)  # fmt: skip
    return tile


def _truth(truth: dict[str, Any]) -> str:
    """Return what is true, in a line: the truth's texts and lists of texts."""
    said = {key: value for key, value in truth.items() if key not in ("row", "kind", "size")}
    for name in ("answer", "text", "name"):
        if isinstance(said.get(name), str):
            return str(said[name])
    return ", ".join(f"{key}: {value}" for key, value in said.items())
