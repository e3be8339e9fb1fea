"""What is asked of the node and what it replies, as plain Python: no ROS, no torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.images.decode import check_size, image_size, message_to_rgb

OK = "OK"
_picture_numbers = itertools.count()


class Picture:
    """One image as it came, decoded only when its pixels are asked for.

    Two pictures are the same only when they are one object: `key` says which.
    """

    def __init__(
        self,
        load_message: Callable[[], Any],
        *,
        stamp_ns: int = 0,
        frame_id: str = "",
        camera: str = "",
        size_wh: tuple[int, int] | None = None,
    ) -> None:
        """`load_message` returns the sensor_msgs Image or CompressedImage.

        It may be called in any thread. `size_wh` is what the message says of its size in pixels;
        None: the message has to be loaded for it.
        """
        self._load_message = load_message
        self.stamp_ns = stamp_ns
        self.frame_id = frame_id
        self.camera = camera
        self.key = next(_picture_numbers)
        self._size_wh = size_wh

    def size(self, max_pixels: int) -> tuple[int, int]:
        """Return (width, height) in pixels, without decoding. Raises ImageError."""
        if self._size_wh is not None:
            return check_size(*self._size_wh, max_pixels)
        return image_size(self._load_message(), max_pixels)

    def rgb(self, max_pixels: int) -> RgbImage:
        """Return the pixels, uint8 H x W x 3, RGB. Raises ImageError."""
        return message_to_rgb(self._load_message(), max_pixels)


@dataclass(frozen=True)
class Query:
    """One request, as RegionQuery's fields say.

    `picture` is the one sent along, `stamp_ns` 0 the newest frame. A `background` query
    waits until no interactive one does.
    """

    question: str
    camera: str = ""
    stamp_ns: int = 0
    picture: Picture | None = None
    regions: tuple[Region, ...] = ()
    use_detections: bool = False
    task: str = ""
    session: str = ""
    timeout_s: float = 0.0
    background: bool = False


@dataclass
class QueryReply:
    """What came of a query: `status` is the name of one of RegionQuery's constants.

    `id` is the query's name in the log.
    """

    query: Query
    id: str = ""
    status: str = OK
    message: str = ""
    picture: Picture | None = None
    answers: list[Answer] = field(default_factory=list)
    model: str = ""
    queued_s: float = 0.0
    seeing_s: float = 0.0
    answering_s: float = 0.0
