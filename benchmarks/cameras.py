"""Several cameras before one model: who waits how long, and what a second device brings.

`python -m benchmarks.cameras --json FILE [--model M] [--seconds S]`, three parts, each with both
sides in one run. *Turns*: one camera asks without a pause, with six questions always on the way,
and three ask now and then; by turns (the node) and in order of arrival (the same schedule, told
that all is one camera). `wait_over_mean` is the longest mean wait of a camera over the mean wait.
*Devices*: questions per second of two engines with a thread each over one engine with two threads.
*Across frames*: the time of two frames' questions over that of one frame's with the same questions
and one more picture to see: no batch across frames could save more.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.queries import Desk, noise
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.errors import BusyError, ChatspotError
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.settings import Settings

BUSY_CAMERA = "front"
# Between two questions, in times of answering one.
SLOW_CAMERAS = {"left": 6.0, "right": 7.0, "rear": 8.0}
ON_THE_WAY = 6
SIZE = (640, 480)
ASK = (Question("What is this?", (Region.box(100, 100, 300, 300),)),)


@dataclass
class Waits:
    """The seconds that questions waited for their turn, and the refusals, by camera."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def rows(self, prefix: str) -> dict[str, float]:
        """Return the mean wait of each camera, the refusals, and the longest over the mean."""
        means = {name: sum(one) / len(one) for name, one in self.seconds.items() if one}
        every = [second for one in self.seconds.values() for second in one]
        return {
            **{f"{prefix}_wait_{name}_s": means.get(name, float("nan")) for name in cameras()},
            **{f"{prefix}_refused_{name}": self.refused[name] for name in cameras()},
            f"{prefix}_wait_over_mean": max(means.values()) / (sum(every) / len(every)),
        }


def cameras() -> tuple[str, ...]:
    """Return the names of the cameras."""
    return (BUSY_CAMERA, *SLOW_CAMERAS)


def ask_from(
    desk: Desk, waits: Waits, name: str, until_s: float, pause_s: float, by_turns: bool
) -> None:
    """Ask as one camera does, each question about a new frame, until the time is over."""
    room = threading.Semaphore(ON_THE_WAY)
    seed = sum(map(ord, name)) * 10_000

    def on_end(pending: InflightRequest, error: ChatspotError | None) -> None:
        if pending.started_s is not None:
            waits.seconds[name].append(pending.started_s - pending.arrived_s)
        if isinstance(error, BusyError):
            waits.refused[name] += 1
        room.release()

    while time.monotonic() < until_s:
        seed += 1
        room.acquire()
        try:
            desk.ask(noise(seed, *SIZE), ASK, on_end, camera=name if by_turns else "")
        except BusyError:
            waits.refused[name] += 1
            room.release()
            time.sleep(0.01)
        time.sleep(pause_s)
    for _ in range(ON_THE_WAY):
        room.acquire()


def measure_turns(engine: Engine, seconds: float, by_turns: bool) -> Waits:
    """Let all cameras ask for so many seconds."""
    desk, waits = Desk(engine, settings=Settings(queue_size=6)), Waits()
    each_s = 1 / questions_per_second(desk, 6)
    pauses_s = {BUSY_CAMERA: 0.0} | {name: one * each_s for name, one in SLOW_CAMERAS.items()}
    until_s = time.monotonic() + seconds
    askers = [
        threading.Thread(
            target=ask_from, args=(desk, waits, name, until_s, pauses_s[name], by_turns)
        )
        for name in cameras()
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    desk.worker.stop()
    return waits


def questions_per_second(desk: Desk, count: int) -> float:
    """Ask about so many new frames, four at a time."""
    room = threading.Semaphore(4)
    began_s = time.monotonic()
    for seed in range(count):
        room.acquire()
        desk.ask(noise(seed, *SIZE), ASK, lambda *_: room.release())
    for _ in range(4):
        room.acquire()
    return count / (time.monotonic() - began_s)


def measure_devices(model: str, count: int) -> dict[str, float]:
    """Return the rows of one engine with two threads, and of two with one."""
    found = {}
    for devices in (1, 2):
        config = EngineConfig(model=model, device="cpu", threads=2 // devices)
        desk = Desk(*(load_engine(config) for _ in range(devices)), settings=Settings())
        questions_per_second(desk, 4)
        found[f"devices_{devices}_questions_per_s"] = questions_per_second(desk, count)
        desk.worker.stop()
    two, one = found["devices_2_questions_per_s"], found["devices_1_questions_per_s"]
    return {**found, "devices_2_over_1": two / one}


def measure_across_frames(engine: Engine, repeats: int) -> dict[str, float]:
    """Return the time of questions about two frames over that of the ideal batch of both."""
    apart_s = together_s = 0.0
    for seed in range(repeats):
        first, second = (noise(2 * seed + k, *SIZE).rgb(10**9) for k in (0, 1))
        began_s = time.monotonic()
        for picture in (first, second):
            engine.answer_many(engine.prepare(picture), ASK)
        middle_s = time.monotonic()
        scene, _ = engine.prepare(first), engine.prepare(second)
        engine.answer_many(scene, ASK * 2)
        apart_s += middle_s - began_s
        together_s += time.monotonic() - middle_s
    return {"across_frames_apart_over_together": apart_s / together_s}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--model", default="chatspot-tiny")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    engine = load_engine(EngineConfig(model=options.model, device="cpu"))
    arrival = measure_turns(engine, options.seconds, by_turns=False).rows("arrival")
    rows = measure_turns(engine, options.seconds, by_turns=True).rows("turns")
    rows = {**arrival, **rows, "wait_over_mean": rows["turns_wait_over_mean"]}
    rows |= measure_across_frames(engine, repeats=10)
    rows |= measure_devices(options.model, count=24)
    for name, value in rows.items():
        print(f"{name:40} {value:.3f}")
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
