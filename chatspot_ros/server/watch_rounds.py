"""Chooses what of the watch list is asked next, and reads changes and events from the answers.

One question about a thing is due at most every `every_s`. Where its pixels have not changed since
the last answer that counted, it waits up to `still_s` (docs/watch.md). No ROS, no torch. Times are
seconds by the frames' stamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.boxes import iou
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.images.pixel_change import CHANGED, Patch, PictureView
from chatspot_ros.server.watch_conditions import Fulfilled
from chatspot_ros.server.watch_config import WatchEntry
from chatspot_ros.server.watch_tracker import Change, Thing, Tracker, counts

# A question that got BUSY is asked again after this time.
RETRY_S = 1.0
# What has not changed is looked at again after this time: each look decodes a picture.
LOOK_AGAIN_S = 0.5
# A box that overlaps that of the last answer less (intersection over union) has changed.
SAME_PLACE_IOU = 0.5


@dataclass(frozen=True)
class Event:
    """A condition that has become true of a thing."""

    thing: Thing
    fulfilled: Fulfilled


@dataclass(frozen=True)
class Due:
    """An entry that may be asked about a thing, or must be looked at for its conditions.

    `index` is the detection's in its message. `asks`: its time to be asked has come.
    """

    entry: WatchEntry
    index: int
    thing: Thing
    asks: bool


@dataclass(frozen=True)
class Looked:
    """What a look at the pixels found: the patch of now, and whether it has changed."""

    due: Due
    changed: bool
    patch: Patch | None


@dataclass(frozen=True)
class Round:
    """One entry to ask now, its things (index in the message, thing) and their patches."""

    entry: WatchEntry
    things: tuple[tuple[int, Thing], ...]
    patches: Mapping[str, Patch | None]
    restarts: int


class CameraWatch:
    """The watched things of one camera, and what is asked about them."""

    def __init__(self, entries: Sequence[WatchEntry], prefix: str = "") -> None:
        """`prefix` is put before every thing's name."""
        self._entries = entries
        self._tracker = Tracker(prefix)
        self._restarts = 0

    def see(self, detections: Sequence[tuple[Region, str]], now_s: float) -> list[Thing]:
        """Return the thing of each detection (region in the detector's pixels, own id or "")."""
        return self._tracker.see(detections, now_s)

    def restart(self, now_s: float) -> None:
        """Forget all times, and keep the things: time was set back, or frames were forgotten."""
        self._restarts += 1
        self._tracker.restart(now_s)

    def due(self, sightings: Sequence[tuple[int, Region, Thing]], now_s: float) -> list[Due]:
        """Return what to look at, of the detections of one frame: (index, region, thing)."""
        found = []
        for entry in self._entries:
            for index, region, thing in sightings:
                if not entry.wants(region):
                    continue
                standing = thing.standing(entry)
                asks = standing.next_s <= now_s
                waits = entry.looks and standing.waiting.is_due(now_s)
                if (asks or waits) and standing.look_s <= now_s:
                    found.append(Due(entry, index, thing, asks))
        return found

    def decide(
        self, looked: Sequence[Looked], now_s: float, limit: int
    ) -> tuple[Round | None, list[Event]]:
        """Return the entry that has waited longest, with at most `limit` things, and events.

        None: nothing is asked now. The caller has to ask the round: it is not due again before its
        time.
        """
        events, asked = [], []
        for one in looked:
            due, standing = one.due, one.due.thing.standing(one.due.entry)
            if not one.changed:
                events += [Event(due.thing, it) for it in standing.waiting.unchanged(now_s)]
            is_old = now_s - standing.answered_s >= due.entry.still_s
            if due.asks and (one.changed or is_old):
                asked.append(one)
            else:
                standing.look_s = now_s + min(LOOK_AGAIN_S, due.entry.every_s)
        return self._begin(asked, now_s, limit), events

    def _begin(self, asked: Sequence[Looked], now_s: float, limit: int) -> Round | None:
        if not asked:
            return None

        def since_s(one: Looked) -> float:
            return one.due.thing.standing(one.due.entry).next_s

        entry = min(asked, key=since_s).due.entry
        mine = [one for one in asked if one.due.entry is entry]
        mine = sorted(mine, key=lambda one: (since_s(one), one.due.index))[:limit]
        for one in mine:
            # Whatever its outcome. Skipped rounds are not made up for.
            one.due.thing.standing(entry).next_s = now_s + entry.every_s
        return Round(
            entry,
            tuple((one.due.index, one.due.thing) for one in mine),
            {one.due.thing.name: one.patch for one in mine},
            self._restarts,
        )

    def refused(self, chosen: Round, now_s: float) -> None:
        """Store that a round got BUSY."""
        for _, thing in chosen.things:
            standing = thing.standing(chosen.entry)
            standing.next_s = min(standing.next_s, now_s + RETRY_S)

    def answered(
        self, chosen: Round, thing: Thing, answer: Answer, now_s: float
    ) -> tuple[list[Change], list[Event]]:
        """Store the answer about a thing on the frame of `now_s`; return what it brought.

        An answer that does not count leaves all as it was: the pixels are compared with those of
        the last one that did.
        """
        if not counts(answer):
            return [], []
        changes = thing.changes(answer, chosen.entry.confirm)
        if chosen.restarts != self._restarts:
            return changes, []  # the frame's time is no longer that of the clock
        standing = thing.standing(chosen.entry)
        is_open = [name for name in answer.state if thing.is_open(name)]
        sure = {name: thing.value(name) for name in answer.state if name not in is_open}
        fulfilled = standing.waiting.answered(sure, answer.confidence, now_s)
        # A value that is not confirmed yet is asked about again at its rate.
        standing.patch = None if is_open else chosen.patches[thing.name]
        standing.answered_s = now_s
        return changes, [Event(thing, one) for one in fulfilled]


def look(
    due: Sequence[Due], regions: Mapping[int, Region], image_rgb: RgbImage | None
) -> list[Looked]:
    """Compare the pixels of what is due with those of the last answers. For any thread.

    `regions` are the detections by index, in pixels of the picture (uint8 H x W x 3, RGB); None:
    there are no pixels, and everything counts as changed.
    """
    view = None if image_rgb is None else PictureView(image_rgb)
    found = []
    for one in due:
        before, box = one.thing.standing(one.entry).patch, regions[one.index].box_xyxy_px
        if view is None or not one.entry.looks:
            found.append(Looked(one, True, None))
            continue
        patch = view.patch(box, one.entry.margin)
        changed = (
            before is None
            or iou(before.box_xyxy_px, patch.box_xyxy_px) < SAME_PLACE_IOU
            or view.difference(before) >= CHANGED
        )
        found.append(Looked(one, changed, patch))
    return found
