"""Reads the declared size of a compressed picture without decoding it.

A file of a few kilobytes can declare 30,000 x 30,000 pixels and make a decoder allocate gigabytes.
So the caller reads and checks the declared size before any decoder sees the data.
"""

from __future__ import annotations

import io
import struct

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from chatspot_ros.errors import ImageError

_JPEG_END = b"\xff\xd9"
_KNOWN = "send a JPEG, PNG, WebP or BMP picture"


def declared_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in pixels that a JPEG, PNG, WebP or BMP file declares.

    Also checks that the end of the file is there, as far as possible without decoding: decoders
    fill the missing part of a cut picture with grey, without an error.

    Raises:
        ImageError: no data, an unknown kind of file, a broken header, or a cut file.
    """
    if not data:
        raise ImageError("the compressed image has no data", value="0 bytes", remedy=_KNOWN)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_size(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"BM":
        return _bmp_size(data)
    raise ImageError(
        "the compressed image is of an unknown kind",
        value=f"{len(data)} bytes that start with {data[:8].hex(' ')}",
        remedy=_KNOWN,
    )


def _broken(what: str, data: bytes) -> ImageError:
    return ImageError(
        f"the compressed image is broken: {what}",
        value=f"{len(data)} bytes",
        remedy="send the whole file, unchanged",
    )


def _read_header(reader: type[ImageFile], file: io.BytesIO) -> ImageFile:
    """Read a header with Pillow.

    `Image.open` would also compare the size with a limit other than the parameter max_pixels.
    """
    try:
        return reader(file)
    except Exception as error:  # of any type: the data may be hostile
        raise _broken(f"its header cannot be read ({error})", file.getvalue()) from error


def _png_size(data: bytes) -> tuple[int, int]:
    if b"IEND" not in data[-64:]:
        raise _broken("the PNG has no end", data)
    return _read_header(PngImageFile, io.BytesIO(data)).size


def _jpeg_size(data: bytes) -> tuple[int, int]:
    file = io.BytesIO(data)
    header = _read_header(JpegImageFile, file)
    if not header.tile:
        raise _broken("the JPEG breaks off before its pixels", data)
    # Pillow has read up to the pixels; a thumbnail before them has an end marker of its own.
    if data.rfind(_JPEG_END) < file.tell():
        raise _broken("the JPEG has no end", data)
    return header.size


def _bmp_size(data: bytes) -> tuple[int, int]:
    length = int.from_bytes(data[2:6], "little")
    if len(data) < length:
        raise _broken(f"the BMP declares {length} bytes", data)
    return _read_header(BmpImageFile, io.BytesIO(data)).size


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read the size without Pillow, which allocates the whole picture to read a WebP's header."""
    try:
        (length,) = struct.unpack_from("<I", data, 4)
        if len(data) < length + 8:
            raise _broken(f"the WebP declares {length + 8} bytes", data)
        kind = data[12:16]
        if kind == b"VP8X":
            return _read_24_bits(data, 24) + 1, _read_24_bits(data, 27) + 1
        if kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            if width & 0x3FFF and height & 0x3FFF:
                return width & 0x3FFF, height & 0x3FFF
    except struct.error as error:
        raise _broken("its header breaks off", data) from error
    raise _broken(f"a WebP chunk {kind!r} without pixels", data)


def _read_24_bits(data: bytes, start: int) -> int:
    low, high = struct.unpack_from("<HB", data, start)
    return int(low) | int(high) << 16
