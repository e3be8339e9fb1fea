"""A camera's newest frame for many browsers: encoded once, at each browser's own pace.

A browser asks for the next frame when it has the last one, and gets the newest. So a slow link
drops frames and queues none.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.errors import ImageError
from chatspot_ros.operators.client import Frame, OperatorClient

# Wider pictures are made smaller for the browser; regions stay in pixels of the camera's picture.
WIDEST_PX = 1280
_QUALITY = 80
_IDLE_S = 10.0
_numbers = itertools.count(1)


def to_jpeg(image_rgb: RgbImage) -> bytes:
    """Return a picture (H x W x 3, RGB, uint8) as JPEG, at most WIDEST_PX wide.

    Raises:
        ImageError: it cannot be encoded.
    """
    height, width = image_rgb.shape[:2]
    if width > WIDEST_PX:
        smaller = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
        fitting = cv2.resize(image_rgb, smaller, interpolation=cv2.INTER_AREA)
    else:
        fitting = image_rgb
    image_bgr = cv2.cvtColor(fitting, cv2.COLOR_RGB2BGR)
    done, jpeg = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ImageError(
            "the picture cannot be encoded",
            value=f"{width} x {height}",
            remedy="use another camera",
        )
    return jpeg.tobytes()


@dataclass(frozen=True)
class NumberedFrame:
    """A frame with the number under which browsers know it; no other frame of any camera has it."""

    frame: Frame
    number: int

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.frame.image_rgb.shape[:2]
        return width, height


class CameraFeed:
    """The newest frame of one camera. It watches the camera only while somebody asks.

    All but `_on_frame` is for the event loop's thread.
    """

    def __init__(self, client: OperatorClient, camera: str) -> None:
        self.camera = camera
        self.newest: NumberedFrame | None = None
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._end: Callable[[], None] | None = None
        self._used_s = 0.0
        self._jpeg: tuple[int, asyncio.Future[bytes]] | None = None

    async def after(self, number: int, timeout_s: float) -> NumberedFrame | None:
        """Return the newest frame once its number is another one; None when the time is over."""
        self._watch()
        until_s = self._loop.time() + timeout_s
        while self.newest is None or self.newest.number == number:
            news = self._news
            try:
                await asyncio.wait_for(news.wait(), until_s - self._loop.time())
            except TimeoutError:
                return None
        self._used_s = time.monotonic()
        return self.newest

    async def jpeg(self, numbered: NumberedFrame) -> bytes:
        """Return a frame as JPEG, at most WIDEST_PX wide; browsers share the newest one's."""
        if self._jpeg is None or self._jpeg[0] != numbered.number:
            work = self._loop.run_in_executor(None, to_jpeg, numbered.frame.image_rgb)
            self._jpeg = numbered.number, work
        # One browser that leaves does not cancel the work for the others.
        return await asyncio.shield(self._jpeg[1])

    def rest(self) -> None:
        """Stop watching if nobody has asked for ten seconds; the next one begins it again."""
        if self._end is not None and time.monotonic() - self._used_s > _IDLE_S:
            self.close()

    def close(self) -> None:
        """Stop watching."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def _watch(self) -> None:
        self._used_s = time.monotonic()
        if self._end is None:
            self.newest = None  # of a time that is long over
            self._end = self._client.watch(self.camera, self._on_frame)

    def _on_frame(self, frame: Frame) -> None:
        """Take a frame, in the client's thread."""
        self._loop.call_soon_threadsafe(self._take, frame)

    def _take(self, frame: Frame) -> None:
        self.newest = NumberedFrame(frame, next(_numbers))
        news, self._news = self._news, asyncio.Event()
        news.set()


def packed(numbered: NumberedFrame, jpeg: bytes) -> bytes:
    """Return a frame for the browser: 4 bytes with the length N (big endian), N bytes of JSON with
    number, stamp in s, size and the detections' boxes and labels, then the JPEG."""
    about: dict[str, Any] = {
        "number": numbered.number,
        "stamp_s": numbered.frame.stamp_ns / 1e9,
        "size": numbered.size_wh,
        "detections": [
            {"box": region.box_xyxy_px, "label": region.label}
            for region in numbered.frame.detections
            if len(region.points_px) > 1
        ],
    }
    text = json.dumps(about).encode()
    return len(text).to_bytes(4, "big") + text + jpeg
