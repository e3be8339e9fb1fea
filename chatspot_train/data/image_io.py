"""Reading of image files."""

from __future__ import annotations

from pathlib import Path

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import DEFAULT_MAX_PIXELS, decode
from chatspot_train.data.records import PictureError


def read_picture(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> RgbImage:
    """Read an image as uint8 H x W x 3, RGB, without applying its EXIF orientation.

    Raises PictureError where it is missing, cannot be decoded, or has more than `max_pixels`.
    """
    try:
        return decode(path.read_bytes(), max_pixels)
    except (OSError, ValueError) as error:  # ValueError: no possible name
        raise PictureError(f"the picture cannot be read: {error}") from error
    except ImageError as error:
        raise PictureError(f"the picture cannot be decoded: {path}: {error}") from error
