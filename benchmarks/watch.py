"""How many questions unchanged pixels save, and which changes that misses.

`python -m benchmarks.watch [--changes 100] [--json FILE]`. Films simulated test kitchens:
doors, drawers, burners, taps and mugs change, doors also slowly, watched things are moved; between
them the exposure drifts, shadows pass, the lamp moves, other things are moved, the sensor is noisy,
and the detector's boxes jitter and are missed. The watch list
(chatspot_ros.server.watch_rounds) runs on the same pictures twice: it asks by its rates alone, and
only where pixels have changed. The answers are the kitchen's truth: a change that is not told was
not asked about.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.watch_script import SHOT_S, STILL_S, Change, Film, Shot, film
from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.server.watch_config import WatchEntry
from chatspot_ros.server.watch_rounds import CameraWatch, Round, look
from chatspot_ros.server.watch_tracker import Thing

EVERY_S = 5.0
LIMIT = 64
TARGETS = {"questions_saved": 0.8, "changes_missed": 0.0}
# Labels, question, attribute of the answer; "": the thing's name and nothing else.
LIST = (
    (("fridge", "microwave"), "Is the door open or closed?", "door"),
    (("drawer",), "Is the drawer open or closed?", "drawer"),
    (("stove",), "Is the burner on or off?", "burner"),
    (("tap",), "Is the water running?", "water"),
    (("mug",), "Is it full or empty?", "contents"),
    (("bottle", "jar", "apple", "lemon", "pineapple"), "What is this?", ""),
)


def read_list(always: bool) -> dict[WatchEntry, str]:
    """Return the entries with their attributes; `always`: pixels save no question."""
    return {
        WatchEntry(
            labels=labels,
            question=question,
            task="state" if attribute else "describe",
            every_s=EVERY_S,
            at_least_every_s=EVERY_S if always else None,
        ): attribute
        for labels, question, attribute in LIST
    }


@dataclass
class Side:
    """One way to watch a film: what it asked (time, thing) and told (time, thing, attribute,
    value)."""

    entries: dict[WatchEntry, str]
    watch: CameraWatch
    asked: list[tuple[float, str]] = field(default_factory=list)
    told: list[tuple[float, str, str, str]] = field(default_factory=list)

    def step(self, shot: Shot) -> None:
        """See one picture, and ask until nothing is due."""
        boxes = [
            Region(Region.box(*one.box_xyxy_px).points_px, label=one.name)
            for one in shot.detections
        ]
        watched = [k for k, box in enumerate(boxes) if any(one.wants(box) for one in self.entries)]
        things = self.watch.see([(boxes[k], "") for k in watched], shot.now_s)
        sightings = [(k, boxes[k], thing) for k, thing in zip(watched, things, strict=True)]
        while due := self.watch.due(sightings, shot.now_s):
            looked = look(due, dict(enumerate(boxes)), shot.rgb)
            chosen, _ = self.watch.decide(looked, shot.now_s, LIMIT)
            if chosen is not None:
                for index, thing in chosen.things:
                    self._answer(shot, chosen, index, thing)

    def _answer(self, shot: Shot, chosen: Round, index: int, thing: Thing) -> None:
        true_id = shot.detections[index].id
        self.asked.append((shot.now_s, true_id))
        attribute = self.entries[chosen.entry]
        state = {k: v for k, v in shot.states[true_id].items() if k == attribute}
        answer = Answer(
            text="", state=state, confidence=1.0, uncertain=bool(attribute) and not state
        )
        changes, _ = self.watch.answered(chosen, thing, answer, shot.now_s)
        self.told += [(shot.now_s, true_id, one.attribute, one.new) for one in changes]

    def seen_s(self, change: Change) -> float | None:
        """Return how long after a change it was told, or asked about where it has no state."""
        if change.attribute:
            wanted = (change.item, change.attribute, change.value)
            times = [now_s for now_s, *told in self.told if tuple(told) == wanted]
        else:
            times = [now_s for now_s, item in self.asked if item == change.item]
        within = [t - change.at_s for t in times if change.at_s <= t < change.until_s]
        return min(within, default=None)


@dataclass
class Count:
    """The sums over all films of one way to watch."""

    asked: int = 0
    asked_still: int = 0
    late_s: dict[str, list[float]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    false_events: int = 0

    def add(self, made: Film, side: Side) -> None:
        """Add one film."""
        self.asked += len(side.asked)
        self.asked_still += sum(now_s < STILL_S for now_s, _ in side.asked)
        matched = 0
        for change in made.changes:
            late_s = side.seen_s(change)
            if late_s is None:
                self.missed.append(f"{change.kind} of {change.item} in kitchen {made.number}")
            else:
                self.late_s.setdefault(change.kind, []).append(late_s)
                matched += bool(change.attribute)
        self.false_events += len(side.told) - matched


def watch_films(count: int, first: int) -> tuple[dict[str, Count], dict[str, int], int]:
    """Film kitchens until there are `count` changes; return both sums, the number of changes by
    kind, and of pictures."""
    sums = {"always": Count(), "changed": Count()}
    kinds: dict[str, int] = {}
    pictures, number = 0, first
    while (left := count - sum(kinds.values())) > 0:
        sides = {}
        for name in sums:
            entries = read_list(always=name == "always")
            sides[name] = Side(entries, CameraWatch(tuple(entries)))
        made = Film(number)
        for shot in film(made, left):
            pictures += 1
            for side in sides.values():
                side.step(shot)
        for change in made.changes:
            kinds[change.kind] = kinds.get(change.kind, 0) + 1
        for name, side in sides.items():
            sums[name].add(made, side)
        done = sum(kinds.values())
        print(f"kitchen {number}: {len(made.changes)} changes, {done} of {count}", flush=True)
        number += 1
    return sums, kinds, pictures


def rows_of(sums: dict[str, Count], kinds: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the result: name, value, and what more belongs to it."""
    always, changed = sums["always"], sums["changed"]
    n = sum(kinds.values())
    yield {"name": "questions_saved", "value": 1 - changed.asked / max(always.asked, 1),
           "asked": changed.asked, "asked_always": always.asked}  # fmt: skip
    yield {"name": "questions_saved_still",
           "value": 1 - changed.asked_still / max(always.asked_still, 1),
           "asked": changed.asked_still, "asked_always": always.asked_still}  # fmt: skip
    yield {"name": "changes_missed", "value": len(changed.missed), "n": n,
           "which": changed.missed, "missed_always": len(always.missed)}  # fmt: skip
    yield {"name": "false_events", "value": changed.false_events,
           "false_always": always.false_events}  # fmt: skip
    for kind in sorted(kinds):
        mine, other = (sorted(side.late_s.get(kind, [])) for side in (changed, always))
        if mine and other:
            yield {"name": f"late_s_{kind}", "value": float(np.median(mine)), "most": mine[-1],
                   "n": kinds[kind], "always": float(np.median(other)),
                   "most_always": other[-1]}  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first test kitchen")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sums, kinds, pictures = watch_films(options.changes, options.first)
    rows = list(rows_of(sums, kinds))
    print(f"{pictures * SHOT_S} s of film, {sum(kinds.values())} changes")
    for row in rows:
        target = TARGETS.get(row["name"])
        wanted = "" if target is None else f"  (target {target:g})"
        rest = ", ".join(f"{k} {_short(v)}" for k, v in row.items() if k not in ("name", "value"))
        print(f"{row['name']:22} {_short(row['value'])}{wanted}  {rest}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
