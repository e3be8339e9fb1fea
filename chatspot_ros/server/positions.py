"""Positions for the regions of a reply, by depth pictures of the same moment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.camera_model import CameraModel
from chatspot_ros.core.depth_view import DepthView, locate
from chatspot_ros.core.place import Place
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError, ImageError, PositionError
from chatspot_ros.images.depth import message_to_metres
from chatspot_ros.server.depth_settings import OFF
from chatspot_ros.server.frame_buffer import NS, Frame, FrameBuffer, format_ns
from chatspot_ros.server.request import Picture, QueryReply
from chatspot_ros.server.settings import Settings

# Rotation (3 x 3) and translation (3, in m) from a frame at a stamp into the target frame.
Motion = tuple[NDArray[np.float64], NDArray[np.float64]]
# Called with the frame_id and the stamp in ns. Raises PositionError.
FindMotion = Callable[[str, int], Motion]
_MAX_INFO_BYTES, _INFO_BYTES = 1_000_000, 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DepthPicture:
    """One received depth picture, read on demand: `load_message` returns the sensor_msgs one."""

    load_message: Callable[[], Any]
    stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True)
class _Seen:
    """A depth picture and the CameraInfo that goes with it."""

    depth: DepthPicture
    info: Any


class DepthBuffer:
    """The latest depth pictures and CameraInfos of one camera, by stamp. Thread-safe."""

    def __init__(self, name: str, settings: Settings) -> None:
        """`buffer_seconds` and `buffer_megabytes` of the settings bound it, as for images."""
        self.name = name
        self._lock = threading.Lock()
        self._depths: FrameBuffer[DepthPicture] = FrameBuffer(
            name=name,
            max_seconds=settings.buffer_seconds,
            max_bytes=settings.buffer_megabytes * 1_000_000,
        )
        self._infos: FrameBuffer[Any] = FrameBuffer(
            name=name, max_seconds=settings.buffer_seconds, max_bytes=_MAX_INFO_BYTES
        )
        # Says on which topics they are awaited; set by their subscriber.
        self.topics = ("depth/image", "depth/camera_info")

    def add_depth(self, depth: DepthPicture, size_bytes: int) -> None:
        """Store a depth picture; one without a stamp belongs to no image and is dropped."""
        if depth.stamp_ns:
            with self._lock:
                self._depths.add(Frame(depth.stamp_ns, depth, size_bytes))

    def add_info(self, stamp_ns: int, info: Any) -> None:
        """Store a sensor_msgs/CameraInfo."""
        with self._lock:
            self._infos.add(Frame(stamp_ns, info, _INFO_BYTES))

    def clear(self) -> None:
        """Drop everything: stamps may come again."""
        with self._lock:
            self._depths.clear()
            self._infos.clear()

    def find(self, stamp_ns: int, tolerance_s: float) -> _Seen:
        """Return the depth picture nearest to a stamp, at most `tolerance_s` away, and its info.

        The CameraInfo is the one whose stamp is the nearest to the depth picture's: calibrations
        seldom change. Raises PositionError.
        """
        with self._lock:
            near = self._depths.within(stamp_ns, round(tolerance_s * NS))
            if not near:
                raise self._no_depth(stamp_ns, tolerance_s)
            depth = min(near, key=lambda frame: abs(frame.stamp_ns - stamp_ns)).payload
            infos = list(self._infos)
        if not infos:
            raise PositionError(
                "no CameraInfo has come",
                value=self.topics[1],
                remedy="let the camera's driver publish one, or remap depth/camera_info to it",
            )
        return _Seen(depth, min(infos, key=lambda one: abs(one.stamp_ns - depth.stamp_ns)).payload)

    def _no_depth(self, stamp_ns: int, tolerance_s: float) -> PositionError:
        held = [frame.stamp_ns for frame in self._depths]
        if not held:
            return PositionError(
                "no depth picture has come",
                value=self.topics[0],
                remedy="start the depth camera, or remap depth/image to its topic",
            )
        away_s = min(abs(one - stamp_ns) for one in held) / NS
        return PositionError(
            f"no depth picture within {tolerance_s:g} s of the image; the nearest of "
            f"{len(held)} is {away_s:.3f} s away",
            value=format_ns(stamp_ns),
            remedy="let both have one stamp, or raise depth_tolerance as far as the camera's "
            "motion allows",
        )


class Locator:
    """Gives each region of a reply its place. In any thread."""

    def __init__(
        self,
        settings: Settings,
        buffers: Mapping[str, DepthBuffer],
        find_motion: FindMotion | None = None,
    ) -> None:
        """`find_motion` leads into the `target_frame`; None: there is none."""
        self.settings = settings
        self._buffers = buffers
        self._find_motion = find_motion
        self._lock = threading.Lock()
        # A conversation's picture outlives the buffer: its depth stays with it.
        self._seen: WeakKeyDictionary[Picture, _Seen] = WeakKeyDictionary()
        # The picture that was read last, by all that it depends on.
        self._last: tuple[Any, DepthView] | None = None

    def locate(self, reply: QueryReply) -> QueryReply:
        """Return the reply with a place in each region of its answers.

        Without depth pictures it is returned as it is; a failure becomes the places' note.
        """
        if self.settings.depth_images == OFF or reply.picture is None or not reply.answers:
            return reply
        try:
            place_of = self._places_on(reply.picture)
            answers = [_with_places(answer, place_of) for answer in reply.answers]
        except ChatspotError as error:
            answers = _without_places(reply.answers, str(error))
        except Exception as error:
            # The answer goes out all the same.
            _log.exception("%s: the positions failed", reply.id)
            answers = _without_places(reply.answers, f"{type(error).__name__}: see the node's log")
        return replace(reply, answers=answers)

    def clear(self) -> None:
        """Drop all depth pictures."""
        for buffer in self._buffers.values():
            buffer.clear()
        with self._lock:
            self._seen.clear()
            self._last = None

    def _places_on(self, picture: Picture) -> Callable[[Region], Place]:
        """Return a function that finds a region's place on a picture. Raises ChatspotError."""
        seen = self._find(picture)
        view = self._view(seen, picture)
        frame_id = picture.frame_id or seen.depth.frame_id
        if not frame_id:
            raise PositionError(
                "the images have no frame_id", value=None, remedy="set it in the camera's driver"
            )
        motion, why_not = self._motion(frame_id, picture.stamp_ns)
        found: dict[Region, Place] = {}

        def place_of(region: Region) -> Place:
            if region not in found:
                found[region] = _place(region, view, motion, why_not, (frame_id, picture.stamp_ns),
                                       self.settings.target_frame)  # fmt: skip
            return found[region]

        return place_of

    def _find(self, picture: Picture) -> _Seen:
        with self._lock:
            known = self._seen.get(picture)
        if known is not None:
            return known
        buffer = self._buffers.get(picture.camera)
        if buffer is None:
            raise PositionError(
                "a picture sent with the request has no depth",
                value=None,
                remedy="ask of a camera's frame",
            )
        if not picture.stamp_ns:
            raise PositionError(
                "the image has no stamp, so no depth picture belongs to it",
                value=0,
                remedy="let the camera's driver stamp its images",
            )
        seen = buffer.find(picture.stamp_ns, self.settings.depth_tolerance)
        depth_frame, frame = seen.depth.frame_id, picture.frame_id
        if depth_frame and frame and depth_frame != frame:
            raise PositionError(
                "the depth picture is of another frame than the image",
                value=f"{depth_frame}, not {frame}",
                remedy="subscribe to the depth that is aligned to the image (its driver, or "
                "depth_image_proc's register)",
            )
        with self._lock:
            self._seen[picture] = seen
        return seen

    def _view(self, seen: _Seen, picture: Picture) -> DepthView:
        """Return the decoded depth picture; the last one is kept. Raises ChatspotError."""
        limit, rectified = self.settings.max_pixels, self.settings.depth_rectified
        image_wh = picture.size(limit)
        with self._lock:
            last = self._last
        key = (seen.depth, seen.info, image_wh, rectified)
        if last is not None and last[0] == key:
            return last[1]
        try:
            depths_m = message_to_metres(seen.depth.load_message(), limit)
        except ImageError as error:
            raise PositionError(error.problem, value=error.value, remedy=error.remedy) from error
        height, width = depths_m.shape
        camera = CameraModel.from_info(seen.info, rectified=rectified).resized((width, height))
        view = DepthView(depths_m, image_wh, camera)
        with self._lock:
            self._last = (key, view)
        return view

    def _motion(self, frame_id: str, stamp_ns: int) -> tuple[Motion | None, str]:
        """Return the motion into the target frame, or the reason why it is not known."""
        if self._find_motion is None:
            return None, ""
        try:
            return self._find_motion(frame_id, stamp_ns), ""
        except PositionError as error:
            return None, str(error)


def _with_places(answer: Answer, place_of: Callable[[Region], Place]) -> Answer:
    return replace(
        answer,
        regions=tuple(replace(one, place=place_of(one)) for one in answer.regions),
        grounded=tuple(replace(one, place=place_of(one)) for one in answer.grounded),
    )


def _without_places(answers: Sequence[Answer], note: str) -> list[Answer]:
    return [_with_places(answer, lambda _: Place(note=note)) for answer in answers]


def _place(
    region: Region,
    view: DepthView,
    motion: Motion | None,
    why_not: str,
    header: tuple[str, int],
    target_frame: str,
) -> Place:
    place = locate(region, view)
    if place.xyz_m is None:
        return place
    frame_id, stamp_ns = header
    notes = "; ".join(note for note in (place.note, why_not) if note)
    place = replace(place, frame_id=frame_id, stamp_ns=stamp_ns, note=notes)
    if motion is None:
        return place
    rotation, translation = motion
    x, y, z = (float(value) for value in rotation @ np.array(place.xyz_m) + translation)
    return replace(place, target_xyz_m=(x, y, z), target_frame=target_frame)
