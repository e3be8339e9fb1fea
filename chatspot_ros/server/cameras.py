"""Frames and detections of each camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from chatspot_ros.core.detection_space import DetectionSpace
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import NoImageError, RegionError, RequestError, StaleImageError
from chatspot_ros.server.frame_buffer import NS, Frame, FrameBuffer, format_ns
from chatspot_ros.server.request import Picture, Query
from chatspot_ros.server.settings import Settings

_DETECTION_BYTES = 100
_MAX_DETECTION_BYTES = 10_000_000


class Camera:
    """The frames and detections of one camera, by stamp."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.frames: FrameBuffer[Picture] = FrameBuffer(
            name=name,
            max_seconds=settings.buffer_seconds,
            max_bytes=settings.buffer_megabytes * 1_000_000,
        )
        # In the detector's pixels: the size of the frame is not known before the frame comes.
        # Detections may come in any order, because a detector takes longer for some frames and
        # there may be two detectors. Only frames tell whether time was set back.
        self._detections: FrameBuffer[tuple[Region, ...]] = FrameBuffer(
            name=name,
            max_seconds=settings.buffer_seconds,
            max_bytes=_MAX_DETECTION_BYTES,
            reordering_ns=round(settings.buffer_seconds * NS),
        )
        self.unusable_detections = 0
        # Says on which topic images are awaited, and why none come; set by its subscriber.
        self.diagnose: Callable[[], str] = lambda: ""

    def add_frame(self, frame: Frame[Picture]) -> bool:
        """Store a frame; return True if its stamp set time back.

        In that case all earlier frames and detections are dropped.
        """
        went_back = self.frames.add(frame)
        if went_back:
            self._detections.clear()
        return went_back

    def add_detections(self, stamp_ns: int, regions: tuple[Region, ...]) -> None:
        """Store the detections of the frame with this stamp, in the detector's pixels.

        They may come before their frame. Detections with stamp 0 belong to no frame and are
        dropped.
        """
        if stamp_ns:
            size = _DETECTION_BYTES * (1 + len(regions))
            self._detections.add(Frame(stamp_ns, regions, size))

    def clear(self) -> None:
        """Drop all frames and detections."""
        self.frames.clear()
        self._detections.clear()

    def frame_at(self, stamp_ns: int) -> Frame[Picture] | None:
        """Return the frame that detections of this stamp belong to; None if it is not held.

        The frame of exactly this stamp, else the only frame within `detection_tolerance`.
        """
        return self.frames.get(stamp_ns) or self.frames.only_near(stamp_ns, self._tolerance_ns)

    def detections_at(self, stamp_ns: int) -> tuple[Region, ...] | None:
        """Return the detections of the frame with this stamp, in the detector's pixels.

        The detections of exactly this stamp, else the nearest within `detection_tolerance` that can
        belong to no other frame. None: there are none; an empty tuple: the detector found nothing.
        """
        exact = self._detections.get(stamp_ns)
        if exact is not None:
            return exact.payload
        tolerance_ns = self._tolerance_ns
        found = [
            one
            for one in self._detections.within(stamp_ns, tolerance_ns)
            if (frame := self.frames.only_near(one.stamp_ns, tolerance_ns)) is not None
            and frame.stamp_ns == stamp_ns
        ]
        return min(found, key=lambda one: abs(one.stamp_ns - stamp_ns)).payload if found else None

    def detection_counts(self) -> tuple[int, int]:
        """Return the number of detection messages held, and how many of them have a frame."""
        held = list(self._detections)
        return len(held), sum(self.frame_at(one.stamp_ns) is not None for one in held)

    def newest(self, *, now_ns: int, max_age_s: float) -> Picture:
        """Return the newest frame. Raises NoImageError, StaleImageError."""
        return self.frames.newest(
            now_ns=now_ns, now_s=time.monotonic(), max_age_s=max_age_s
        ).payload

    def newest_detected(self, *, now_ns: int, max_age_s: float) -> Picture:
        """Return the newest frame that has detections.

        Raises:
            NoImageError: there is no frame, or none with detections.
            StaleImageError: the newest frame is older than `max_age_s`.
        """
        self.newest(now_ns=now_ns, max_age_s=max_age_s)
        frame = self.frames.newest_where(
            lambda frame: self.detections_at(frame.stamp_ns) is not None
        )
        if frame is None:
            raise NoImageError(
                f"no frame of camera '{self.name}' has detections",
                value=f"{len(self.frames)} frames, {len(self._detections)} messages of detections",
                remedy="look whether the detector runs, whether its topic is remapped to "
                "`detections`, and whether it copies the image's header.stamp; for stamps that are "
                "a little off there is the parameter detection_tolerance",
            )
        return frame.payload

    def detections_on(self, picture: Picture) -> tuple[Region, ...]:
        """Return the detections of a frame, in pixels of that frame, clipped to it.

        Detections that cannot be asked about are counted in `unusable_detections`.

        Raises:
            NoImageError: the frame has no detections.
            ImageError: the frame's size cannot be read.
        """
        regions = self.detections_at(picture.stamp_ns)
        if regions is None:
            raise NoImageError(
                f"no detections of that frame of camera '{self.name}' have come",
                value=format_ns(picture.stamp_ns),
                remedy="ask again when the detector has seen it, or leave the stamp 0 for the "
                "newest frame that has detections",
            )
        usable = self.to_picture(regions, picture)
        self.unusable_detections += len(regions) - len(usable)
        return tuple(usable.values())

    def to_picture(self, regions: Sequence[Region], picture: Picture) -> dict[int, Region]:
        """Convert regions from the detector's pixels to the picture's, clipped; keys are indices.

        Regions that cannot be asked about (not finite, without area, wholly outside) are left out.
        Raises ImageError: the picture's size cannot be read.
        """
        size_wh = picture.size(self.settings.max_pixels)
        space = DetectionSpace.parse(self.settings.detection_space)
        usable = {}
        for index, region in enumerate(space.to_image(regions, size_wh)):
            try:
                usable[index] = region.clipped(*size_wh)
            except RegionError:
                continue
        return usable

    @property
    def _tolerance_ns(self) -> int:
        return round(self.settings.detection_tolerance * NS)


class Cameras:
    """All cameras of the node, and the choice of the frame for a query."""

    def __init__(self, settings: Settings) -> None:
        self.by_name = {name: Camera(name, settings) for name in settings.cameras}

    def configure(self, settings: Settings) -> None:
        """Use new settings; those that are fixed at start keep their effect."""
        for camera in self.by_name.values():
            camera.settings = settings

    def found_on(self, picture: Picture) -> int:
        """Return how many boxes the detector found on a camera's frame, usable or not."""
        return len(self.named(picture.camera).detections_at(picture.stamp_ns) or ())

    def clear(self) -> None:
        """Drop all frames and detections of all cameras."""
        for camera in self.by_name.values():
            camera.clear()

    def named(self, name: str) -> Camera:
        """Return a camera by name; the first one for an empty name. Raises RequestError."""
        if not name:
            return next(iter(self.by_name.values()))
        if name not in self.by_name:
            raise RequestError(
                "there is no such camera",
                value=name,
                remedy=f"use one of: {', '.join(self.by_name)}, or leave the camera empty for the "
                "first",
            )
        return self.by_name[name]

    def choose(
        self,
        query: Query,
        *,
        in_session: Picture | None,
        now_ns: Callable[[], int],
        max_age_s: float,
    ) -> tuple[Picture, tuple[Region, ...]]:
        """Return the picture for a query, and the detections to ask about.

        The first of these: the picture in the request, the frame of the request's stamp, the
        session's frame, the newest frame. `now_ns` reads the clock of the cameras' stamps.

        Raises:
            RequestError, NoImageError, StaleImageError, FrameExpiredError: there is no such frame.
            ImageError: detections are wanted and the frame's size cannot be read.
        """
        camera = self.named(query.camera)
        try:
            return self._choose(camera, query, in_session, now_ns, max_age_s)
        except (NoImageError, StaleImageError) as error:
            said = camera.diagnose()
            if not said:
                raise
            raise type(error)(
                error.problem, value=error.value, remedy=f"{said}; {error.remedy}"
            ) from error

    def _choose(
        self,
        camera: Camera,
        query: Query,
        in_session: Picture | None,
        now_ns: Callable[[], int],
        max_age_s: float,
    ) -> tuple[Picture, tuple[Region, ...]]:
        if query.picture is not None:
            if query.use_detections:
                raise RequestError(
                    "a picture sent with the request has no detections",
                    value="use_detections: true",
                    remedy="send its regions along, or ask of a camera's frame",
                )
            return query.picture, ()
        if query.stamp_ns:
            frame = camera.frames.get(query.stamp_ns)
            if frame is None:  # `at` raises the reason; only then the clock is read
                frame = camera.frames.at(query.stamp_ns, now_ns=now_ns())
            picture = frame.payload
        elif in_session is not None and query.camera in ("", in_session.camera):
            picture = in_session
        elif query.use_detections:
            picture = camera.newest_detected(now_ns=now_ns(), max_age_s=max_age_s)
        else:
            picture = camera.newest(now_ns=now_ns(), max_age_s=max_age_s)
        return picture, camera.detections_on(picture) if query.use_detections else ()
