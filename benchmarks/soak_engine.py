"""Memory of the engine over thousands of mixed queries.

`python -m benchmarks.soak_engine [--queries 5000] [--model models/chatspot-tiny] [--json FILE]`.
Single questions, questions about all detections, conversations, states and plans; known and new
frames, cancels, passed deadlines, regions outside the picture, bursts that overflow the queue. The
seed alone determines the queries.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.queries import Desk, Frame, noise
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question
from chatspot_ros.errors import BusyError, ChatspotError
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.settings import Settings
from chatspot_ros.util.process_memory import process_bytes

FRAMES = 60
SIZE = (320, 240)
# Queries between two readings of the memory, and queries in flight.
EVERY = 100
AT_A_TIME = 6
MB = 1_000_000
# Small caches fill early.
SETTINGS = Settings(queue_size=8, scene_cache_mb=64, session_cache_mb=16, max_new_tokens=16)
TEXTS = ("What is this?", "What colour is it?", "And this?", "Is it open?", "Describe this.")


class Soak:
    """Asks the queries and counts their statuses."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.desk = Desk(engine, settings=SETTINGS)
        self.statuses: Counter[str] = Counter()
        self.memory_mb: list[float] = []
        self._rng = np.random.default_rng(seed)
        self._frames: list[Frame] = [noise(k, *SIZE) for k in range(8)]
        self._free = threading.Semaphore(AT_A_TIME)

    def run(self, queries: int) -> None:
        """Submit the queries, and wait for the end of all."""
        for number in range(queries):
            if number % EVERY == 0:
                self._look()
            if number % 50 == 49:
                # As a camera does, replace an old frame by a new one.
                place = int(self._rng.integers(len(self._frames)))
                self._frames[place] = noise(100 + number % FRAMES, *SIZE)
            if number % 97:
                self._free.acquire()
                self._ask(number, True)
            else:
                burst = [self._ask(number, False) for _ in range(2 * AT_A_TIME)]
                for handle in burst:
                    if handle is not None:
                        handle.wait()
        for _ in range(AT_A_TIME):
            self._free.acquire()
        self._look()

    def _ask(self, number: int, counted: bool) -> Any:
        """Submit a query; return its job, None if the queue is full."""
        rng = self._rng
        kind = int(rng.integers(10))
        frame = self._frames[int(rng.integers(len(self._frames)))]
        count = int(rng.integers(4, 13)) if kind < 2 else 1
        asks = [self._one() for _ in range(count)]
        if kind == 2 and number % 5 == 0:
            asks = [Question("What is this?", (Region.box(5000, 5000, 6000, 6000),))]
        more: dict[str, Any] = {"sweep": kind < 2}
        if kind in (3, 4, 5):
            name = int(rng.integers(6))
            more["session"], frame = f"s{name}", self._frames[name]
        if kind == 6:
            more["task"] = ("state", "plan")[number % 2]
        if kind == 7 and number % 3 == 0:
            more["timeout_s"] = 0.01

        def on_end(pending: InflightRequest, error: ChatspotError | None) -> None:
            self.statuses["OK" if error is None else error.status] += 1
            if counted:
                self._free.release()

        try:
            handle = self.desk.ask(frame, asks, on_end, **more)
        except BusyError as error:
            self.statuses[error.status] += 1
            if counted:
                self._free.release()
            return None
        if kind == 8 and number % 2:
            handle.cancel()
        return handle

    def _one(self) -> Question:
        x, y = self._rng.uniform(0, SIZE[0] / 2), self._rng.uniform(0, SIZE[1] / 2)
        text = TEXTS[int(self._rng.integers(len(TEXTS)))]
        return Question(text, (Region.box(x, y, x + SIZE[0] / 3, y + SIZE[1] / 3),))

    def _look(self) -> None:
        gc.collect()
        self.memory_mb.append((process_bytes() or 0) / MB)
        seen = len(self.memory_mb) - 1
        if seen % 5 == 0:
            said = ", ".join(f"{status} {count}" for status, count in sorted(self.statuses.items()))
            print(f"{seen * EVERY:6d} queries: {self.memory_mb[-1]:.0f} MB; {said}", flush=True)


def slope(memory_mb: list[float]) -> float:
    """Return MB per 1,000 queries: the slope of a line through the second half of the readings."""
    late = memory_mb[len(memory_mb) // 2 :]
    if len(late) < 2:
        return 0.0
    return float(np.polyfit(np.arange(len(late)) * EVERY / 1000, late, 1)[0])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Soak the engine and its scheduler.")
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--model", default="models/chatspot-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    soak = Soak(Engine.load(options.model, device="cpu", skills=("open", "pick")), options.seed)
    began_s = time.monotonic()
    soak.run(options.queries)
    seconds = time.monotonic() - began_s
    stopped = soak.desk.worker.stop()
    memory_mb = soak.memory_mb
    quarter = memory_mb[len(memory_mb) // 4]
    print(f"{options.queries} queries in {seconds:.0f} s; the thread ended: {stopped}")
    print("statuses: " + ", ".join(f"{k} {n}" for k, n in sorted(soak.statuses.items())))
    print(f"memory, MB: first {memory_mb[0]:.0f}, after a quarter {quarter:.0f}, "
          f"last {memory_mb[-1]:.0f}, most {max(memory_mb):.0f}; "
          f"{slope(memory_mb):+.2f} per 1,000 queries in the second half")  # fmt: skip
    if options.json:
        rows = {
            "queries": options.queries, "seconds": seconds, "memory_first_mb": memory_mb[0],
            "memory_last_mb": memory_mb[-1], "memory_slope_mb_per_1000": slope(memory_mb),
        }  # fmt: skip
        found = {"rows": {key: {"value": value} for key, value in rows.items()},
                 "statuses": dict(soak.statuses), "memory_mb": memory_mb}  # fmt: skip
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
