"""Asks the watch list's questions and the names of detected boxes, and publishes the results.

Topics: `~/states` (StateChange) and, while somebody subscribes, `~/detections`: the detector's
messages with the model's names. With several cameras each called NAME, things are called
NAME/fridge_1 and the second topic is `~/NAME/detections`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError
from chatspot_ros.msg import StateChange
from chatspot_ros.ros.conversions import (
    detections_stamp_ns,
    own_id,
    to_state_change_message,
)
from chatspot_ros.ros.relabel import relabel
from chatspot_ros.server import watch_tracker
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.frame_buffer import Frame
from chatspot_ros.server.request import OK, Picture, Query, QueryReply
from chatspot_ros.server.settings import Settings
from chatspot_ros.server.watch_config import read_watch_list

Ask = Callable[[Query], Coroutine[Any, Any, QueryReply]]
_WARN_AGAIN_S = 10.0
# The number of messages that may wait for their frame.
_HELD = 8


@dataclass(frozen=True)
class _Sighting:
    """One message of detections, and the watched things in it: (index, region, thing)."""

    number: int
    stamp_ns: int
    message: Detection2DArray
    regions: tuple[Region, ...]
    things: Sequence[tuple[int, Region, watch_tracker.Thing]]


class _WatchedCamera:
    """The watched things of one camera, and whether one of its questions is in flight."""

    def __init__(self, camera: Camera, prefix: str, publisher: Any) -> None:
        self.camera = camera
        self.tracker = watch_tracker.Tracker(prefix)
        self.publisher = publisher
        self.sightings: deque[_Sighting] = deque(maxlen=_HELD)
        # The number of messages so far, and the last one whose names were asked.
        self.count = self.named = 0
        self.asking = False

    def is_wanted(self) -> bool:
        """Return True if somebody subscribes to the renamed detections."""
        return bool(self.publisher.get_subscription_count())


class Watcher:
    """Asks about detections in the background, one question per camera at a time.

    For the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        cameras: Mapping[str, Camera],
        settings: Settings,
        ask: Ask,
    ) -> None:
        """`ask` submits a query, publishes its answers and returns the reply.

        Raises RequestError: the watch list cannot be used.
        """
        self._node = node
        self._ask = ask
        self._entries = read_watch_list(settings)
        self._states = node.create_publisher(StateChange, "~/states", QoSProfile(depth=100))
        several = len(cameras) > 1
        self._cameras = {
            name: _WatchedCamera(
                camera,
                f"{name}/" if several else "",
                node.create_publisher(
                    Detection2DArray,
                    f"~/{name}/detections" if several else "~/detections",
                    QoSProfile(depth=10),
                ),
            )
            for name, camera in cameras.items()
        }

    def on_detections(
        self, camera: Camera, message: Detection2DArray, regions: tuple[Region, ...]
    ) -> None:
        """Store a detector's message and its boxes, and ask about them if a question is due."""
        watched = self._cameras[camera.name]
        stamp_ns = detections_stamp_ns(message)
        if not stamp_ns or not (self._entries or watched.is_wanted()):
            return
        places = [
            (index, region)
            for index, region in enumerate(regions)
            if any(entry.wants(region) for entry in self._entries)
        ]
        own_ids = [own_id(message.detections[index], index) for index, _ in places]
        things = watched.tracker.see(
            [(region, name) for (_, region), name in zip(places, own_ids, strict=True)],
            time.monotonic(),
        )
        found = [(*place, thing) for place, thing in zip(places, things, strict=True)]
        watched.count += 1
        watched.sightings.append(_Sighting(watched.count, stamp_ns, message, regions, found))
        self._ask_next(watched)

    def _ask_next(self, watched: _WatchedCamera) -> None:
        """Ask the next question, about the newest detections whose frame has come."""
        if watched.asking:
            return
        for sighting in reversed(watched.sightings):
            frame = watched.camera.frame_at(sighting.stamp_ns)
            if frame is None:
                continue
            try:
                self._ask_of(watched, sighting, frame)
            except ChatspotError as error:
                self._node.get_logger().warning(
                    f"detections cannot be asked about: {error}",
                    throttle_duration_sec=_WARN_AGAIN_S,
                )
            return

    def _ask_of(self, watched: _WatchedCamera, sighting: _Sighting, frame: Frame[Picture]) -> None:
        """Ask a round of the watch list, or else the names of all boxes. Raises ImageError."""
        now_s, limit = time.monotonic(), watched.camera.settings.max_regions
        chosen = watch_tracker.next_round(self._entries, sighting.things, now_s, limit)
        if chosen is not None:
            # Whatever its outcome, it is not asked again before its time.
            watch_tracker.begin(chosen, now_s)
            self._ask_round(watched, sighting, frame, chosen)
        elif watched.is_wanted() and watched.named < sighting.number:
            watched.named = sighting.number
            self._ask_names(watched, sighting, frame)

    def _ask_round(
        self,
        watched: _WatchedCamera,
        sighting: _Sighting,
        frame: Frame[Picture],
        chosen: watch_tracker.Round,
    ) -> None:
        regions = watched.camera.to_picture(sighting.regions, frame.payload)
        asked = tuple(
            replace(regions[index], id=thing.name)
            for index, thing in chosen.things
            if index in regions
        )
        if asked:
            entry = chosen.entry
            query = Query(
                entry.question,
                watched.camera.name,
                frame.stamp_ns,
                regions=asked,
                task=entry.task,
                background=True,
            )
            self._begin(watched, query, lambda reply: self._publish_changes(chosen, reply))

    def _ask_names(
        self, watched: _WatchedCamera, sighting: _Sighting, frame: Frame[Picture]
    ) -> None:
        settings = watched.camera.settings
        regions = watched.camera.to_picture(sighting.regions, frame.payload)
        places = list(regions)[: settings.max_regions]
        if not places:
            watched.publisher.publish(sighting.message)
            return

        def publish(reply: QueryReply) -> None:
            if reply.status == OK:
                named = dict(zip(places, reply.answers, strict=True))
                watched.publisher.publish(relabel(sighting.message, named))

        query = Query(
            settings.relabel_question,
            watched.camera.name,
            frame.stamp_ns,
            regions=tuple(regions[index] for index in places),
            background=True,
        )
        self._begin(watched, query, publish)

    def _begin(
        self, watched: _WatchedCamera, query: Query, done: Callable[[QueryReply], None]
    ) -> None:
        watched.asking = True

        async def ask() -> None:
            try:
                reply = await self._ask(query)
                done(reply)
            finally:
                watched.asking = False
            if reply.status != "NOT_ACTIVE":
                self._ask_next(watched)

        self._node.executor.create_task(ask)

    def _publish_changes(self, chosen: watch_tracker.Round, reply: QueryReply) -> None:
        """Publish the changes of state; the id of an answer's region is the thing's name."""
        if reply.status == "BUSY":
            watch_tracker.refused(chosen, time.monotonic())
        things = {thing.name: thing for _, thing in chosen.things}
        for answer in reply.answers:
            thing = things[answer.regions[0].id]
            for change in thing.changes(answer, chosen.entry.confirm):
                self._node.get_logger().info(f"{reply.id}: {change}")
                self._states.publish(to_state_change_message(change, reply.picture))
