"""Read the print in a region of a picture, such as a carton's label or a display's digits.

The reader is RapidOCR with the small models of PP-OCRv6 (Apache-2.0), which its package holds:
nothing is downloaded. The package and onnxruntime are imported when a reader is made.
"""

from __future__ import annotations

import math
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import BoxXyxy, Region, RegionKind
from chatspot_ros.engine.loading.host_resources import cores
from chatspot_ros.errors import ImageError, ModelError, ModelLoadError, shorten

_MODELS = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}
_REMEDY = "run scripts/install, or pip install --no-deps -r requirements-small.txt"
# A narrower strip holds no line of print.
_MIN_SIDE_PX = 8


@dataclass(frozen=True)
class PrintLine:
    """A line of print: its text, its bounds in pixels of the picture, and how sure, 0 to 1."""

    text: str
    box_px: BoxXyxy
    confidence: float


@dataclass(frozen=True)
class ReaderSettings:
    """How a region is looked at, and which lines count.

    The region's crop has a `margin` of its longer side around it, and is scaled to `area_side` x
    `area_side` pixels in area: enlarged at most `max_scale` times, its longer side at most
    `max_side` pixels. Around a point the crop has `point_share` of the picture's shorter side.
    """

    margin: float = 0.1
    min_margin_px: int = 8
    area_side: int = 320
    max_scale: float = 8.0
    max_side: int = 1600
    point_share: float = 0.25
    min_confidence: float = 0.6
    max_lines: int = 12
    max_chars: int = 40
    # A line is padded to this many pixels; a word or a number is shorter than the usual 320.
    line_width: int = 160


class TextReader:
    """Reads print; one at a time, whichever thread asks."""

    def __init__(self, settings: ReaderSettings | None = None, threads: int = 0) -> None:
        """Load the models. `threads` 0: the process's cores.

        Raises ModelLoadError: a package is not installed, or its models cannot be loaded.
        """
        self.settings = settings or ReaderSettings()
        self._lock = threading.Lock()
        self._read = _load(self.settings, threads or cores())

    def read(self, image_rgb: RgbImage, region: Region) -> tuple[PrintLine, ...]:
        """Return the lines whose middle lies in the region's bounds, in reading order.

        `image_rgb` is uint8 H x W x 3, best at the camera's full resolution. Where there are more
        than `max_lines`, the tallest are kept. Raises RegionError: the region is not usable in this
        picture; ImageError: no such picture; ModelError: the models failed.
        """
        return self.read_all(image_rgb, (region,))[0]

    def read_all(
        self, image_rgb: RgbImage, regions: Sequence[Region]
    ) -> list[tuple[PrintLine, ...]]:
        """Return the lines of each region, as `read` does; regions with the same bounds share them.

        All regions are checked before the first is read.
        """
        height, width = _size(image_rgb)
        boxes = [self._bounds(region.clipped(width, height), width, height) for region in regions]
        found: dict[BoxXyxy, tuple[PrintLine, ...]] = {}
        for box in boxes:
            if box not in found:
                found[box] = self._lines(image_rgb, box)
        return [found[box] for box in boxes]

    def _bounds(self, region: Region, width: int, height: int) -> BoxXyxy:
        if region.kind is RegionKind.IMAGE:
            return 0.0, 0.0, float(width), float(height)
        if region.kind is RegionKind.POINT:
            x, y = region.points_px[0]
            half = self.settings.point_share * min(width, height) / 2
            return max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height)
        return region.box_xyxy_px

    def _lines(self, image_rgb: RgbImage, box: BoxXyxy) -> tuple[PrintLine, ...]:
        crop, left, top, scale = self._crop(image_rgb, box)
        if min(crop.shape[:2]) < _MIN_SIDE_PX:
            return ()
        try:
            with self._lock:
                # BGR, as cv2 reads pictures.
                said = self._read(np.ascontiguousarray(crop[..., ::-1]))
        except Exception as error:  # of the runtime, whose errors have no common class
            raise ModelError(
                f"the reader of print failed: {shorten(error)}",
                value=box,
                remedy="ask without it, or with another region",
            ) from error
        lines = []
        for text, corners, confidence in zip(
            said.txts or (), () if said.boxes is None else said.boxes, said.scores or (),
            strict=True,
        ):  # fmt: skip
            xs, ys = corners[:, 0] / scale + left, corners[:, 1] / scale + top
            middle = (xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2
            cleaned = clean(text, self.settings.max_chars)
            if cleaned and box[0] <= middle[0] <= box[2] and box[1] <= middle[1] <= box[3]:
                bounds = (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))
                lines.append(PrintLine(cleaned, bounds, min(float(confidence), 1.0)))
        lines.sort(key=_height, reverse=True)
        return in_reading_order(lines[: self.settings.max_lines])

    def _crop(self, image_rgb: RgbImage, box: BoxXyxy) -> tuple[RgbImage, int, int, float]:
        """Return the scaled crop, where its left upper corner lies, and its scale."""
        height, width = image_rgb.shape[:2]
        s = self.settings
        margin = max(s.margin * max(box[2] - box[0], box[3] - box[1]), s.min_margin_px)
        left, top = max(math.floor(box[0] - margin), 0), max(math.floor(box[1] - margin), 0)
        right = min(math.ceil(box[2] + margin), width)
        bottom = min(math.ceil(box[3] + margin), height)
        crop = image_rgb[top:bottom, left:right]
        scale = min(
            s.area_side / math.sqrt(crop.shape[0] * crop.shape[1]),
            s.max_scale, s.max_side / max(crop.shape[:2]),
        )  # fmt: skip
        wide, high = round(crop.shape[1] * scale), round(crop.shape[0] * scale)
        if min(wide, high) < _MIN_SIDE_PX:
            return crop[:0], left, top, scale
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        return cv2.resize(crop, (wide, high), interpolation=how), left, top, scale  # type: ignore[return-value]


def clean(text: str, max_chars: int) -> str:
    """Return the text on one line, wide characters as plain ones; "" where nothing can be read.

    A single character counts only if it is a digit: logos and edges are read as single letters.
    """
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(one if one.isprintable() else " " for one in plain)
    plain = " ".join(plain.split())[:max_chars].rstrip()
    readable = [one for one in plain if one.isalnum()]
    return plain if len(readable) > 1 or (readable and readable[0].isdigit()) else ""


def in_reading_order(lines: Sequence[PrintLine]) -> tuple[PrintLine, ...]:
    """Return the lines row by row from the top, each row from the left.

    A line belongs to a row if its middle lies in the height of the row's first line.
    """
    rows: list[list[PrintLine]] = []
    for line in sorted(lines, key=_middle):
        if rows and _middle(line) < rows[-1][0].box_px[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return tuple(line for row in rows for line in sorted(row, key=lambda line: line.box_px[0]))


def _middle(line: PrintLine) -> float:
    return (line.box_px[1] + line.box_px[3]) / 2


def _height(line: PrintLine) -> float:
    return line.box_px[3] - line.box_px[1]


def _size(image_rgb: NDArray[Any]) -> tuple[int, int]:
    shape = image_rgb.shape
    if image_rgb.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not image_rgb.size:
        raise ImageError(
            "the picture is not uint8 H x W x 3", value=f"{image_rgb.dtype} {shape}",
            remedy="give an RGB picture with at least one pixel",
        )  # fmt: skip
    return shape[0], shape[1]


def _load(settings: ReaderSettings, threads: int) -> Any:
    """Return RapidOCR with the models that lie in its package."""
    for package in ("rapidocr", "onnxruntime"):
        if find_spec(package) is None:
            raise ModelLoadError(
                "the reader of print is not installed", value=package, remedy=_REMEDY
            )
    try:
        import rapidocr

        folder = Path(rapidocr.__file__).parent / "models"
        models = {f"{part}.model_path": str(folder / name) for part, name in _MODELS.items()}
        options = {
            "log_level": "critical", "use_cls": False, "use_preprocess_img": False,
            "text_score": settings.min_confidence,
        }  # fmt: skip
        return _tried(rapidocr.RapidOCR(params={
            **models, **{f"Global.{name}": value for name, value in options.items()},
            # The crop has its size already.
            "Det.limit_side_len": 32,
            "Rec.rec_img_shape": [3, 48, settings.line_width],
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        }))  # fmt: skip
    # A missing module of the package, a model that is missing or damaged: each in its own way.
    except Exception as error:
        raise ModelLoadError(
            "the reader of print cannot be loaded",
            value=shorten(error),
            remedy="pip install --force-reinstall --no-deps -r requirements-small.txt",
        ) from error


def _tried(reader: Any) -> Any:
    """Return the reader once it has read a drawn number, which loads its models."""
    drawn = np.full((64, 160, 3), 255, np.uint8)
    cv2.putText(drawn, "42", (40, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 4)
    said = reader(drawn).txts
    if said != ("42",):
        raise ValueError(f"it reads a drawn 42 as {said}")
    return reader
