"""Asks the watch list's questions and the names of detected boxes, and publishes the results.

Topics: `~/states` and `~/events` (watch_topics.py) and, while somebody subscribes, `~/detections`:
the detector's messages with the model's names. With several cameras each called NAME, things are
called NAME/fridge_1 and the last topic is `~/NAME/detections`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from vision_msgs.msg import Detection2DArray

from chatspot_ros.core.regions import Region
from chatspot_ros.errors import ChatspotError, ImageError
from chatspot_ros.ros.conversions import detections_stamp_ns, own_id
from chatspot_ros.ros.relabel import relabel
from chatspot_ros.ros.watch_topics import WatchTopics
from chatspot_ros.server.cameras import Camera
from chatspot_ros.server.frame_buffer import NS, Frame
from chatspot_ros.server.request import OK, Picture, Query, QueryReply
from chatspot_ros.server.settings import Settings
from chatspot_ros.server.watch_config import read_watch_list
from chatspot_ros.server.watch_rounds import CameraWatch, Due, Looked, Round, look
from chatspot_ros.server.watch_tracker import Thing

Ask = Callable[[Query], Coroutine[Any, Any, QueryReply]]
T = TypeVar("T")
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
    things: Sequence[tuple[int, Region, Thing]]


class _WatchedCamera:
    """The watched things of one camera, and whether it is looked at or asked about now."""

    def __init__(self, camera: Camera, watch: CameraWatch, publisher: Any) -> None:
        self.camera = camera
        self.watch = watch
        self.publisher = publisher
        self.sightings: deque[_Sighting] = deque(maxlen=_HELD)
        # The number of messages so far, and the last one whose names were asked.
        self.count = self.named = 0
        self.is_busy = False
        self._times_cleared = camera.frames.times_cleared
        self._newest_ns = 0

    def is_wanted(self) -> bool:
        """Return True if somebody subscribes to the renamed detections."""
        return bool(self.publisher.get_subscription_count())

    def now_ns(self, stamp_ns: int) -> int:
        """Return the stamp of the newest frame; without frames, `stamp_ns`, that of a message."""
        newest = self.camera.frames.newest_where(lambda _: True)
        return stamp_ns if newest is None else newest.stamp_ns

    def begin_anew(self, now_ns: int) -> bool:
        """Begin anew if the frames were forgotten since; return True if time was set back."""
        cleared, was_set_back = self.camera.frames.times_cleared, False
        if cleared != self._times_cleared:
            self._times_cleared = cleared
            was_set_back = now_ns < self._newest_ns
            self._newest_ns = now_ns
            self.sightings.clear()
            self.watch.restart(now_ns / NS)
        self._newest_ns = max(self._newest_ns, now_ns)
        return was_set_back


class Watcher:
    """Asks about detections in the background, one question per camera at a time.

    For the executor's thread. Pixels are decoded and compared in another one.
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
        self._topics = WatchTopics(node, settings.watch_history, bool(self._entries))
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="watch")
        several = len(cameras) > 1
        self._cameras = {
            name: _WatchedCamera(
                camera,
                CameraWatch(self._entries, f"{name}/" if several else ""),
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
        now_ns = watched.now_ns(stamp_ns)
        if watched.begin_anew(now_ns):
            self._topics.history.time_was_set_back()
        places = [
            (index, region)
            for index, region in enumerate(regions)
            if any(entry.wants(region) for entry in self._entries)
        ]
        own_ids = [own_id(message.detections[index], index) for index, _ in places]
        things = watched.watch.see(
            [(region, name) for (_, region), name in zip(places, own_ids, strict=True)],
            now_ns / NS,
        )
        found = [(*place, thing) for place, thing in zip(places, things, strict=True)]
        watched.count += 1
        watched.sightings.append(_Sighting(watched.count, stamp_ns, message, regions, found))
        self._ask_next(watched)

    def _ask_next(self, watched: _WatchedCamera) -> None:
        """Look and ask next, about the newest detections whose frame has come."""
        if watched.is_busy:
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
        """Look what of the watch list is due, or else ask the names of all boxes.

        Raises ImageError.
        """
        due = watched.watch.due(sighting.things, frame.stamp_ns / NS)
        if due:
            regions = watched.camera.to_picture(sighting.regions, frame.payload)
            due = [one for one in due if one.index in regions]
        if due:
            self._begin(watched, partial(self._look_and_ask, watched, frame, due, regions))
        elif watched.is_wanted() and watched.named < sighting.number:
            watched.named = sighting.number
            self._ask_names(watched, sighting, frame)

    async def _look_and_ask(
        self,
        watched: _WatchedCamera,
        frame: Frame[Picture],
        due: Sequence[Due],
        regions: Mapping[int, Region],
    ) -> bool:
        settings, now_s = watched.camera.settings, frame.stamp_ns / NS
        cleared = watched.camera.frames.times_cleared
        looked = await self._in_thread(
            partial(_look, due, regions, frame.payload, settings.max_pixels)
        )
        if watched.camera.frames.times_cleared != cleared:
            return True  # time may have been set back meanwhile
        chosen, events = watched.watch.decide(looked, now_s, settings.max_regions)
        self._topics.tell_events(events, frame.payload)
        if chosen is None:
            return True
        query = Query(
            chosen.entry.question,
            watched.camera.name,
            frame.stamp_ns,
            regions=tuple(replace(regions[index], id=thing.name) for index, thing in chosen.things),
            task=chosen.entry.task,
            background=True,
        )
        reply = await self._ask(query)
        self._note(watched, chosen, reply, now_s)
        return reply.status != "NOT_ACTIVE"

    def _note(
        self, watched: _WatchedCamera, chosen: Round, reply: QueryReply, now_s: float
    ) -> None:
        """Store the answers and publish what they bring; the id of a region is the thing's name."""
        if reply.status == "BUSY":
            watched.watch.refused(chosen, now_s)
        things = {thing.name: thing for _, thing in chosen.things}
        for answer in reply.answers:
            thing = things[answer.regions[0].id]
            changes, events = watched.watch.answered(chosen, thing, answer, now_s)
            self._topics.tell_changes(changes, reply.picture, reply.id)
            self._topics.tell_events(events, reply.picture)

    def _ask_names(
        self, watched: _WatchedCamera, sighting: _Sighting, frame: Frame[Picture]
    ) -> None:
        settings = watched.camera.settings
        regions = watched.camera.to_picture(sighting.regions, frame.payload)
        places = list(regions)[: settings.max_regions]
        if not places:
            watched.publisher.publish(sighting.message)
            return
        query = Query(
            settings.relabel_question,
            watched.camera.name,
            frame.stamp_ns,
            regions=tuple(regions[index] for index in places),
            background=True,
        )

        async def ask() -> bool:
            reply = await self._ask(query)
            if reply.status == OK:
                named = dict(zip(places, reply.answers, strict=True))
                watched.publisher.publish(relabel(sighting.message, named))
            return reply.status != "NOT_ACTIVE"

        self._begin(watched, ask)

    def _begin(
        self, watched: _WatchedCamera, work: Callable[[], Coroutine[Any, Any, bool]]
    ) -> None:
        """Do one piece of work at a time for a camera; it returns whether to go on."""
        watched.is_busy = True

        async def run() -> None:
            try:
                goes_on = await work()
            finally:
                watched.is_busy = False
            if goes_on:
                self._ask_next(watched)

        self._node.executor.create_task(run)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in the looking thread."""
        executor = self._node.executor
        done: Future = Future(executor=executor)

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)
            executor.wake()

        self._looker.submit(run)
        return await done  # type: ignore[no-any-return]


def _look(
    due: Sequence[Due], regions: Mapping[int, Region], picture: Picture, max_pixels: int
) -> list[Looked]:
    """Look at a picture; one that cannot be read is asked about, and the reply says why."""
    if not any(one.entry.looks for one in due):
        return look(due, regions, None)
    try:
        return look(due, regions, picture.rgb(max_pixels))
    except ImageError:
        return look(due, regions, None)
