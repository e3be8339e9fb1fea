"""A request, its picture and its reply in plain Python: no ROS, no torch."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region, RegionKind
from chatspot_ros.images.annotate import Note, annotate
from chatspot_ros.images.decode import check_size, image_size, message_to_rgb

OK = "OK"
PictureId = NewType("PictureId", int)
_picture_ids = itertools.count()

_ID_CHARS = 16


def new_answer_id() -> str:
    """Return a name that no other answer has: 16 hexadecimal digits."""
    return uuid.uuid4().hex[:_ID_CHARS]


class Picture:
    """One received image, decoded on demand.

    `id` is its identity: two pictures are the same if and only if they are one object with one id,
    and no id is used twice in a process. Three other values tell pictures apart, each for one
    purpose:

    - `stamp_ns`, the header's stamp, is how a caller names a frame and how a reply does; 0 where
      the camera does not stamp. It may come again on another picture after time was set back.
    - `Frame.stamp_ns` orders the frame buffer: the same, or the time of arrival where that is 0.
    - The engine's `scene_key` is a hash of the pixels: equal pictures share one scene in the cache.
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
        """`load_message` returns the sensor_msgs Image or CompressedImage, in any thread.

        `frame_id` is the header's coordinate frame. `size_wh` is the message's own statement of its
        size in pixels; None: the message is loaded to read it.
        """
        self.id = PictureId(next(_picture_ids))
        self._load_message = load_message
        self.stamp_ns = stamp_ns
        self.frame_id = frame_id
        self.camera = camera
        self._size_wh = size_wh

    def size(self, max_pixels: int) -> tuple[int, int]:
        """Return (width, height) in pixels, without decoding. Raises ImageError."""
        if self._size_wh is not None:
            return check_size(*self._size_wh, max_pixels)
        return image_size(self._load_message(), max_pixels)

    def rgb(self, max_pixels: int) -> RgbImage:
        """Return the pixels, uint8 H x W x 3, RGB. Raises ImageError."""
        return message_to_rgb(self._load_message(), max_pixels)


STROKE_NOTE = "a stroke was taken for the polygon around it"


class MarkedPicture(Picture):
    """A picture on which regions are drawn with their numbers, from 1 on (set-of-marks prompting,
    arXiv 2310.11441)."""

    def __init__(self, plain: Picture, regions: Sequence[Region]) -> None:
        """`regions` are in the picture's pixels, clipped to it."""
        super().__init__(
            plain._load_message, stamp_ns=plain.stamp_ns, frame_id=plain.frame_id,
            camera=plain.camera, size_wh=plain._size_wh,
        )  # fmt: skip
        self._notes = [Note((one,), str(number)) for number, one in enumerate(regions, 1)]

    def rgb(self, max_pixels: int) -> RgbImage:
        """Return the pixels with the marks, uint8 H x W x 3, RGB. Raises ImageError."""
        return annotate(super().rgb(max_pixels), self._notes)


@dataclass(frozen=True)
class Query:
    """One request, with the fields of RegionQuery.

    `picture` is the picture in the request; `stamp_ns` 0 means the newest frame. A `background`
    query gives way to requests of callers. `via` is the way it came: service, action or click.
    """

    question: str
    camera: str = ""
    stamp_ns: int = 0
    picture: Picture | None = None
    regions: tuple[Region, ...] = ()
    use_detections: bool = False
    marks: bool = False
    task: str = ""
    choices: tuple[str, ...] = ()
    json_schema: str = ""
    session: str = ""
    timeout_s: float = 0.0
    background: bool = False
    via: str = "service"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reply on how the request was read."""
        drawn = any(region.kind is RegionKind.STROKE for region in self.regions)
        return (STROKE_NOTE,) if drawn else ()


@dataclass
class QueryReply:
    """The reply to a query. `status` names one of RegionQuery's constants.

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
