"""Photos from files, as the bytes that a request carries."""

from __future__ import annotations

from pathlib import Path

import cv2

from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import decode

_FORMATS = {b"\xff\xd8": "jpeg", b"\x89P": "png"}


def read_photo(file: Path) -> tuple[str, bytes]:
    """Return a photo's format (jpeg or png) and its bytes; WebP and BMP files become PNG.

    A JPEG or PNG file is not decoded here.

    Raises:
        ImageError: the file cannot be read, or is no picture.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ImageError(
            f"cannot read the photo: {error.strerror}", value=file, remedy="check the path"
        ) from error
    kind = _FORMATS.get(data[:2])
    if kind is not None:
        return kind, data
    try:
        rgb = decode(data)
    except ImageError as error:
        raise ImageError(
            "the file is no picture", value=file, remedy=f"give a JPEG or PNG file ({error})"
        ) from error
    return "png", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
