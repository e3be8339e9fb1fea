"""What one camera brings: its frames, and the detections that were made on them."""

from __future__ import annotations

from collections.abc import Callable

from chatspot_ros.core.detection_space import DetectionSpace
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import NoImageError, RegionError, RequestError
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
        # As the detector reported them: only with their frame is its size known.
        # A detector takes longer for one frame than for another, and there may be two: whether time
        # was set back, the frames tell.
        self._detections: FrameBuffer[tuple[Region, ...]] = FrameBuffer(
            name=name,
            max_seconds=settings.buffer_seconds,
            max_bytes=_MAX_DETECTION_BYTES,
            reordering_ns=round(settings.buffer_seconds * NS),
        )
        self.unusable_detections = 0

    def add_frame(self, frame: Frame[Picture]) -> bool:
        """Put a frame in; return True when its stamp set time back.

        Then nothing of the round before is left, detections included.
        """
        went_back = self.frames.add(frame)
        if went_back:
            self._detections.clear()
        return went_back

    def add_detections(self, stamp_ns: int, regions: tuple[Region, ...]) -> None:
        """Note what was detected on the frame of this stamp, in the detector's own pixels.

        It may come before the frame itself. Without a stamp (0) it belongs to no frame.
        """
        if stamp_ns:
            size = _DETECTION_BYTES * (1 + len(regions))
            self._detections.add(Frame(stamp_ns, regions, size))

    def clear(self) -> None:
        """Forget all frames and detections."""
        self.frames.clear()
        self._detections.clear()

    def detections_at(self, stamp_ns: int) -> tuple[Region, ...] | None:
        """Return what was detected on the frame of this stamp, in the detector's own pixels.

        Detections of exactly this stamp, or else the nearest of those that are off by at most the
        parameter detection_tolerance and can mean no other frame. None: no detector has spoken of
        it.
        """
        exact = self._detections.get(stamp_ns)
        if exact is not None:
            return exact.payload
        tolerance_ns = round(self.settings.detection_tolerance * NS)
        found = [
            one
            for one in self._detections.within(stamp_ns, tolerance_ns)
            if (frame := self.frames.only_near(one.stamp_ns, tolerance_ns)) is not None
            and frame.stamp_ns == stamp_ns
        ]
        return min(found, key=lambda one: abs(one.stamp_ns - stamp_ns)).payload if found else None

    def detection_counts(self) -> tuple[int, int]:
        """Return how many messages of detections are held, and how many of them have a frame."""
        tolerance_ns = round(self.settings.detection_tolerance * NS)
        held = list(self._detections)
        matched = sum(
            self.frames.get(one.stamp_ns) is not None
            or self.frames.only_near(one.stamp_ns, tolerance_ns) is not None
            for one in held
        )
        return len(held), matched

    def newest_detected(self, *, now_ns: int, max_age_s: float) -> Picture:
        """Return the newest frame that detections have come for.

        Raises:
            NoImageError: no frame has come, or none with detections.
            StaleImageError: the camera has stopped.
        """
        self.frames.newest(now_ns=now_ns, max_age_s=max_age_s)
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
        """Return what was detected on a frame, in pixels of that frame, clipped to it.

        What cannot be asked about (not finite, without area, wholly outside) is left out and
        counted in `unusable_detections`.

        Raises:
            NoImageError: no detector has spoken of it.
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
        size_wh = picture.size(self.settings.max_pixels)
        space = DetectionSpace.parse(self.settings.detection_space)
        usable = []
        for region in space.to_image(regions, size_wh):
            try:
                usable.append(region.clipped(*size_wh))
            except RegionError:
                self.unusable_detections += 1
        return tuple(usable)


class Cameras:
    """All cameras of the node, and the choice of the frame that a query is about."""

    def __init__(self, settings: Settings) -> None:
        self.cameras = {name: Camera(name, settings) for name in settings.cameras}

    def configure(self, settings: Settings) -> None:
        """Take new settings, as far as they can change."""
        for camera in self.cameras.values():
            camera.settings = settings

    def clear(self) -> None:
        """Forget all frames and detections of all cameras."""
        for camera in self.cameras.values():
            camera.clear()

    def named(self, name: str) -> Camera:
        """Return a camera by name; the first one for an empty name. Raises RequestError."""
        if not name:
            return next(iter(self.cameras.values()))
        if name not in self.cameras:
            raise RequestError(
                "there is no such camera",
                value=name,
                remedy=f"use one of: {', '.join(self.cameras)}, or leave the camera empty for the "
                "first",
            )
        return self.cameras[name]

    def choose(
        self,
        query: Query,
        *,
        in_session: Picture | None,
        now_ns: Callable[[], int],
        max_age_s: float,
    ) -> tuple[Picture, tuple[Region, ...]]:
        """Return the picture that a query is about and the detections it wants asked about.

        In this order: the picture sent along, the frame of the stamp, the frame of the
        conversation, the newest. `now_ns` is the clock of the cameras' stamps, read where it
        matters.

        Raises:
            RequestError, NoImageError, StaleImageError, FrameExpiredError: why there is none.
        """
        camera = self.named(query.camera)
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
            if frame is None:  # why not
                frame = camera.frames.at(query.stamp_ns, now_ns=now_ns())
            picture = frame.payload
        elif in_session is not None and query.camera in ("", in_session.camera):
            picture = in_session
        elif query.use_detections:
            picture = camera.newest_detected(now_ns=now_ns(), max_age_s=max_age_s)
        else:
            picture = camera.frames.newest(now_ns=now_ns(), max_age_s=max_age_s).payload
        return picture, camera.detections_on(picture) if query.use_detections else ()
