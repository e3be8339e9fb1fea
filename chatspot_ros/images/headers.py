"""Reads the declared size of a compressed picture without decoding it.

A file of a few bytes can declare 30,000 x 30,000 pixels, or a chunk of 4 GB, and make a decoder
allocate gigabytes. So the caller reads and checks the declared size before any decoder sees the
data. The reader is strict: every length lies inside the data, every marker is known, and the size
is declared once. Libraries forgive more than that, and then two of them see two sizes.
"""

from __future__ import annotations

import struct

from chatspot_ros.errors import ImageError

_KNOWN = "send a JPEG, PNG, WebP or BMP picture"
# JPEG markers before the pixels: frame headers; tables, intervals, APP0 to APP15 and comments.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_OTHERS = {0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"
# Kinds of a BMP's pixels that stand in plain rows: none, bit fields, bit fields with alpha.
_BMP_PLAIN = {0, 3, 6}


def declared_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in pixels that a JPEG, PNG, WebP or BMP file declares.

    Also checks that the end of the file is there, as far as possible without decoding: decoders
    fill the missing part of a cut picture with grey, without an error.

    Raises:
        ImageError: no data, an unknown kind of file, a broken header, or a cut file.
    """
    if not data:
        raise ImageError("the compressed image has no data", value="0 bytes", remedy=_KNOWN)
    kinds = ((b"\x89PNG\r\n\x1a\n", _png_size), (b"\xff\xd8", _jpeg_size), (b"BM", _bmp_size))
    reader = next((read for start, read in kinds if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        reader = _webp_size
    if reader is None:
        raise ImageError(
            "the compressed image is of an unknown kind",
            value=f"{len(data)} bytes that start with {data[:8].hex(' ')}",
            remedy=_KNOWN,
        )
    try:
        return reader(data)
    except (struct.error, IndexError) as error:
        raise _broken("its header breaks off", data) from error


def _broken(what: str, data: bytes) -> ImageError:
    return ImageError(
        f"the compressed image is broken: {what}",
        value=f"{len(data)} bytes",
        remedy="send the whole file, unchanged",
    )


def _png_size(data: bytes) -> tuple[int, int]:
    """Walk the chunks: IHDR first and once, pixels, IEND."""
    size = (0, 0)
    at, pixels = 8, 0
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise _broken(f"a PNG chunk of {length} bytes breaks off", data)
        if (at == 8) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise _broken("the PNG has no single header", data)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", data, at + 8)
        pixels += kind == b"IDAT"
        if kind == b"IEND":
            if not pixels:
                raise _broken("the PNG has no pixels", data)
            return size
        at += 12 + length
    raise _broken("the PNG has no end", data)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments up to the pixels: known markers, and a single frame header."""
    sizes = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise _broken("the JPEG has bytes between its segments", data)
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker not in {*_JPEG_FRAMES, *_JPEG_OTHERS, _JPEG_SCAN}:
            raise _broken(f"the JPEG has the marker {marker:#x} before its pixels", data)
        if length < 2 or at + 2 + length > len(data):
            raise _broken(f"a JPEG segment declares {length} bytes", data)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            sizes.append((width, height))
        at += 2 + length
        if marker == _JPEG_SCAN:
            break
    else:
        raise _broken("the JPEG breaks off before its pixels", data)
    if len(sizes) != 1:
        raise _broken(f"the JPEG has {len(sizes)} frame headers", data)
    # A thumbnail before the pixels has an end marker of its own.
    if data.rfind(_JPEG_END) < at:
        raise _broken("the JPEG has no end", data)
    return sizes[0]


def _bmp_size(data: bytes) -> tuple[int, int]:
    length, start, header = struct.unpack_from("<I4xII", data, 2)
    if len(data) < length:
        raise _broken(f"the BMP declares {length} bytes", data)
    if header == 12:
        width, height, bits = struct.unpack_from("<HH2xH", data, 18)
        packing = 0
    else:
        width, height, bits, packing = struct.unpack_from("<ii2xHI", data, 18)
    height = abs(height)  # negative: from the top down
    stride = (width * bits + 31) // 32 * 4
    if width < 0 or (packing in _BMP_PLAIN and start + height * stride > len(data)):
        raise _broken(f"the BMP declares {width} x {height} pixels", data)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    """Compare the size of an extended header with that of its frame."""
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise _broken(f"the WebP declares {length + 8} bytes", data)
    canvas, at = None, 12
    while at + 8 <= length + 8:
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            raise _broken(f"a WebP chunk declares {size} bytes", data)
        if kind == b"VP8X":
            if canvas is not None:
                raise _broken("the WebP has two headers", data)
            canvas = _read_24_bits(data, at + 12) + 1, _read_24_bits(data, at + 15) + 1
        elif kind == b"ANMF" and canvas is not None:
            return canvas  # an animation; its frames are drawn onto the canvas
        elif kind in (b"VP8 ", b"VP8L"):
            frame = _webp_frame_size(data, kind, at + 8)
            if canvas not in (None, frame):
                raise _broken(f"the WebP declares {canvas} and {frame} pixels", data)
            return frame
        at += 8 + size + size % 2
    raise _broken("no WebP chunk has pixels", data)


def _webp_frame_size(data: bytes, kind: bytes, at: int) -> tuple[int, int]:
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, at + 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, at + 6)
    if not (width & 0x3FFF and height & 0x3FFF):
        raise _broken("a WebP frame without pixels", data)
    return width & 0x3FFF, height & 0x3FFF


def _read_24_bits(data: bytes, start: int) -> int:
    low, high = struct.unpack_from("<HB", data, start)
    return int(low) | int(high) << 16
