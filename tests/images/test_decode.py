"""sensor_msgs pictures -> RGB: encodings, padding, byte orders, broken and hostile data."""

from __future__ import annotations

import array
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from camera_images import HEIGHT, WIDTH, encoded, make_picture, message

from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import ENCODINGS, image_size, message_to_rgb
from chatspot_ros.images.headers import declared_size


def tolerance(encoding: str) -> float:
    """Largest mean error per channel, in grey values: mosaics and subsampling lose some."""
    if encoding.startswith("bayer_"):
        return 10.0
    return 6.0 if encoding[0] in "uyn" else 0.5


def expected(encoding: str, rgb: np.ndarray) -> np.ndarray:
    if encoding in ("mono8", "8UC1", "mono16"):
        return np.dstack([cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)] * 3)
    return rgb


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_becomes_rgb(encoding: str, padding: int) -> None:
    rgb = make_picture()
    got = message_to_rgb(message(encoding, encoded(encoding, rgb), padding=padding))
    assert got.shape == (HEIGHT, WIDTH, 3)
    assert got.dtype == np.uint8
    # Mosaics are not defined at the border, so the inside is compared.
    difference = np.abs(got.astype(int) - expected(encoding, rgb))[1:-1, 1:-1]
    assert difference.mean(axis=(0, 1)).max() <= tolerance(encoding)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e.endswith("16")])
def test_both_byte_orders_give_the_same(encoding: str, padding: int) -> None:
    rows = encoded(encoding, make_picture())
    little = message_to_rgb(message(encoding, rows, padding=padding))
    big = message_to_rgb(message(encoding, rows, padding=padding, big_endian=True))
    np.testing.assert_array_equal(little, big)


def test_byte_order_means_nothing_for_bytes() -> None:
    rgb = make_picture()
    got = message_to_rgb(message("rgb8", rgb, big_endian=True))
    np.testing.assert_array_equal(got, rgb)


def test_the_last_row_may_lack_its_padding() -> None:
    rgb = make_picture()
    padded = message("rgb8", rgb, padding=10)
    padded.data = padded.data[:-10]
    np.testing.assert_array_equal(message_to_rgb(padded), rgb)


def test_result_is_independent_of_the_message() -> None:
    source = message("rgb8", make_picture())
    got = message_to_rgb(source)
    assert got.flags.c_contiguous


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "nv12", "bayer_rggb8"])
def test_short_data_is_refused(encoding: str) -> None:
    cut = message(encoding, encoded(encoding, make_picture()))
    cut.data = cut.data[:-1]
    with pytest.raises(ImageError, match=f"{len(cut.data)} bytes"):
        message_to_rgb(cut)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 0}, "no pixels"),
        ({"height": 0}, "no pixels"),
        ({"step": 5}, "step"),
        ({"step": 0}, "step"),
        ({"encoding": "32FC1"}, "32FC1"),
        ({"encoding": "16UC1"}, "16UC1"),
        ({"encoding": ""}, "encoding"),
        ({"encoding": "jpeg"}, "jpeg"),
        ({"width": 30_000, "height": 30_000}, "max_pixels"),
        ({"encoding": "uyvy", "width": 13}, "divisible"),
        ({"encoding": "nv12", "height": 5}, "divisible"),
    ],
)
def test_unusable_images_are_refused_with_the_value(change: dict[str, Any], words: str) -> None:
    bad = message("rgb8", make_picture())
    vars(bad).update(change)
    with pytest.raises(ImageError, match=words):
        message_to_rgb(bad)


def compressed(data: bytes, fmt: str = "jpeg") -> Any:
    return SimpleNamespace(format=fmt, data=array.array("B", data))


def encode(extension: str, rgb: np.ndarray, *options: int) -> bytes:
    ok, data = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(options))
    assert ok
    return bytes(data)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
def test_compressed_kinds(extension: str) -> None:
    rgb = cv2.resize(make_picture(), (160, 90), interpolation=cv2.INTER_CUBIC)
    data = encode(extension, rgb)
    assert declared_size(data) == (160, 90)
    got = message_to_rgb(compressed(data))
    assert np.abs(got.astype(int) - rgb).mean() < 3


@pytest.mark.parametrize("quality", [60, 101])
def test_webp_lossy_and_lossless_sizes(quality: int) -> None:
    data = encode(".webp", np.zeros((33, 77, 3), np.uint8), cv2.IMWRITE_WEBP_QUALITY, quality)
    assert declared_size(data) == (77, 33)


def test_progressive_jpeg_size() -> None:
    data = encode(".jpg", np.zeros((33, 77, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert declared_size(data) == (77, 33)


def test_grey_and_16_bit_pngs_become_rgb() -> None:
    grey = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (5, 1))
    for picture in (grey, grey.astype(np.uint16) * 257):
        ok, data = cv2.imencode(".png", picture)
        assert ok
        got = message_to_rgb(compressed(bytes(data), "png"))
        np.testing.assert_allclose(got, np.dstack([grey] * 3), atol=1)


def test_image_transports_note_on_swapped_channels() -> None:
    rgb = cv2.resize(make_picture(), (160, 90))
    right = message_to_rgb(compressed(encode(".png", rgb), "rgb8; png compressed bgr8"))
    swapped = message_to_rgb(
        compressed(encode(".png", rgb[..., ::-1]), "rgb8; png compressed rgb8")
    )
    np.testing.assert_array_equal(right, rgb)
    np.testing.assert_array_equal(swapped, rgb)


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_that_declares(width: int, height: int) -> bytes:
    data = bytearray(encode(".jpg", make_picture()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg() -> bytes:
    return encode(".jpg", cv2.resize(make_picture(), (160, 90)))


@pytest.mark.parametrize("make", [png_that_declares, jpeg_that_declares])
def test_a_bomb_is_refused_before_it_is_decoded(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any) -> None:
        pytest.fail("the decoder saw the bomb")

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(ImageError, match="30000 x 30000"):
        message_to_rgb(compressed(make(30_000, 30_000)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no data"),
        (b"GIF89a" + bytes(20), "unknown kind"),
        (b"hello", "unknown kind"),
        (b"\xff\xd8", "broken"),
        (jpeg()[:200], "broken"),
        (jpeg()[:-2], "no end"),
        (jpeg()[: len(jpeg()) // 2], "broken"),
        (encode(".png", make_picture())[:-6], "no end"),
        (encode(".png", make_picture())[:20], "breaks off|no end"),
        (encode(".webp", make_picture())[:-4], "declares"),
        (encode(".bmp", make_picture())[:-4], "declares"),
        (b"RIFF" + struct.pack("<I", 4) + b"WEBP", "WebP chunk"),
        (png_that_declares(0, 5), "no pixels"),
        (png_that_declares(2000, 2000), "cannot be decoded"),
    ],
)
def test_broken_compressed_images_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        message_to_rgb(compressed(data))


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    thumbnail = encode(".jpg", make_picture())
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg()[:2] + segment + jpeg()[2:]
    assert declared_size(whole) == (160, 90)
    with pytest.raises(ImageError, match="no end"):
        declared_size(whole[:-2])


def test_the_parameter_is_the_only_limit_of_a_picture() -> None:
    large = compressed(png_that_declares(20_000, 20_000), "png")
    assert image_size(large, max_pixels=10**9) == (20_000, 20_000)


def test_depth_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="compressedDepth"):
        message_to_rgb(compressed(jpeg(), "16UC1; compressedDepth png"))


def test_every_cut_of_a_jpeg_is_refused_and_never_crashes() -> None:
    data = jpeg()
    for length in range(len(data) - 1):
        with pytest.raises(ImageError):
            message_to_rgb(compressed(data[:length]))


def test_size_without_decoding() -> None:
    assert image_size(compressed(jpeg())) == (160, 90)
    assert image_size(message("rgb8", make_picture())) == (WIDTH, HEIGHT)
    with pytest.raises(ImageError, match="max_pixels"):
        image_size(message("rgb8", make_picture()), max_pixels=WIDTH * HEIGHT - 1)
