"""Depth pictures to metres: raw ones, and those of the transport compressedDepth."""

from __future__ import annotations

import struct
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import (
    DEFAULT_MAX_PIXELS,
    check_size,
    is_compressed,
    unpadded_rows,
)
from chatspot_ros.images.headers import declared_size

DepthImage = NDArray[np.float32]
_MILLIMETRES: Final = ("16UC1", "mono16")
_METRES: Final = "32FC1"
ENCODINGS: Final = ("16UC1", "32FC1")
# The transport's header: the format (an enum), and two numbers for the inverse depth of 32FC1.
_CONFIG: Final = struct.Struct("<iff")
_TRANSPORT: Final = "compressedDepth"


def message_to_metres(message: Any, max_pixels: int = DEFAULT_MAX_PIXELS) -> DepthImage:
    """Return the depths of a sensor_msgs Image or CompressedImage, float32 H x W, in m along z.

    16UC1 holds millimetres (0: no depth), 32FC1 metres. NaN: no depth. A CompressedImage is of the
    transport compressedDepth, in PNG. Raises ImageError: the message is no readable depth picture.
    """
    depths = (
        _decompress(message, max_pixels) if is_compressed(message) else _raw(message, max_pixels)
    )
    return np.where(np.isfinite(depths) & (depths > 0), depths, np.float32(np.nan))


def _raw(message: Any, max_pixels: int) -> DepthImage:
    encoding = str(message.encoding)
    if encoding in _MILLIMETRES:
        kind, scale = "u2", 0.001
    elif encoding == _METRES:
        kind, scale = "f4", 1.0
    else:
        raise _unknown(encoding)
    width, height = check_size(int(message.width), int(message.height), max_pixels)
    item = np.dtype((">" if message.is_bigendian else "<") + kind)
    rows = unpadded_rows(message, width * item.itemsize, height)
    return np.asarray(rows.view(item).astype(np.float32) * np.float32(scale), np.float32)


def _decompress(message: Any, max_pixels: int) -> DepthImage:
    encoding, _, rest = str(message.format).partition(";")
    encoding, data = encoding.strip(), bytes(message.data)
    if _TRANSPORT not in rest:
        raise ImageError(
            f"the depth picture is not of the transport {_TRANSPORT}",
            value=message.format,
            remedy=f"subscribe to .../{_TRANSPORT}: JPEG would spoil depths",
        )
    if "rvl" in rest.lower():
        raise ImageError(
            "the depth picture is compressed as RVL",
            value=message.format,
            remedy=f"set the publisher's parameter {_TRANSPORT} format to png",
        )
    if encoding not in (*_MILLIMETRES, _METRES):
        raise _unknown(message.format)
    if len(data) <= _CONFIG.size:
        raise ImageError(
            "the compressed depth picture breaks off in its header",
            value=f"{len(data)} bytes",
            remedy="send the whole message, unchanged",
        )
    _, quant_a, quant_b = _CONFIG.unpack_from(data)
    stored = _read_png(data[_CONFIG.size :], max_pixels)
    if encoding in _MILLIMETRES:
        return stored.astype(np.float32) * np.float32(0.001)
    # The transport stores a / depth + b, rounded; 0 where there is no depth.
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = np.float32(quant_a) / (stored.astype(np.float32) - np.float32(quant_b))
    return np.where(stored > 0, depths, np.float32(np.nan)).astype(np.float32)


def _read_png(data: bytes, max_pixels: int) -> NDArray[np.uint16]:
    width, height = check_size(*declared_size(data), max_pixels)
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None or stored.shape != (height, width) or stored.dtype != np.uint16:
        got = "nothing" if stored is None else f"{stored.shape} of {stored.dtype}"
        raise ImageError(
            "the compressed depth picture is no PNG of 16 bits and one channel",
            value=got,
            remedy="send the whole message, unchanged",
        )
    return np.asarray(stored, np.uint16)


def _unknown(encoding: str) -> ImageError:
    return ImageError(
        "the depth picture's encoding is not known",
        value=encoding,
        remedy=f"publish 16UC1 (millimetres) or 32FC1 (metres), not {encoding or 'nothing'}",
    )
