"""Tracks watched things: identity of detections, how far each question is, changes of state.

No ROS, no torch. Times are seconds by the frames' stamps.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.boxes import iou
from chatspot_ros.core.regions import BoxXyxy, Region
from chatspot_ros.images.pixel_change import Patch
from chatspot_ros.server.watch_conditions import Waiting
from chatspot_ros.server.watch_config import WatchEntry

# The least intersection over union of a detection with the last box of its thing.
SAME_IOU = 0.3
# A thing without an own id is forgotten after this time without a detection.
FORGET_S = 60.0
MAX_THINGS = 256
MAX_ATTRIBUTES = 32
_NAME_CHARS = 60


@dataclass(frozen=True)
class Change:
    """A changed state of a thing. The fields are those of StateChange.msg."""

    thing: str
    label: str
    attribute: str
    old: str
    new: str
    confidence: float

    def __str__(self) -> str:
        """Return the line for the log: `fridge_1 door: closed -> open`."""
        return f"{self.thing} {self.attribute}: {self.old} -> {self.new}"


@dataclass
class _Reading:
    """The confirmed value of one attribute, and the value that the latest answers say."""

    value: str = ""
    said: str = ""
    times: int = 0

    def note(self, value: str, confirm: int) -> bool:
        """Store the value of an answer; return True if it is now confirmed as a new value."""
        if value.casefold() == self.value.casefold():
            self.times = 0
            return False
        repeated = self.times > 0 and value.casefold() == self.said.casefold()
        self.said, self.times = value, self.times + 1 if repeated else 1
        return self.times >= confirm


@dataclass
class Standing:
    """How far one entry is with one thing."""

    waiting: Waiting
    # It may be asked, and looked at, from these times on.
    next_s: float = -math.inf
    look_s: float = -math.inf
    # The pixels of the last answer that counted, and the time of their frame. None: there is none,
    # or it is asked again at once, whatever the pixels.
    patch: Patch | None = None
    answered_s: float = -math.inf

    def restart(self, now_s: float) -> None:
        """Forget all times: time was set back to `now_s`, or the frames were forgotten."""
        self.next_s = self.look_s = self.answered_s = -math.inf
        self.patch = None
        self.waiting.restart(now_s)


@dataclass(eq=False)
class Thing:
    """One watched thing."""

    name: str
    label: str
    own_id: str
    box_xyxy_px: BoxXyxy
    seen_s: float
    standings: dict[WatchEntry, Standing] = field(default_factory=dict)
    readings: dict[str, _Reading] = field(default_factory=dict)

    def standing(self, entry: WatchEntry) -> Standing:
        """Return how far an entry is with this thing."""
        if entry not in self.standings:
            self.standings[entry] = Standing(Waiting(entry.when))
        return self.standings[entry]

    def value(self, attribute: str) -> str:
        """Return the value that counts; empty if there is none."""
        return self.readings[attribute].value if attribute in self.readings else ""

    def is_open(self, attribute: str) -> bool:
        """Return True if the last answers say another value, which is not confirmed yet."""
        return attribute in self.readings and self.readings[attribute].times > 0

    def changes(self, answer: Answer, confirm: int) -> list[Change]:
        """Store the state in an answer, if it counts; return the changes."""
        if not counts(answer):
            return []
        found = []
        for attribute, value in answer.state.items():
            if attribute not in self.readings and len(self.readings) >= MAX_ATTRIBUTES:
                del self.readings[next(iter(self.readings))]
            reading = self.readings.setdefault(attribute, _Reading())
            if reading.note(value, confirm):
                old, reading.value, reading.times = reading.value, value, 0
                if old:
                    change = Change(self.name, self.label, attribute, old, value, answer.confidence)
                    found.append(change)
        return found


def counts(answer: Answer) -> bool:
    """Return True for an answer that is sure and whole: others change nothing."""
    return not (answer.uncertain or answer.truncated)


class Tracker:
    """Matches detections to things, from one message of a camera to the next.

    By the detection's own id if it has one; else by its label and the overlap of its box with the
    thing's last box.
    """

    def __init__(self, prefix: str = "") -> None:
        """`prefix` is put before every name."""
        self._prefix = prefix
        self._things: list[Thing] = []
        self._numbers: Counter[str] = Counter()

    def see(self, detections: Sequence[tuple[Region, str]], now_s: float) -> list[Thing]:
        """Return the thing of each detection (region in the detector's pixels, own id or "")."""
        self._forget(now_s)
        found = self._match(detections)
        for index, (region, own_id) in enumerate(detections):
            box = region.box_xyxy_px
            thing = found.get(index)
            if thing is None:
                name = self._name(region.label, own_id)
                thing = found[index] = Thing(name, region.label, own_id, box, now_s)
                self._things.append(thing)
            thing.label, thing.box_xyxy_px, thing.seen_s = region.label, box, now_s
            thing.own_id = own_id or thing.own_id
        return [found[index] for index in range(len(detections))]

    def restart(self, now_s: float) -> None:
        """Keep the things, and forget all times: time was set back to `now_s`."""
        for thing in self._things:
            thing.seen_s = now_s
            for standing in thing.standings.values():
                standing.restart(now_s)

    def _match(self, detections: Sequence[tuple[Region, str]]) -> dict[int, Thing]:
        """Return index -> thing: first by id, then by the largest overlap."""
        by_id = {thing.own_id: thing for thing in self._things if thing.own_id}
        found: dict[int, Thing] = {}
        for index, (_, own_id) in enumerate(detections):
            if own_id in by_id:
                found[index] = by_id.pop(own_id)
        taken = {id(thing) for thing in found.values()}
        pairs = sorted(
            (
                (-iou(region.box_xyxy_px, thing.box_xyxy_px), index, number)
                for index, (region, own_id) in enumerate(detections)
                if index not in found
                for number, thing in enumerate(self._things)
                if thing.label.casefold() == region.label.casefold()
                and not (own_id and thing.own_id)
            ),
        )
        for negative_iou, index, number in pairs:
            thing = self._things[number]
            if -negative_iou >= SAME_IOU and index not in found and id(thing) not in taken:
                found[index] = thing
                taken.add(id(thing))
        return found

    def _forget(self, now_s: float) -> None:
        kept = [one for one in self._things if one.own_id or now_s - one.seen_s <= FORGET_S]
        kept.sort(key=lambda thing: thing.seen_s)
        self._things = kept[-MAX_THINGS:]

    def _name(self, label: str, own_id: str) -> str:
        """Return an unused name: the id if it has letters, else the label and a number."""
        used = {thing.name for thing in self._things}
        kind = _plain(label) or "thing"
        if own_id:
            plain_id = _plain(own_id)
            kind = plain_id if re.search("[a-z]", plain_id, re.I) else f"{kind}_{plain_id}"
            if self._prefix + kind not in used:
                return self._prefix + kind
        while True:
            self._numbers[kind] += 1
            name = f"{self._prefix}{kind}_{self._numbers[kind]}"
            if name not in used:
                return name


def _plain(text: str) -> str:
    """Return a text as a name without spaces."""
    return re.sub(r"[^\w.-]+", "_", text.strip())[:_NAME_CHARS].strip("_")
