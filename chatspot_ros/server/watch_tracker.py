"""Tracks watched things: identity of detections, the next question, changes of state.

No ROS, no torch. Times are monotonic seconds.
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
from chatspot_ros.server.watch_config import WatchEntry

# The least intersection over union of a detection with the last box of its thing.
SAME_IOU = 0.3
# A thing without an own id is forgotten after this time without a detection.
FORGET_S = 60.0
MAX_THINGS = 256
MAX_ATTRIBUTES = 32
# A question that got BUSY is asked again after this time.
RETRY_S = 1.0
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


@dataclass(eq=False)
class Thing:
    """One watched thing."""

    name: str
    label: str
    own_id: str
    box_xyxy_px: BoxXyxy
    seen_s: float
    # Entry -> time from which on it may be asked again.
    next_s: dict[WatchEntry, float] = field(default_factory=dict)
    readings: dict[str, _Reading] = field(default_factory=dict)

    def due_s(self, entry: WatchEntry) -> float:
        """Return the time from which on an entry may be asked; -infinity for a new thing."""
        return self.next_s.get(entry, -math.inf)

    def changes(self, answer: Answer, confirm: int) -> list[Change]:
        """Store the state in a certain answer; return the changes."""
        if answer.uncertain or answer.truncated:
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


@dataclass(frozen=True)
class Round:
    """One entry to ask now, and its things: (index in the message, thing)."""

    entry: WatchEntry
    things: tuple[tuple[int, Thing], ...]


def next_round(
    entries: Sequence[WatchEntry],
    sightings: Sequence[tuple[int, Region, Thing]],
    now_s: float,
    limit: int,
) -> Round | None:
    """Choose the entry that has waited longest, and at most `limit` things; None if none is due.

    `sightings` are the detections of one message: (index in the message, region, thing).
    """
    due = [
        (thing.due_s(entry), index, entry, thing)
        for entry in entries
        for index, region, thing in sightings
        if entry.wants(region) and thing.due_s(entry) <= now_s
    ]
    if not due:
        return None
    chosen = min(due, key=lambda one: one[0])[2]
    asked = sorted((one for one in due if one[2] is chosen), key=lambda one: one[:2])[:limit]
    return Round(chosen, tuple((index, thing) for _, index, _, thing in asked))


def begin(chosen: Round, now_s: float) -> None:
    """Store that a round is asked. Skipped rounds are not made up for."""
    for _, thing in chosen.things:
        thing.next_s[chosen.entry] = now_s + chosen.entry.every_s


def refused(chosen: Round, now_s: float) -> None:
    """Store that a round got BUSY."""
    for _, thing in chosen.things:
        thing.next_s[chosen.entry] = min(thing.next_s[chosen.entry], now_s + RETRY_S)


def _plain(text: str) -> str:
    """Return a text as a name without spaces."""
    return re.sub(r"[^\w.-]+", "_", text.strip())[:_NAME_CHARS].strip("_")
