"""Decodes camera messages into pictures: uint8 H x W x 3 arrays in RGB order.

Only the fields of a message are read, so objects of rclpy, of `rosbags` and plain namespaces all
work. cv_bridge converts the colours if it works here, else `rosbags-image`. Both get checked
images: padded rows, short data, cut files and decompression bombs are handled here first.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, cast

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.image import ImageError as RosbagsImageError
from rosbags.image import message_to_cvimage

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.errors import ImageError
from chatspot_ros.images.cv_bridge_converter import load_cv_bridge
from chatspot_ros.images.headers import declared_size

DEFAULT_MAX_PIXELS: Final = 40_000_000

# Encoding -> the name it is converted by: names of sensor_msgs that rosbags-image calls otherwise,
# and OpenCV's names of plain channels, which by convention are grey, BGR and BGRA.
_SYNONYMS: Final = {
    "yuv422": "uyvy",
    "yuv422_yuy2": "yuyv",
    "8UC1": "mono8",
    "8UC3": "bgr8",
    "8UC4": "bgra8",
}
_BYTES_PER_PIXEL: Final = {
    "mono8": 1, "mono16": 2,
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4,
    "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "bayer_rggb16": 2, "bayer_bggr16": 2, "bayer_gbrg16": 2, "bayer_grbg16": 2,
    "uyvy": 2, "yuyv": 2,
    "nv12": 1, "nv21": 1,
}  # fmt: skip
_PLANAR_420: Final = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
# The block size (columns, rows) of subsampled encodings.
_BLOCK: Final = {"uyvy": (2, 1), "yuyv": (2, 1), "nv12": (2, 2), "nv21": (2, 2)}

ENCODINGS: Final = tuple(sorted({*_BYTES_PER_PIXEL, *_SYNONYMS}))


def is_compressed(message: Any) -> bool:
    """Return True for a sensor_msgs/CompressedImage, False for a sensor_msgs/Image."""
    return hasattr(message, "format")


def image_size(message: Any, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) in pixels of an Image or CompressedImage message, without decoding it.

    Raises:
        ImageError: no pixels, more than `max_pixels`, or a compressed picture without a readable
        header.
    """
    if is_compressed(message):
        _refuse_depth(message.format)
        width, height = declared_size(bytes(message.data))
    else:
        width, height = int(message.width), int(message.height)
    return check_size(width, height, max_pixels)


def check_size(width: int, height: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) in pixels. Raises ImageError: no pixels or more than `max_pixels`."""
    if width < 1 or height < 1:
        raise ImageError(
            "the image has no pixels",
            value=f"{width} x {height}",
            remedy="send an image of at least 1 x 1 pixel",
        )
    if width * height > max_pixels:
        raise ImageError(
            f"the image is larger than {max_pixels} pixels",
            value=f"{width} x {height}",
            remedy="send a smaller image, or raise the parameter max_pixels",
        )
    return width, height


def message_to_rgb(message: Any, max_pixels: int = DEFAULT_MAX_PIXELS) -> RgbImage:
    """Return the picture of a sensor_msgs Image or CompressedImage, uint8 H x W x 3, RGB.

    16-bit channels are scaled to 8 bits. EXIF orientation is ignored: regions are in pixels as
    stored, as a detector on the same topic sees them.

    Raises:
        ImageError: the message is not a readable picture.
    """
    if is_compressed(message):
        return _compressed_to_rgb(message, max_pixels)
    return _raw_to_rgb(message, max_pixels)


def decode(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> RgbImage:
    """Return the picture of a JPEG, PNG, WebP or BMP file as stored, uint8 H x W x 3, RGB.

    The only call of a decoder for foreign data: the declared size is checked before it, and its
    result after it. EXIF orientation is ignored.

    Raises:
        ImageError: the data is no readable picture, or has more than `max_pixels`.
    """
    width, height = check_size(*declared_size(data), max_pixels)
    try:
        bgr = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape != (height, width, 3):
        raise ImageError(
            "the compressed image cannot be decoded",
            value=f"{len(data)} bytes, declared {width} x {height}",
            remedy="send the whole file, unchanged",
        )
    return np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _raw_to_rgb(message: Any, max_pixels: int) -> RgbImage:
    width, height = image_size(message, max_pixels)
    encoding = _SYNONYMS.get(message.encoding, str(message.encoding).lower())
    if encoding not in _BYTES_PER_PIXEL:
        raise ImageError(
            "the image's encoding is not a colour or grey picture's",
            value=message.encoding,
            remedy=f"publish one of {', '.join(ENCODINGS)}",
        )
    columns, rows = _BLOCK.get(encoding, (1, 1))
    if width % columns or height % rows:
        raise ImageError(
            f"{message.encoding} needs a width divisible by {columns} and a height divisible by "
            f"{rows}",
            value=f"{width} x {height}",
            remedy="crop the image or publish another encoding",
        )
    rows_high = height * 3 // 2 if encoding in _PLANAR_420 else height
    packed = unpadded_rows(message, width * _BYTES_PER_PIXEL[encoding], rows_high)
    is_bigendian = bool(message.is_bigendian)
    bridge = load_cv_bridge()
    if encoding in _PLANAR_420:
        rgb = cv2.cvtColor(packed, _PLANAR_420[encoding])
    elif bridge is not None:
        rgb = bridge.to_rgb(packed, encoding, width, is_bigendian=is_bigendian)
    else:
        rgb = _rosbags_to_rgb(packed, encoding, width, is_bigendian=is_bigendian)
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def _rosbags_to_rgb(
    rows: npt.NDArray[np.uint8], encoding: str, width: int, *, is_bigendian: bool
) -> Any:
    """Convert rows of bytes without padding to RGB. Raises ImageError."""
    image = SimpleNamespace(
        encoding=encoding,
        width=width,
        height=len(rows),
        is_bigendian=is_bigendian,
        data=rows,
    )
    try:
        return message_to_cvimage(cast("Any", image), "rgb8")
    except (RosbagsImageError, cv2.error) as error:
        raise ImageError(
            f"the image cannot be converted to RGB: {error}",
            value=f"{encoding}, {width} x {len(rows)}",
            remedy="publish rgb8 or bgr8",
        ) from error


def unpadded_rows(message: Any, row_bytes: int, rows: int) -> npt.NDArray[np.uint8]:
    """Return a raw image's rows without padding, as bytes: rows x row_bytes.

    The last row's padding may be missing. Raises ImageError when `step` or `data` is too short.
    """
    step = int(message.step)
    if step < row_bytes:
        raise ImageError(
            f"the image's step is shorter than a row of {row_bytes} bytes",
            value=step,
            remedy="set step to at least width x channels x bytes per channel",
        )
    needed = step * (rows - 1) + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"the image's data is shorter than {needed} bytes ({rows} rows of {step})",
            value=f"{len(message.data)} bytes",
            remedy="send all rows; was the message cut, or is its encoding another?",
        )
    flat = np.frombuffer(message.data, dtype=np.uint8)
    if step == row_bytes:
        return flat[:needed].reshape(rows, row_bytes)
    return np.ascontiguousarray(
        np.lib.stride_tricks.as_strided(flat, (rows, row_bytes), (step, 1), writeable=False)
    )


def _refuse_depth(fmt: str) -> None:
    if "compressedDepth" in fmt:
        raise ImageError(
            "a depth picture cannot be asked about",
            value=fmt,
            remedy="subscribe to the colour camera's topic",
        )


def _compressed_to_rgb(message: Any, max_pixels: int) -> RgbImage:
    _refuse_depth(message.format)
    rgb = decode(bytes(message.data), max_pixels)
    return np.ascontiguousarray(rgb[..., ::-1]) if _stored_as_rgb(message.format) else rgb


def _stored_as_rgb(fmt: str) -> bool:
    """Return True if image_transport's `format` says that red and blue are swapped in the file.

    "rgb8; jpeg compressed bgr8": the picture was converted to BGR before OpenCV wrote it, so the
    file is right. "rgb8; jpeg compressed rgb8": OpenCV wrote RGB as if it were BGR.
    """
    _, separator, stored = fmt.partition(" compressed ")
    return bool(separator) and stored.strip().startswith("rgb")
