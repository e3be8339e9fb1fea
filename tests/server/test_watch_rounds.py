"""Which question of the watch list is next: by time, by pixels, by what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.server.watch_conditions import parse_condition
from chatspot_ros.server.watch_config import WatchEntry
from chatspot_ros.server.watch_rounds import LOOK_AGAIN_S, RETRY_S, CameraWatch, look
from chatspot_ros.server.watch_tracker import FORGET_S

CLOSED, OPEN = (200, 40, 40), (40, 200, 40)
AT = (100.0, 60.0)


def entry(every_s: float = 5.0, when: Sequence[str] = (), **rest: Any) -> WatchEntry:
    conditions = tuple(parse_condition(text) for text in when)
    made = WatchEntry(labels=("fridge",), task="state", every_s=every_s, **rest)
    return made.model_copy(update={"when": conditions})


def answer(text: str, **rest: Any) -> Answer:
    state = dict(part.split(": ") for part in text.split(", ")) if text else {}
    return Answer(text=text, state=state, **{"confidence": 0.9, **rest})


class Room:
    """A camera with fridges on a grey wall; each is closed where it is red, open where green."""

    def __init__(self, *entries: WatchEntry, limit: int = 64) -> None:
        self.watch = CameraWatch(entries)
        self.limit = limit
        self.asked: list[tuple[float, WatchEntry, list[str]]] = []
        self.told: list[str] = []

    def picture(self, colours: dict[tuple[float, float], tuple[int, int, int]]) -> Any:
        rgb = np.full((240, 320, 3), 120, np.uint8)
        rgb[::20] = 90
        for (x, y), colour in colours.items():
            rgb[int(y) : int(y) + 60, int(x) : int(x) + 40] = colour
        return rgb

    def step(
        self,
        now_s: float,
        *fridges: tuple[tuple[float, float], tuple[int, int, int]],
        says: str | None = None,
        jitter_px: float = 0.0,
        status: str = "OK",
        picture: Any = None,
        **rest: Any,
    ) -> list[str]:
        """Show fridges as (place, colour) at a time; return the names of those asked about."""
        colours = dict(fridges)
        boxes = [
            Region.box(x + jitter_px, y - jitter_px, x + 40 - jitter_px, y + 60 + jitter_px)
            for x, y in colours
        ]
        boxes = [Region(box.points_px, label="fridge") for box in boxes]
        things = self.watch.see([(box, "") for box in boxes], now_s)
        sightings = [(k, *pair) for k, pair in enumerate(zip(boxes, things, strict=True))]
        due = self.watch.due(sightings, now_s)
        if not due:
            return []
        rgb = self.picture(colours) if picture is None else picture
        chosen, events = self.watch.decide(
            look(due, dict(enumerate(boxes)), rgb), now_s, self.limit
        )
        self._tell(now_s, [], events)
        if chosen is None:
            return []
        names = [thing.name for _, thing in chosen.things]
        self.asked.append((now_s, chosen.entry, names))
        if status == "BUSY":
            self.watch.refused(chosen, now_s)
        elif status == "OK":
            places = list(colours.values())
            for index, thing in chosen.things:
                state = "door: open" if places[index] == OPEN else "door: closed"
                said = answer(state if says is None else says, **rest)
                self._tell(now_s, *self.watch.answered(chosen, thing, said, now_s))
        return names

    def _tell(self, now_s: float, changes: Any, events: Any) -> None:
        self.told += [f"{now_s:g} {change}" for change in changes]
        self.told += [f"{now_s:g} {one.thing.name} {one.fulfilled.condition.text}"
                      for one in events]  # fmt: skip

    def times(self) -> list[float]:
        return [now_s for now_s, _, _ in self.asked]


# --- by time


def test_each_thing_at_most_so_often() -> None:
    room = Room(entry(every_s=5, at_least_every_s=5))
    a, b = (AT, OPEN), ((200.0, 60.0), OPEN)
    assert room.step(0, a) == ["fridge_1"]
    assert room.step(1, a, b) == ["fridge_2"]
    assert room.step(4.9, a, b) == []
    assert room.step(5, a, b) == ["fridge_1"]
    # What was missed is not made up for.
    assert sorted(room.step(50, a, b)) == ["fridge_1", "fridge_2"]
    assert room.step(54.9, a, b) == []


def test_the_entry_that_waited_longest_comes_first() -> None:
    doors = entry(every_s=5, at_least_every_s=5)
    handles = entry(every_s=3, at_least_every_s=3, question="handle?")
    room = Room(doors, handles)
    for now_s in (0, 0, 3, 5, 9, 10, 10):
        room.step(now_s, (AT, OPEN))
    assert [one for _, one, _ in room.asked] == [doors, handles, handles, doors, handles, doors]


def test_a_full_round_leaves_the_rest_to_the_next() -> None:
    room = Room(entry(), limit=2)
    three = [((x, 60.0), OPEN) for x in (10.0, 100.0, 200.0)]
    assert room.step(0, *three) == ["fridge_1", "fridge_2"]
    assert room.step(0, *three) == ["fridge_3"]


def test_a_refused_round_is_asked_again_soon_and_not_at_once() -> None:
    room = Room(entry(every_s=60))
    room.step(0, (AT, OPEN), status="BUSY")
    assert room.step(RETRY_S / 2, (AT, OPEN)) == []
    assert room.step(RETRY_S, (AT, OPEN)) == ["fridge_1"]


# --- by pixels


def test_what_looks_the_same_is_asked_at_the_latest_after_so_long() -> None:
    room = Room(entry(every_s=1, at_least_every_s=20))
    for tenth in range(601):
        room.step(tenth / 10, (AT, CLOSED), jitter_px=tenth % 3)
    assert room.times()[0] == 0
    assert np.diff(room.times()) == pytest.approx([20, 20, 20], abs=LOOK_AGAIN_S)


def test_what_changes_is_asked_within_a_look_and_not_before_its_time() -> None:
    room = Room(entry(every_s=5, at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    # It is open from 2 s on: not before 5 s.
    for tenth in range(20, 60):
        room.step(tenth / 10, (AT, OPEN))
    # It is closed again from 30.1 s on.
    for tenth in range(60, 320):
        room.step(tenth / 10, (AT, OPEN if tenth < 301 else CLOSED))
    assert room.times()[:2] == [0, 5]
    assert 30.1 <= room.times()[2] <= 30.1 + LOOK_AGAIN_S
    assert len(room.asked) == 3
    assert [line.split(" ", 1)[1] for line in room.told] == [
        "fridge_1 door: closed -> open", "fridge_1 door: open -> closed",
    ]  # fmt: skip


def test_each_look_is_at_the_picture_of_the_last_answer() -> None:
    # A little at a time: no two pictures in a row differ by much, the first and the last do.
    room = Room(entry(every_s=1, at_least_every_s=10_000))
    steps = 400
    for step in range(steps + 1):
        share = step / steps
        colour = tuple(round(a + share * (b - a)) for a, b in zip(CLOSED, OPEN, strict=True))
        room.step(float(step), (AT, colour), says="door: open" if share > 0.5 else "door: closed")
    assert len(room.told) == 1
    assert 3 <= len(room.asked) <= 40
    said_s = float(room.told[0].split()[0])
    assert steps / 2 < said_s < 0.6 * steps


@pytest.mark.parametrize(
    "rest",
    [{"uncertain": True}, {"truncated": True}, {"status": "BUSY"}, {"status": "TIMEOUT"}],
)
def test_an_ask_without_a_certain_answer_leaves_the_old_picture(rest: dict[str, Any]) -> None:
    room = Room(entry(every_s=1, at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    assert room.step(10, (AT, OPEN), **rest) == ["fridge_1"]
    # The pixels stay as in the picture that was asked about; it is asked again at its rate.
    assert room.step(10.5, (AT, OPEN)) == []
    assert room.step(11, (AT, OPEN)) == ["fridge_1"]
    assert room.told == ["11 fridge_1 door: closed -> open"]
    assert [room.step(float(now_s), (AT, OPEN)) for now_s in range(12, 30)] == [[]] * 18
    # Back to the pixels before it, in between, is no change at all.
    room.step(40, (AT, CLOSED), **rest)
    assert room.step(42, (AT, OPEN)) == []


def test_a_value_that_is_not_confirmed_is_asked_about_at_its_rate() -> None:
    room = Room(entry(every_s=1, at_least_every_s=1000, confirm=3))
    for now_s in range(20):
        room.step(now_s, (AT, CLOSED))
    for now_s in range(20, 40):
        room.step(now_s, (AT, OPEN))
    assert room.times() == [0, 1, 2, 20, 21, 22]
    assert room.told == ["22 fridge_1 door: closed -> open"]


def test_a_camera_that_moves_has_everything_asked_at_its_rate() -> None:
    room = Room(entry(every_s=2, at_least_every_s=1000))
    for half in range(41):
        x = 60.0 + 3 * half
        room.step(half / 2, ((x, 60.0), CLOSED))
    assert room.times() == [float(now_s) for now_s in range(0, 21, 2)]


def test_a_thing_that_goes_and_comes_back() -> None:
    room = Room(entry(every_s=1, at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    for now_s in range(1, 30):
        assert room.step(now_s) == []
    assert room.step(30, (AT, CLOSED)) == []
    assert room.step(31) == []
    assert room.step(40, (AT, OPEN)) == ["fridge_1"]
    assert room.told == ["40 fridge_1 door: closed -> open"]
    # After a longer absence it is another thing, and asked about at once.
    assert room.step(41 + FORGET_S, (AT, OPEN)) == ["fridge_2"]


def test_a_box_of_quite_another_size_is_a_change() -> None:
    room = Room(entry(every_s=1, at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    assert room.step(2, (AT, CLOSED), jitter_px=4) == []
    assert room.step(4, (AT, CLOSED), jitter_px=14) == ["fridge_1"]


def test_without_pixels_everything_is_asked() -> None:
    watch = CameraWatch([entry(every_s=1, at_least_every_s=1000)])
    box = Region.box(0, 0, 10, 10)
    box = Region(box.points_px, label="fridge")
    for now_s in (0.0, 1.0):
        (thing,) = watch.see([(box, "")], now_s)
        due = watch.due([(0, box, thing)], now_s)
        chosen, _ = watch.decide(look(due, {0: box}, None), now_s, 8)
        assert chosen is not None
        watch.answered(chosen, thing, answer("door: closed"), now_s)


# --- conditions


def test_a_condition_is_confirmed_by_pixels_that_stay() -> None:
    room = Room(entry(1, ["door to open for 2 s", "stays open for 5 s"], at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    for tenth in range(100, 200):
        room.step(tenth / 10, (AT, OPEN))
    assert room.times() == [0, 10]
    assert room.told == [
        "10 fridge_1 door: closed -> open",
        "12 fridge_1 door to open for 2 s",
        "15 fridge_1 stays open for 5 s",
    ]


def test_a_condition_whose_pixels_change_waits_for_the_answer() -> None:
    room = Room(entry(5, ["to open for 2 s"], at_least_every_s=1000))
    room.step(0, (AT, CLOSED))
    room.step(10, (AT, OPEN))
    # Closed again: not asked before 15 s, and not told that it was open for 2 s.
    for tenth in range(110, 180):
        room.step(tenth / 10, (AT, CLOSED))
    assert room.told == ["10 fridge_1 door: closed -> open", "15 fridge_1 door: open -> closed"]


def test_where_pixels_save_nothing_only_answers_confirm_a_condition() -> None:
    room = Room(entry(5, ["to open for 2 s"], at_least_every_s=5))
    for tenth in range(0, 160):
        room.step(tenth / 10, (AT, CLOSED if tenth < 50 else OPEN))
    assert room.told == ["5 fridge_1 door: closed -> open", "10 fridge_1 to open for 2 s"]


def test_an_uncertain_answer_neither_breaks_nor_confirms_a_condition() -> None:
    room = Room(entry(1, ["to open for 2 s"], at_least_every_s=1))
    room.step(0, (AT, CLOSED))
    room.step(1, (AT, OPEN))
    room.step(3, (AT, OPEN), uncertain=True)
    assert room.told == ["1 fridge_1 door: closed -> open"]
    room.step(4, (AT, OPEN))
    assert room.told[1:] == ["4 fridge_1 to open for 2 s"]


# --- time that is set back


def test_after_time_was_set_back_all_is_asked_anew_and_nothing_is_lost() -> None:
    room = Room(entry(5, ["stays open for 10 s"], at_least_every_s=1000))
    room.step(5000, (AT, CLOSED))
    room.watch.restart(3.0)
    assert room.step(3, (AT, OPEN)) == ["fridge_1"]
    assert room.told == ["3 fridge_1 door: closed -> open"]
    for now_s in range(4, 20):
        room.step(now_s, (AT, OPEN))
    assert room.told[1:] == ["13 fridge_1 stays open for 10 s"]


def test_an_answer_about_a_frame_of_before_is_no_picture_of_now() -> None:
    watch = CameraWatch([entry(every_s=1, at_least_every_s=40)])
    box = Region(Region.box(100, 60, 140, 120).points_px, label="fridge")
    rgb = Room().picture({AT: OPEN})

    def begin(now_s: float) -> Any:
        (thing,) = watch.see([(box, "")], now_s)
        due = watch.due([(0, box, thing)], now_s)
        return thing, watch.decide(look(due, {0: box}, rgb), now_s, 8)[0]

    thing, chosen = begin(900.0)
    watch.answered(chosen, thing, answer("door: closed"), 900.0)
    thing, chosen = begin(950.0)
    watch.restart(0.0)
    changes, events = watch.answered(chosen, thing, answer("door: open"), 950.0)
    assert ([str(one) for one in changes], events) == (["fridge_1 door: closed -> open"], [])
    assert begin(1.0)[1] is not None
