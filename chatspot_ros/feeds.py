"""What one camera brings: its frames, and the detections that were made on them."""

from __future__ import annotations

from chatspot_ros.errors import NoImageError, RequestError
from chatspot_ros.frames import Frame, FrameBuffer, format_ns
from chatspot_ros.query import Picture, Query
from chatspot_ros.regions import Region
from chatspot_ros.settings import Settings

_DETECTION_BYTES = 100
_MAX_DETECTION_BYTES = 10_000_000


class CameraFeed:
    """The frames and detections of one camera, by stamp."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.frames: FrameBuffer[Picture] = FrameBuffer(
            name=name,
            max_seconds=settings.buffer_seconds,
            max_bytes=settings.buffer_megabytes * 1_000_000,
        )
        self._detections: FrameBuffer[tuple[Region, ...]] = FrameBuffer(
            name=name, max_seconds=settings.buffer_seconds, max_bytes=_MAX_DETECTION_BYTES
        )

    def add_detections(self, stamp_ns: int, regions: tuple[Region, ...]) -> None:
        """Note what was detected on the frame of this stamp.

        It may come before the frame itself.
        """
        size = _DETECTION_BYTES * (1 + len(regions))
        self._detections.add(Frame(stamp_ns, regions, size))

    def detections_at(self, stamp_ns: int) -> tuple[Region, ...] | None:
        """Return what was detected on the frame of this stamp.

        None: no detector has spoken of it.
        """
        found = self._detections.newest_where(lambda frame: frame.stamp_ns == stamp_ns)
        return None if found is None else found.payload

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
                remedy="look whether the detector runs, whether the topic `detections` is remapped "
                "to its "
                "Detection2DArray, and whether it copies the image's header.stamp",
            )
        return frame.payload

    def detections_on(self, picture: Picture) -> tuple[Region, ...]:
        """Return what was detected on a frame.

        Raises NoImageError when no detector has spoken of it.
        """
        regions = self.detections_at(picture.stamp_ns)
        if regions is None:
            raise NoImageError(
                f"no detections of that frame of camera '{self.name}' have come",
                value=format_ns(picture.stamp_ns),
                remedy="ask again when the detector has seen it, or leave the stamp 0 for the "
                "newest frame that "
                "has detections",
            )
        return regions


class Feeds:
    """All cameras of the node, and the choice of the frame that a query is about."""

    def __init__(self, settings: Settings) -> None:
        self.cameras = {name: CameraFeed(name, settings) for name in settings.cameras}

    def named(self, name: str) -> CameraFeed:
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
        self, query: Query, *, in_session: Picture | None, now_ns: int, max_age_s: float
    ) -> tuple[Picture, tuple[Region, ...]]:
        """Return the picture that a query is about and the detections it wants asked about.

        In this order: the picture sent along, the frame of the stamp, the frame of the
        conversation, the newest.

        Raises:
            RequestError, NoImageError, StaleImageError, FrameExpiredError: why there is none.
        """
        feed = self.named(query.camera)
        if query.picture is not None:
            if query.use_detections:
                raise RequestError(
                    "a picture sent with the request has no detections",
                    value="use_detections: true",
                    remedy="send its regions along, or ask of a camera's frame",
                )
            return query.picture, ()
        if query.stamp_ns:
            picture = feed.frames.at(query.stamp_ns, now_ns=now_ns).payload
        elif in_session is not None and query.camera in ("", in_session.camera):
            picture = in_session
        elif query.use_detections:
            picture = feed.newest_detected(now_ns=now_ns, max_age_s=max_age_s)
        else:
            picture = feed.frames.newest(now_ns=now_ns, max_age_s=max_age_s).payload
        return picture, feed.detections_on(picture) if query.use_detections else ()
