"""What a compressed picture declares about itself, read without decoding it.

A file of a few kilobytes can declare 30,000 x 30,000 pixels and make a decoder allocate gigabytes,
so
the declared size is read, and checked by the caller, before any decoder sees the data.
"""

from __future__ import annotations

import struct

from chatspot_ros.errors import ImageError

# JPEG markers that start a frame header (SOF0..SOF15 without DHT, JPG and DAC, which share the
# range).
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END = b"\xff\xd9"
_KNOWN = "send a JPEG, PNG, WebP or BMP picture"


def declared_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in pixels that a JPEG, PNG, WebP or BMP file declares.

    Also checks that the file's end has arrived, as far as that can be told without decoding:
    decoders fill the missing part of a cut picture with grey and say nothing.

    Raises:
        ImageError: no data, an unknown kind of file, a broken header, or a file that was cut.
    """
    if not data:
        raise ImageError("the compressed image has no data", value="0 bytes", remedy=_KNOWN)
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = _png_size(data)
        elif data[:2] == b"\xff\xd8":
            width, height = _jpeg_size(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        elif data[:2] == b"BM":
            width, height = _bmp_size(data)
        else:
            raise ImageError(
                "the compressed image is of an unknown kind",
                value=f"{len(data)} bytes that start with {data[:8].hex(' ')}",
                remedy=_KNOWN,
            )
    except (struct.error, IndexError) as error:
        raise _broken("its header breaks off", data) from error
    if width < 1 or height < 1:
        raise ImageError(
            "the compressed image declares no pixels",
            value=f"{width} x {height}",
            remedy="send a picture of at least 1 x 1 pixel",
        )
    return width, height


def _broken(what: str, data: bytes) -> ImageError:
    return ImageError(
        f"the compressed image is broken: {what}",
        value=f"{len(data)} bytes",
        remedy="send the whole file, unchanged",
    )


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise _broken("no IHDR chunk at the start of the PNG", data)
    if b"IEND" not in data[-64:]:
        raise _broken("the PNG has no end", data)
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the JPEG's segments up to the start of the scan."""
    size: tuple[int, int] | None = None
    position = 2
    while True:
        if data[position] != 0xFF:
            raise _broken(f"no JPEG marker at byte {position}", data)
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte before the marker proper
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2:
            raise _broken(f"a JPEG segment of length {length}", data)
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = (width, height)
        position += 2 + length
        if marker == 0xDA:
            break
    if size is None:
        raise _broken("the JPEG has no frame header", data)
    if data.rfind(_JPEG_END) < position:
        raise _broken("the JPEG has no end", data)
    return size


def _webp_size(data: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise _broken(f"the WebP declares {length + 8} bytes", data)
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise _broken(f"an unknown WebP chunk {kind!r}", data)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    """A negative height means rows from the top down."""
    (length,) = struct.unpack_from("<I", data, 2)
    if len(data) < length:
        raise _broken(f"the BMP declares {length} bytes", data)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)
