"""The files of the feedback log: lines that rotate, and pictures of regions where allowed. No ROS.

Both are bounded in bytes.
"""

from __future__ import annotations

import contextlib
import logging
import re
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import cv2

from chatspot_ros.core.feedback_events import FeedbackLine, write_line
from chatspot_ros.core.geometry import RgbImage

MEGABYTE = 1_000_000
OLDER_FILES = 3
_PICTURE = re.compile(r"[0-9a-f]{16}\.jpg")
_JPEG_QUALITY = 85


class _Lines(RotatingFileHandler):
    """Raises what went wrong, and never writes a line later than it said."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop what is buffered, and raise the error."""
        stream: TextIOWrapper | None = self.stream
        self.stream = None  # the next line opens the file again
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        raise

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        # A process that was killed, or a full disk, may have cut the last line off.
        with Path(self.baseFilename).open("rb") as there:
            if there.seek(0, 2) and there.seek(-1, 2) is not None and there.read(1) != b"\n":
                stream.write("\n")
        return stream


class FeedbackFiles:
    """The log `path` with its older files `path`.1 to `path`.3, and the folder `path`.pictures."""

    def __init__(self, path: Path, megabytes: float, picture_megabytes: float) -> None:
        """The files take at most `megabytes` together; 0 `picture_megabytes`: no picture is kept.

        Raises OSError if the log cannot be written to.
        """
        size = max(int(megabytes * MEGABYTE / (OLDER_FILES + 1)), 1)
        self._lines = _Lines(path, maxBytes=size, backupCount=OLDER_FILES, encoding="utf-8")
        self._pictures: _Pictures | None = None
        if picture_megabytes > 0:
            folder = path.with_name(f"{path.name}.pictures")
            self._pictures = _Pictures(folder, int(picture_megabytes * MEGABYTE))

    @property
    def keeps_pictures(self) -> bool:
        """Whether pictures may be kept."""
        return self._pictures is not None

    def write(self, event: FeedbackLine) -> None:
        """Append a line; it is in the file on return. Raises OSError."""
        line = write_line(event)
        self._lines.handle(logging.makeLogRecord({"msg": "%s", "args": (line,)}))

    def keep(self, answer_id: str, image_rgb: RgbImage) -> None:
        """Keep a region's picture (uint8 H x W x 3, RGB), if that is allowed. Raises OSError."""
        if self._pictures is not None:
            self._pictures.keep(answer_id, image_rgb)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


class _Pictures:
    """A folder of JPEG files of at most `max_bytes` in all; the oldest go first."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        there = [one for one in folder.iterdir() if _PICTURE.fullmatch(one.name)]
        there.sort(key=lambda one: one.stat().st_mtime_ns)
        self._sizes = {one: one.stat().st_size for one in there}

    def keep(self, name: str, image_rgb: RgbImage) -> None:
        bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not done or len(data) > self._max_bytes:
            return
        while self._sizes and sum(self._sizes.values()) + len(data) > self._max_bytes:
            oldest = next(iter(self._sizes))
            oldest.unlink(missing_ok=True)
            del self._sizes[oldest]
        path = self._folder / f"{name}.jpg"
        path.write_bytes(data.tobytes())
        self._sizes[path] = len(data)
