"""Reading of image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_train.data.records import RecordError


def read_picture(path: Path) -> RgbImage:
    """Read an image as uint8 H x W x 3, RGB, without applying its EXIF orientation.

    Raises RecordError where it is missing or cannot be decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise RecordError(f"the picture cannot be read: {error}") from error
    bgr = (
        cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    )
    if bgr is None:
        raise RecordError(f"the picture cannot be decoded: {path}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
