"""What is watched: which detection is which thing, what is asked of it next, what has changed.

Pure: no ROS, no torch. Times are seconds of a clock that never goes back.
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
from chatspot_ros.errors import RequestError
from chatspot_ros.server.watch_config import WatchEntry

# A box is the thing whose last box it covers by this intersection over union.
SAME_IOU = 0.3
# A thing without an id of its own is forgotten when nobody has detected it for so long.
FORGET_S = 60.0
MAX_THINGS = 256
MAX_ATTRIBUTES = 32
# A question for which the node had no room is asked again so soon.
RETRY_S = 1.0
_NAME_CHARS = 60
_CHANGE = re.compile(r"(\S+) ([^:]+): (.*?) -> (.*)", re.DOTALL)


@dataclass(frozen=True)
class Change:
    """A state that is no longer what it was, as it is told on ~/states.

    `thing` is a name without spaces, such as fridge_1.
    """

    thing: str
    attribute: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.thing} {self.attribute}: {self.old} -> {self.new}"

    @classmethod
    def parse(cls, text: str) -> Change:
        """Read what `str` has written. Raises RequestError."""
        found = _CHANGE.fullmatch(text)
        if found is None:
            raise RequestError(
                "this is no change of a state",
                value=text,
                remedy="it has the form `fridge_1 door: closed -> open`",
            )
        return cls(*found.groups())


@dataclass
class _Reading:
    """What is known of one attribute, and what the newest answers say instead."""

    value: str = ""
    said: str = ""
    times: int = 0

    def note(self, value: str, confirm: int) -> bool:
        """Note what an answer says; return whether it is now known to be so and was not before."""
        if value.casefold() == self.value.casefold():
            self.times = 0
            return False
        repeated = self.times > 0 and value.casefold() == self.said.casefold()
        self.said, self.times = value, self.times + 1 if repeated else 1
        return self.times >= confirm


@dataclass(eq=False)
class Thing:
    """One thing that is watched."""

    name: str
    label: str
    own_id: str
    box_xyxy_px: BoxXyxy
    seen_s: float
    # Entry -> when it may be asked next.
    next_s: dict[WatchEntry, float] = field(default_factory=dict)
    readings: dict[str, _Reading] = field(default_factory=dict)

    def due_s(self, entry: WatchEntry) -> float:
        """Since when an entry may be asked about it; of a new thing, always."""
        return self.next_s.get(entry, -math.inf)

    def changes(self, answer: Answer, confirm: int) -> list[Change]:
        """Note what a sure answer says of the thing; return what has changed by it."""
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
                    found.append(Change(self.name, attribute, old, value))
        return found


class Tracker:
    """Tells which detection is which thing, from one message of a camera to the next.

    By the detection's own id where it has one; else by its label and how far its box covers the
    thing's last one.
    """

    def __init__(self, prefix: str = "") -> None:
        """`prefix` stands before every name."""
        self._prefix = prefix
        self._things: list[Thing] = []
        self._numbers: Counter[str] = Counter()

    def see(self, detections: Sequence[tuple[Region, str]], now_s: float) -> list[Thing]:
        """Return the thing of each detection: (region in the detector's pixels, own id or "")."""
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
        """Return index -> thing: first by id, then the boxes that cover each other most."""
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
        """Return a name that no thing has: the id where it has words in it, else fridge_1."""
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
    """One entry to be asked now, of these things, each with its place in the message."""

    entry: WatchEntry
    things: tuple[tuple[int, Thing], ...]


def next_round(
    entries: Sequence[WatchEntry],
    sightings: Sequence[tuple[int, Region, Thing]],
    now_s: float,
    limit: int,
) -> Round | None:
    """Choose the entry that has waited longest, and at most `limit` things; None: nothing is due.

    `sightings` are the detections of one message: place in the message, region, thing.
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
    """Note that a round is asked: what is skipped until its time is not made up for."""
    for _, thing in chosen.things:
        thing.next_s[chosen.entry] = now_s + chosen.entry.every_s


def refused(chosen: Round, now_s: float) -> None:
    """Note that the node had no room for a round."""
    for _, thing in chosen.things:
        thing.next_s[chosen.entry] = min(thing.next_s[chosen.entry], now_s + RETRY_S)


def _plain(text: str) -> str:
    """Return a text as a name without spaces."""
    return re.sub(r"[^\w.-]+", "_", text.strip())[:_NAME_CHARS].strip("_")
