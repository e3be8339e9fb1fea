"""Image messages of every encoding, made out of one small picture."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 14, 6


def make_picture() -> np.ndarray:
    """A smooth picture, red to the right and blue downwards, so that subsampling costs little."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.dstack([40 + 4 * x, np.full_like(x, 90), 200 - 6 * y]).astype(np.uint8)


def message(encoding: str, rows: np.ndarray, *, padding: int = 0, big_endian: bool = False) -> Any:
    """An Image message of H x W or H x W x C, each row with `padding` bytes of 0xAA behind."""
    if rows.dtype.itemsize > 1:
        rows = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<"))
    packed = np.frombuffer(rows.tobytes(), np.uint8).reshape(len(rows), -1)
    padded = np.pad(packed, ((0, 0), (0, padding)), constant_values=0xAA)
    return SimpleNamespace(
        encoding=encoding,
        width=WIDTH,
        height=HEIGHT,
        step=padded.shape[1],
        is_bigendian=int(big_endian),
        data=array.array("B", padded.tobytes()),
    )


def yuv_of(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)


def packed_422(rgb: np.ndarray, order: str) -> np.ndarray:
    """4:2:2 rows: for each pair of columns two Y and one U and V, in the order of the letters."""
    planes = yuv_of(rgb)
    y = planes[:HEIGHT]
    quarter = HEIGHT // 2 * WIDTH // 2
    flat = planes[HEIGHT:].reshape(-1)
    u, v = (part.reshape(HEIGHT // 2, -1).repeat(2, 0) for part in (flat[:quarter], flat[quarter:]))
    parts = {"U": u, "V": v, "Y": y[:, 0::2], "y": y[:, 1::2]}
    return np.stack([parts[letter] for letter in order], axis=-1).reshape(HEIGHT, -1)


def planar_420(rgb: np.ndarray, first: str) -> np.ndarray:
    planes = yuv_of(rgb)
    quarter = HEIGHT // 2 * WIDTH // 2
    flat = planes[HEIGHT:].reshape(-1)
    u, v = flat[:quarter], flat[quarter:]
    pair = (u, v) if first == "U" else (v, u)
    return np.vstack([planes[:HEIGHT], np.stack(pair, -1).reshape(HEIGHT // 2, WIDTH)])


def bayer(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """The mosaic whose first two rows begin with the letters of the pattern: rg/gb."""
    mosaic = np.empty(rgb.shape[:2], rgb.dtype)
    for position, letter in enumerate(pattern):
        row, column = divmod(position, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    return mosaic


def encoded(encoding: str, rgb: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    alpha = np.full(rgb.shape[:2], 7, np.uint8)
    wide = rgb.astype(np.uint16) * 257
    wide_alpha = alpha.astype(np.uint16)
    if encoding.startswith("bayer_"):
        return bayer(wide if encoding.endswith("16") else rgb, encoding.removeprefix("bayer_")[:4])
    return {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "8UC3": rgb[..., ::-1],
        "rgba8": np.dstack([rgb, alpha]),
        "bgra8": np.dstack([rgb[..., ::-1], alpha]),
        "8UC4": np.dstack([rgb[..., ::-1], alpha]),
        "mono8": grey,
        "8UC1": grey,
        "mono16": grey.astype(np.uint16) * 257,
        "rgb16": wide,
        "bgr16": wide[..., ::-1],
        "rgba16": np.dstack([wide, wide_alpha]),
        "bgra16": np.dstack([wide[..., ::-1], wide_alpha]),
        "uyvy": packed_422(rgb, "UYVy"),
        "yuv422": packed_422(rgb, "UYVy"),
        "yuyv": packed_422(rgb, "YUyV"),
        "yuv422_yuy2": packed_422(rgb, "YUyV"),
        "nv12": planar_420(rgb, "U"),
        "nv21": planar_420(rgb, "V"),
    }[encoding]
