"""Pictures that declare what they are not: refused before a decoder sees them, everywhere."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chatspot_ros.errors import ImageError
from chatspot_ros.file_camera_node import read_pictures
from chatspot_ros.images.decode import message_to_rgb
from chatspot_train.data.image_io import read_picture
from chatspot_train.data.records import RecordError
from chatspot_train.evaluation.suites.mmbench import EncodedPicture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ENTRANCES: dict[str, Callable[[bytes, Path, str], Any]] = {}


def entrance(take: Callable[[bytes, Path, str], Any]) -> Callable[[bytes, Path, str], Any]:
    ENTRANCES[take.__name__] = take
    return take


@entrance
def message(data: bytes, folder: Path, kind: str) -> Any:
    return message_to_rgb(SimpleNamespace(format=kind, data=data))


@entrance
def training(data: bytes, folder: Path, kind: str) -> Any:
    (folder / f"a.{kind}").write_bytes(data)
    return read_picture(folder / f"a.{kind}")


@entrance
def file_camera(data: bytes, folder: Path, kind: str) -> Any:
    (folder / f"a.{kind}").write_bytes(data)
    return next(iter(read_pictures(folder / f"a.{kind}")))


@entrance
def mmbench(data: bytes, folder: Path, kind: str) -> Any:
    return EncodedPicture(base64.b64encode(data).decode())()


def chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    size = struct.pack(">I", len(body) if length is None else length)
    return size + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def idat(width: int = 4, height: int = 4) -> bytes:
    return chunk(b"IDAT", zlib.compress((b"\0" + bytes(3 * width)) * height))


IEND = chunk(b"IEND", b"")


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG of 16 x 16 pixels whose frame header says width x height."""
    data = bytearray(cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def frame(width: int, height: int) -> bytes:
    """A frame header and the start of a scan."""
    return (b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width)
            + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
            + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00")  # fmt: skip


def false_start(marker: int) -> bytes:
    """66 kB: a marker without length; taken for one with a length, a false small frame follows."""
    hidden = 2 + 2 + 0xFFE0  # where one lands who reads the next marker as a length
    payload = b"\0" * (hidden - 8) + frame(4, 4)
    real = jpeg(16000, 16000)[2:]
    return (b"\xff\xd8" + bytes((0xFF, marker)) + b"\xff\xe0"
            + struct.pack(">H", len(payload) + 2) + payload + real)  # fmt: skip


def two_frames() -> bytes:
    """A second frame header behind the first: decoders differ in which counts."""
    data = jpeg(16000, 16000)
    at = data.index(b"\xff\xc0")
    return data[:at] + frame(4, 4)[:19] + data[at:] if at else data


def webp(width: int, height: int) -> bytes:
    """A VP8X header of one size over a picture of another."""
    small = cv2.imencode(".webp", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    head = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0"
    head += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + head + small[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(width: int, height: int, length: int | None = None) -> bytes:
    data = bytearray(cv2.imencode(".bmp", np.full((16, 16, 3), 90, np.uint8))[1].tobytes())
    struct.pack_into("<ii", data, 18, width, height)
    if length is not None:
        struct.pack_into("<I", data, 2, length)
    return bytes(data)


LIES: dict[str, tuple[str, bytes]] = {
    "png: a chunk of 4 GB": ("png", png(ihdr(4, 4), b"\xff\xff\xff\xffIDATIEND\0\0\0\0")),
    "png: a chunk of 2 GB": ("png", png(ihdr(4, 4), b"\x7f\xff\xff\xffIDATIEND\0\0\0\0")),
    "png: a text chunk of 2 GB": ("png", png(ihdr(4, 4), b"\x7f\xff\xff\xfftEXtIEND\0\0\0\0")),
    "png: one byte more than there is": (
        "png", png(ihdr(4, 4), chunk(b"IDAT", b"x" * 8, 8 + len(IEND) + 5), IEND)),
    "png: a header chunk of another length": (
        "png", png(b"\0\0\0\x20" + ihdr(4, 4)[4:], idat(), IEND)),
    "png: the end is only in the data": (
        "png", png(ihdr(4, 4), chunk(b"IDAT", zlib.compress(bytes(52)) + b"IEND"))),
    "png: two headers": ("png", png(ihdr(4, 4), ihdr(16000, 16000), idat(), IEND)),
    "png: no data": ("png", png(ihdr(4, 4), IEND)),
    **{f"jpeg: marker {marker:#x} has no length": ("jpg", false_start(marker))
       for marker in (0x01, 0xD0, 0xD7)},
    "jpeg: two frames": ("jpg", two_frames()),
    "jpeg: a segment longer than the data": ("jpg", b"\xff\xd8\xff\xe0\xff\xff" + b"\0" * 64
                                             + b"\xff\xd9"),
    "webp: two sizes": ("webp", webp(8000, 5000)),
    "bmp: more rows than bytes": ("bmp", bmp(5000, 5000)),
    "bmp: a height of -2^31": ("bmp", bmp(16, -(2**31))),
    "bmp: no length": ("bmp", bmp(5000, 5000, 0)),
}  # fmt: skip
# Width and height of a TIFF of 4 x 4 pixels.
SIDE_X, SIDE_Y = struct.pack("<HHII", 0x100, 3, 1, 4), struct.pack("<HHII", 0x101, 3, 1, 4)
HUGE: dict[str, tuple[str, bytes]] = {
    "png": ("png", png(ihdr(60000, 60000), idat(), IEND)),
    "jpeg": ("jpg", jpeg(60000, 60000)),
    "webp": ("webp", webp(60000, 60000)),
    "bmp": ("bmp", bmp(60000, 60000)),
    "tiff": ("tiff", cv2.imencode(".tiff", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
             .replace(SIDE_X, struct.pack("<HHII", 0x100, 4, 1, 60000))
             .replace(SIDE_Y, struct.pack("<HHII", 0x101, 4, 1, 60000))),
    "ppm": ("ppm", b"P6 60000 60000 255\n" + bytes(48)),
}  # fmt: skip


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each picture that a decoder was given; none is decoded."""
    seen: list[int] = []

    def imdecode(data: Any, *_: Any, **__: Any) -> None:
        seen.append(len(data))

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    monkeypatch.setattr(cv2, "imread", lambda *_: seen.append(0))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: seen.append(0))
    return seen


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize("lie", LIES)
def test_what_contradicts_itself_reaches_no_decoder(
    lie: str, enter: str, decoded: list[int], tmp_path: Path
) -> None:
    kind, data = LIES[lie]
    with pytest.raises((ImageError, RecordError)):
        ENTRANCES[enter](data, tmp_path, kind)
    assert decoded == []


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize("huge", HUGE)
def test_what_is_too_large_reaches_no_decoder(
    huge: str, enter: str, decoded: list[int], tmp_path: Path
) -> None:
    """A header of 60,000 x 60,000 ends training, evaluation and file_camera today."""
    kind, data = HUGE[huge]
    with pytest.raises((ImageError, RecordError), match=r"larger than|unknown kind|declares"):
        ENTRANCES[enter](data, tmp_path, kind)
    assert decoded == []


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp"])
def test_the_decoders_own_result_is_checked_again(
    kind: str, enter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else a header hides, what comes out has the size that was declared."""
    data = cv2.imencode(f".{kind}", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((20, 16, 3), np.uint8))
    with pytest.raises((ImageError, RecordError)):
        ENTRANCES[enter](data, tmp_path, kind)


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp"])
def test_whole_pictures_are_read(kind: str, enter: str, tmp_path: Path) -> None:
    data = cv2.imencode(f".{kind}", np.full((16, 24, 3), 90, np.uint8))[1].tobytes()
    assert ENTRANCES[enter](data, tmp_path, kind).shape == (16, 24, 3)


@pytest.mark.parametrize(
    "more",
    [
        b"\xff\xfe\x00\x07hello",  # a comment
        b"\xff\xff\xff\xfe\x00\x07hello",  # fill bytes before it
        b"\xff\xe1\x00\x08Exif\0\0",
    ],
)
def test_jpegs_with_more_segments_are_read(more: bytes, tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.full((16, 24, 3), 90, np.uint8))[1].tobytes()
    assert message(data[:2] + more + data[2:], tmp_path, "jpg").shape == (16, 24, 3)
    assert message(data + b"\0trailing", tmp_path, "jpg").shape == (16, 24, 3)


# The peak of a process of its own. The chunk is a 16th of the largest, not to fell the machine.
PEAK = """
import resource, sys
from types import SimpleNamespace
import numpy as np, cv2
from chatspot_ros.errors import ImageError
from chatspot_ros.images.decode import message_to_rgb
cv2.imdecode(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1], cv2.IMREAD_COLOR)
cv2.imdecode(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1], cv2.IMREAD_COLOR)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    message_to_rgb(SimpleNamespace(format="x", data=open(sys.argv[1], "rb").read()))
except ImageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    "data",
    [png(ihdr(4, 4), b"\x10\x00\x00\x00IDATIEND\0\0\0\0"), false_start(0xD0)],
    ids=["a 49-byte PNG", "a 66 kB JPEG"],
)
def test_a_small_picture_takes_little_memory(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path / "a")], check=True, text=True,
                          capture_output=True, timeout=200)  # fmt: skip
    assert int(done.stdout.split()[-1]) < 16 * 1024, done.stdout  # kB
