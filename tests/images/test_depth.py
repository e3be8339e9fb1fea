"""Depth messages to metres: every form that cameras send, and what no camera should send."""

from __future__ import annotations

import array
import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.errors import ImageError
from chatspot_ros.images.depth import message_to_metres

METRES = np.array([[0.5, 1.25, np.nan], [3.0, np.nan, 7.125]], np.float32)


def raw(encoding: str, *, big_endian: bool = False, padding: int = 0, **changes: Any) -> Any:
    pixels = METRES
    if encoding != "32FC1":
        pixels = np.nan_to_num(METRES * 1000, nan=0).astype(np.uint16)
    pixels = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(2, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAA)
    fields = {"encoding": encoding, "width": 3, "height": 2, "step": len(rows[0])}
    fields |= {"is_bigendian": int(big_endian), "data": array.array("B", rows.tobytes())}
    return SimpleNamespace(**{**fields, **changes})


def compressed(encoding: str = "16UC1", more: str = "compressedDepth", **changes: Any) -> Any:
    a, b = 0.0, 0.0
    stored = np.nan_to_num(METRES * 1000, nan=0).astype(np.uint16)
    if encoding == "32FC1":
        # As the transport writes it: a and b by the largest depth and the step at it.
        a = 100.0 * 101.0
        b = 1 - a / 10.0
        with np.errstate(invalid="ignore"):
            stored = np.nan_to_num(np.round(a / METRES + b), nan=0).astype(np.uint16)
    _, png = cv2.imencode(".png", stored)
    data = struct.pack("<iff", 0, a, b) + png.tobytes()
    fields = {"format": f"{encoding}; {more}", "data": array.array("B", data)}
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("encoding", ["16UC1", "mono16", "32FC1"])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 4])
def test_raw_depth_in_metres(encoding: str, big_endian: bool, padding: int) -> None:
    message = raw(encoding, big_endian=big_endian, padding=padding)
    np.testing.assert_allclose(message_to_metres(message), METRES, rtol=1e-6)
    assert message_to_metres(message).dtype == np.float32


@pytest.mark.parametrize("more", ["compressedDepth", "compressedDepth png"])
@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_compressed_depth_in_metres(encoding: str, more: str) -> None:
    # The transport's own rounding: a step of the inverse depth.
    atol = 0.02 if encoding == "32FC1" else 1e-6
    np.testing.assert_allclose(message_to_metres(compressed(encoding, more)), METRES, atol=atol)


def test_what_is_no_depth_becomes_nan() -> None:
    message = raw("32FC1")
    pixels = np.array([[np.inf, -np.inf, -1.0], [0.0, np.nan, 2.0]], "<f4")
    message.data = array.array("B", pixels.tobytes())
    found = message_to_metres(message)
    assert np.isnan(found.ravel()[:5]).all()
    assert found[1, 2] == 2


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (raw("rgb8"), "encoding is not known"),
        (raw(""), "encoding is not known"),
        (raw("16UC1", width=0), "no pixels"),
        (raw("16UC1", step=1), "step"),
        (raw("32FC1", data=array.array("B", b"1234")), "shorter"),
        (compressed(format="16UC1; jpeg compressed"), "not of the transport"),
        (compressed(format="rgb8; jpeg compressed bgr8"), "not of the transport"),
        (compressed(more="compressedDepth rvl"), "RVL"),
        (compressed(format="8UC3; compressedDepth png"), "encoding is not known"),
        (compressed(data=array.array("B")), "breaks off"),
        (compressed(data=array.array("B", b"\0" * 12)), "breaks off"),
        (compressed(data=array.array("B", b"\0" * 40)), "unknown kind"),
        (compressed(data=compressed().data[:-9]), "broken"),
        (compressed(data=compressed().data[:40]), "broken"),
    ],
)
def test_a_message_that_is_no_depth_picture(message: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        message_to_metres(message)


def test_a_colour_picture_in_place_of_depth() -> None:
    _, png = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))
    data = array.array("B", b"\0" * 12 + png.tobytes())
    with pytest.raises(ImageError, match="16 bits and one channel"):
        message_to_metres(compressed(data=data))


def test_a_picture_that_is_too_large_is_not_decoded() -> None:
    with pytest.raises(ImageError, match="larger"):
        message_to_metres(raw("16UC1"), max_pixels=5)
    with pytest.raises(ImageError, match="larger"):
        message_to_metres(compressed(), max_pixels=5)
