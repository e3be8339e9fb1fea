"""Asks the watch list's questions and what the detector's boxes hold, and publishes what is new.

Topics: `~/states` (std_msgs/String, `fridge_1 door: closed -> open`) and, while somebody
subscribes, `~/detections`: the detector's own messages with the names that the model gives. Of
several cameras each called NAME, things are called NAME/fridge_1 and the second topic
`~/NAME/detections`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from vision_msgs.msg import (
    Detection2DArray,
)

from chatspot_ros.core.detection_space import DetectionSpace
from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError, RegionError, RequestError
from chatspot_ros.ros.conversions import detections_stamp_ns, to_detected_regions
from chatspot_ros.ros.relabel import relabelled
from chatspot_ros.server import watch_tracker
from chatspot_ros.server.cameras import CameraFeed
from chatspot_ros.server.frame_buffer import NS, Frame
from chatspot_ros.server.request import OK, Picture, Query, QueryReply
from chatspot_ros.server.settings import Settings
from chatspot_ros.server.watch_config import WatchEntry, parse_watch_list
from chatspot_ros.util.resources import share_folder

Ask = Callable[[Query], Coroutine[Any, Any, QueryReply]]
_WARN_AGAIN_S = 10.0
# Messages that may wait for their frame.
_HELD = 8


def read_watch_list(settings: Settings) -> tuple[WatchEntry, ...]:
    """Return the watch list that the parameters name; a bare name may be one of the package.

    Raises:
        RequestError: the file cannot be read, or is no watch list.
    """
    if not settings.watch:
        return ()
    path = Path(settings.watch).expanduser()
    if path.name == settings.watch and not path.exists():
        path = share_folder() / "config" / path
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(
            f"the watch list cannot be read: {' '.join(str(error).split())}",
            value=str(path),
            remedy="set the parameter watch to a YAML file, or leave it empty",
        ) from error
    return parse_watch_list(data, str(path), settings)


@dataclass(frozen=True)
class _Seen:
    """One message of detections, and the watched things among them by their place in it."""

    number: int
    stamp_ns: int
    message: Detection2DArray
    regions: tuple[Region, ...]
    things: Sequence[tuple[int, Region, watch_tracker.Thing]]


class _Camera:
    """What is known of one camera's things, and whether one of its questions is on its way."""

    def __init__(self, feed: CameraFeed, prefix: str, publisher: Any) -> None:
        self.feed = feed
        self.tracker = watch_tracker.Tracker(prefix)
        self.publisher = publisher
        self.seen: deque[_Seen] = deque(maxlen=_HELD)
        # How many messages have come, and up to which one their names were asked.
        self.count = self.named = 0
        self.asking = False


class Watching:
    """Asks about the detections at background priority, one question per camera at a time.

    For the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        feeds: Mapping[str, CameraFeed],
        settings: Settings,
        ask: Ask,
    ) -> None:
        """`ask` puts a query through and publishes its answers. Raises RequestError."""
        self._node = node
        self._ask = ask
        self._entries = read_watch_list(settings)
        self._states = node.create_publisher(String, "~/states", QoSProfile(depth=100))
        several = len(feeds) > 1
        self._cameras = {
            name: _Camera(
                feed,
                f"{name}/" if several else "",
                node.create_publisher(
                    Detection2DArray,
                    f"~/{name}/detections" if several else "~/detections",
                    QoSProfile(depth=10),
                ),
            )
            for name, feed in feeds.items()
        }

    def on_detections(self, feed: CameraFeed, message: Detection2DArray) -> None:
        """Take what a detector says; ask about it when something is due and nothing is asked."""
        camera = self._cameras[feed.name]
        stamp_ns = detections_stamp_ns(message)
        if not stamp_ns or not (self._entries or _is_wanted(camera)):
            return
        regions = to_detected_regions(message)
        watched = [
            (index, region)
            for index, region in enumerate(regions)
            if any(entry.wants(region) for entry in self._entries)
        ]
        own_ids = [own_id(message.detections[index], index) for index, _ in watched]
        things = camera.tracker.see(
            [(region, name) for (_, region), name in zip(watched, own_ids, strict=True)],
            time.monotonic(),
        )
        sightings = [(*place, thing) for place, thing in zip(watched, things, strict=True)]
        camera.count += 1
        camera.seen.append(_Seen(camera.count, stamp_ns, message, regions, sightings))
        self._go_on(camera)

    def _go_on(self, camera: _Camera) -> None:
        """Ask what is due, of the newest detections whose frame has come."""
        if camera.asking:
            return
        for seen in reversed(camera.seen):
            frame = frame_of(camera.feed, seen.stamp_ns)
            if frame is None:
                continue
            try:
                self._ask_of(camera, seen, frame)
            except ChatspotError as error:
                self._node.get_logger().warning(
                    f"detections cannot be asked about: {error}",
                    throttle_duration_sec=_WARN_AGAIN_S,
                )
            return

    def _ask_of(self, camera: _Camera, seen: _Seen, frame: Frame[Picture]) -> None:
        """Ask a round of the watch list, or else the names of all boxes. Raises ImageError."""
        now_s, limit = time.monotonic(), camera.feed.settings.max_regions
        chosen = watch_tracker.next_round(self._entries, seen.things, now_s, limit)
        if chosen is not None:
            # Whatever comes of it, it is not asked again before its time.
            watch_tracker.begin(chosen, now_s)
            self._ask_round(camera, seen, frame, chosen)
        elif _is_wanted(camera) and camera.named < seen.number:
            camera.named = seen.number
            self._ask_names(camera, seen, frame)

    def _ask_round(
        self, camera: _Camera, seen: _Seen, frame: Frame[Picture], chosen: watch_tracker.Round
    ) -> None:
        regions = usable(seen.regions, frame.payload, camera.feed.settings)
        asked = tuple(
            replace(regions[index], id=thing.name)
            for index, thing in chosen.things
            if index in regions
        )
        if asked:
            entry = chosen.entry
            query = Query(
                entry.question,
                camera.feed.name,
                frame.stamp_ns,
                regions=asked,
                task=entry.task,
                background=True,
            )
            self._begin(camera, query, lambda reply: self._note(chosen, reply))

    def _ask_names(self, camera: _Camera, seen: _Seen, frame: Frame[Picture]) -> None:
        settings = camera.feed.settings
        regions = usable(seen.regions, frame.payload, settings)
        places = list(regions)[: settings.max_regions]
        if not places:
            camera.publisher.publish(seen.message)
            return

        def publish(reply: QueryReply) -> None:
            if reply.status == OK:
                named = dict(zip(places, reply.answers, strict=True))
                camera.publisher.publish(relabelled(seen.message, named))

        query = Query(
            settings.relabel_question,
            camera.feed.name,
            frame.stamp_ns,
            regions=tuple(regions[index] for index in places),
            background=True,
        )
        self._begin(camera, query, publish)

    def _begin(self, camera: _Camera, query: Query, done: Callable[[QueryReply], None]) -> None:
        camera.asking = True

        async def ask() -> None:
            try:
                reply = await self._ask(query)
                done(reply)
            finally:
                camera.asking = False
            if reply.status != "NOT_ACTIVE":
                self._go_on(camera)

        self._node.executor.create_task(ask)

    def _note(self, chosen: watch_tracker.Round, reply: QueryReply) -> None:
        """Tell what has changed by the answers; they know their thing by its name."""
        if reply.status == "BUSY":
            watch_tracker.refused(chosen, time.monotonic())
        things = {thing.name: thing for _, thing in chosen.things}
        for answer in reply.answers:
            thing = things[answer.regions[0].id]
            for change in thing.changes(answer, chosen.entry.confirm):
                self._node.get_logger().info(f"{reply.id}: {change}")
                self._states.publish(String(data=str(change)))


def _is_wanted(camera: _Camera) -> bool:
    return bool(camera.publisher.get_subscription_count())


def own_id(detection: Any, index: int) -> str:
    """Return what a detection calls itself from one message to the next; empty when nothing.

    An id that only counts the detections of its message (this package's detector_node, and others
    like it) says nothing about the next message.
    """
    name = str(getattr(detection, "id", "") or getattr(detection, "tracking_id", ""))
    return "" if name == str(index) else name


def frame_of(feed: CameraFeed, stamp_ns: int) -> Frame[Picture] | None:
    """Return the frame that detections of this stamp were made on; None when it is not held."""
    exact = feed.frames.get(stamp_ns)
    if exact is not None:
        return exact
    return feed.frames.only_near(stamp_ns, round(feed.settings.detection_tolerance * NS))


def usable(regions: Sequence[Region], picture: Picture, settings: Settings) -> dict[int, Region]:
    """Return the regions of a detector in pixels of the picture, clipped, by their place.

    Those that cannot be asked about are left out. Raises ImageError: its size cannot be read.
    """
    size_wh = picture.size(settings.max_pixels)
    space = DetectionSpace.parse(settings.detection_space)
    found = {}
    for index, region in enumerate(space.to_image(regions, size_wh)):
        try:
            found[index] = region.clipped(*size_wh)
        except RegionError:
            continue
    return found
