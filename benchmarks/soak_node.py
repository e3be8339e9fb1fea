"""Mixed load on the node for minutes or hours: `python -m benchmarks.soak_node --minutes N`.

A camera, a detector, queries by service and action (one region, many, all detections,
conversations, own pictures, cancels, short timeouts, mistakes), clicks, the watch list and a
subscriber to the annotated picture, all at the same time. It prints the statuses and times of the
queries, and the resources of the node's process.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import rclpy
from builtin_interfaces.msg import Duration, Time
from chatspot_ros.action import AskRegion
from chatspot_ros.msg import RegionAnswers
from chatspot_ros.srv import RegionQuery
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from benchmarks.soak_camera import scene
from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import to_region_message
from chatspot_ros.util.atomic_write import write_whole
from chatspot_sim.processes import NodeProcesses, installed

NODE = "region_query_node"
PATIENCE_S = 120.0
# The caches fill during so many queries and this share of the time: that growth is no leak.
WARM_QUERIES = 100
WARM_SHARE = 0.3
MB = 1_000_000
# Small ones are full before the measurement begins. A conversation keeps its frame: 6 MB each at
# 1080p.
CACHES = {
    "small": {"scene_cache_mb": "64", "session_cache_mb": "16", "max_sessions": "4",
              "buffer_megabytes": "64"},
    "default": {},
}  # fmt: skip
STATUSES = {
    getattr(RegionQuery.Response, name): name
    for name in (
        *("OK", "BAD_REQUEST", "BAD_REGION", "BAD_IMAGE", "NO_IMAGE", "STALE_IMAGE"),
        *("FRAME_EXPIRED", "BUSY", "TIMEOUT", "CANCELLED", "NOT_ACTIVE", "MODEL_ERROR"),
        *("SMALL_TALK", "UNSUPPORTED", "COMMAND", "STOP"),
    )
}
# Kind of query -> its weight.
KINDS = {
    "one region": 8, "many regions": 2, "all detections": 2, "conversation": 3, "own picture": 2,
    "goal": 4, "cancelled goal": 2, "short of time": 1, "mistake": 2, "click": 1,
}  # fmt: skip
QUESTIONS = (
    ("What is this?", ""), ("Describe this.", "describe"), ("What is the state of this?", "state"),
    ("How do I open it?", "plan"), ("Where is the mug?", "locate"), ("What does it say?", "read"),
)  # fmt: skip


# --- queries --------------------------------------------------------------------------------------


class Load:
    """Keeps `in_flight` queries running, and records the end of each."""

    def __init__(self, size_wh: tuple[int, int], in_flight: int, seed: int) -> None:
        self.node = Node("soak")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self._random = random.Random(seed)
        self._size_wh = size_wh
        self._in_flight = in_flight
        self.ends: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.waiting: dict[int, str] = {}
        self.answered: Counter[str] = Counter()
        self._count = 0
        self._query = self.node.create_client(RegionQuery, f"{NODE}/region_query")
        self._goals = ActionClient(self.node, AskRegion, f"{NODE}/ask_region")
        self._clicks = self.node.create_publisher(Point, "click", QoSProfile(depth=10))
        # Of the node's caches, as it tells on /diagnostics: what is held -> MB.
        self.held_mb: dict[str, float] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note_held, 10)
        self.node.create_subscription(
            RegionAnswers, f"{NODE}/answers", self._note_answer, QoSProfile(depth=1000)
        )
        self.node.create_subscription(
            Image, f"{NODE}/annotated", lambda _: None, QoSProfile(depth=1), raw=True
        )
        photo = scene(np.random.default_rng(seed), 640, 480)
        self._jpeg = cv2.imencode(".jpg", photo)[1].tobytes()

    def wait_for_node(self) -> None:
        """Wait for the first answer about the camera. Raises TimeoutError."""
        until_s = time.monotonic() + PATIENCE_S
        if not self._query.wait_for_service(PATIENCE_S):
            raise TimeoutError("the node offers no service")
        while time.monotonic() < until_s:
            future = self._query.call_async(RegionQuery.Request(question="What is this?"))
            self.executor.spin_until_future_complete(future, 5.0)
            if future.done() and future.result().status == RegionQuery.Response.OK:
                self.answered.clear()
                return
            time.sleep(0.2)
        raise TimeoutError("the node never answered about a frame")

    def run(self, seconds: float, look: Callable[[], None]) -> None:
        """Ask for `seconds`, then wait for queries in flight; call `look` once a second."""
        end_s = time.monotonic() + seconds
        next_look_s = 0.0
        while (now_s := time.monotonic()) < end_s or (self.waiting and now_s < end_s + PATIENCE_S):
            if now_s >= next_look_s:
                next_look_s = now_s + 1.0
                look()
            while now_s < end_s and len(self.waiting) < self._in_flight:
                self._ask()
            self.executor.spin_once(timeout_sec=0.1)

    def _ask(self) -> None:
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "click":
            x, y = self._point()
            self._clicks.publish(Point(x=x, y=y))
            kind = "one region"
        self._count += 1
        number, began_s = self._count, time.monotonic()
        self.waiting[number] = kind

        def ended(status: str) -> None:
            if self.waiting.pop(number, None) is not None:
                self.ends[kind, status] += 1
                if status == "OK":
                    self.seconds[kind].append(time.monotonic() - began_s)

        if kind in ("goal", "cancelled goal"):
            self._send_goal(kind, ended)
        else:
            future = self._query.call_async(self._fill(RegionQuery.Request(), kind))
            future.add_done_callback(lambda future: ended(STATUSES[future.result().status]))

    def _send_goal(self, kind: str, ended: Callable[[str], None]) -> None:
        def on_result(future: Any) -> None:
            ended(STATUSES[future.result().result.status])

        def on_goal(future: Any) -> None:
            handle = future.result()
            handle.get_result_async().add_done_callback(on_result)
            if kind == "cancelled goal":
                handle.cancel_goal_async()

        goal = self._fill(AskRegion.Goal(), kind)
        self._goals.send_goal_async(goal).add_done_callback(on_goal)

    def _fill(self, request: Any, kind: str) -> Any:
        """Fill a request or goal with a query of a kind; return it."""
        choose = self._random
        request.question, request.task = choose.choice(QUESTIONS)
        count = {"many regions": 8, "all detections": 0}.get(kind, 1)
        request.regions = [to_region_message(self._region()) for _ in range(count)]
        if kind == "all detections":
            request.use_detections = True
        elif kind == "conversation":
            request.session = f"session {choose.randrange(8)}"
        elif kind == "own picture":
            request.image = CompressedImage(format="jpeg", data=self._jpeg)
            request.regions = [to_region_message(Region.box(10, 10, 300, 200))]
        elif kind == "short of time":
            request.timeout = Duration(nanosec=choose.randrange(1, 100_000_000))
        elif kind == "mistake":
            self._spoil(request)
        return request

    def _spoil(self, request: Any) -> None:
        match self._random.randrange(6):
            case 0:
                request.task = "dance"
            case 1:
                request.regions = [to_region_message(Region.point(float("nan"), 1.0))]
            case 2:
                request.image = CompressedImage(format="jpeg", data=self._jpeg[:1000])
            case 3:
                request.stamp = Time(sec=1)
            case 4:
                request.question = "x" * 5000
            case _:
                request.camera = "nowhere"

    def _point(self) -> tuple[float, float]:
        return tuple(self._random.uniform(0, side) for side in self._size_wh)  # type: ignore[return-value]

    def _region(self) -> Region:
        points = tuple(self._point() for _ in range(self._random.choice((1, 2, 2, 2, 5))))
        return Region(points)

    def _note_held(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for value in status.values:
                if value.key.endswith("held, MB"):
                    self.held_mb[value.key] = float(value.value)

    def _note_answer(self, message: RegionAnswers) -> None:
        self.answered[STATUSES[message.status]] += 1


# --- resources of the node ------------------------------------------------------------------------


class Held:
    """Memory, threads and file descriptors of the node's process, once a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        # Queries so far, resident memory in MB, threads, file descriptors, MB of the caches.
        self.rows: list[tuple[int, float, int, int, float]] = []

    def look(self, queries: int, caches_mb: float) -> None:
        """Record the present values."""
        with self._process.oneshot():
            held = self._process.memory_info().rss / MB
            threads, files = self._process.num_threads(), self._process.num_fds()
        self.rows.append((queries, held, threads, files, caches_mb))

    def summary(self) -> dict[str, dict[str, float]]:
        """Return first (with full caches), last and maximum of each, and the memory's slope."""
        rows = np.array(self.rows[self._warm() :], dtype=float)
        found = {
            name: {
                "value": float(column[-1]), "first": float(column[0]), "most": float(column.max()),
            }
            for name, column in zip(("memory_mb", "threads", "file_descriptors", "caches_mb"),
                                    rows[:, 1:].T, strict=True)
        }  # fmt: skip
        queries, memory = rows[:, 0], rows[:, 1]
        found["memory_mb_per_1000_queries"] = {
            "value": slope(queries, memory) * 1000, "n": float(np.ptp(queries)),
        }  # fmt: skip
        found["memory_beside_caches_mb_per_1000_queries"] = {
            "value": slope(queries, memory - rows[:, 4]) * 1000, "n": float(np.ptp(queries)),
        }  # fmt: skip
        # Resident memory at ten moments of the run: caches level off.
        moments = np.linspace(0, len(self.rows) - 1, 10).astype(int)
        found["memory_mb_then"] = {
            "value": self.rows[0][1],
            **{f"after_{self.rows[at][0]}": self.rows[at][1] for at in moments[1:]},
        }
        return found

    def _warm(self) -> int:
        """Return the first row with full caches; in a short run the row at WARM_SHARE."""
        share = int(len(self.rows) * WARM_SHARE)
        full = next((at for at, row in enumerate(self.rows) if row[0] >= WARM_QUERIES), 0)
        return max(share, full) if full < len(self.rows) * 2 / 3 else share


def slope(queries: np.ndarray, memory: np.ndarray) -> float:
    """Return the slope of memory over queries, by least squares."""
    return float(np.polyfit(queries, memory, 1)[0]) if np.ptp(queries) > 0 else 0.0


# --- the run --------------------------------------------------------------------------------------


def soak(
    minutes: float,
    size_wh: tuple[int, int],
    rate_hz: float,
    in_flight: int,
    seed: int,
    caches: str,
) -> dict[str, Any]:
    """Return all rows. Raises TimeoutError, chatspot_sim.processes.ProcessError."""
    width, height = size_wh
    camera: tuple[str, ...] = (sys.executable, "-m", "benchmarks.soak_camera")
    camera += ("--size", str(width), str(height), "--rate", str(rate_hz))
    with tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs)) as processes:
        node = processes.start(NODE, installed(NODE), watch="watch.yaml", **CACHES[caches])
        node.wait_ready(PATIENCE_S)
        processes.start("camera", camera).wait_ready(PATIENCE_S)
        load, held = Load(size_wh, in_flight, seed), Held(node.pid)
        load.wait_for_node()

        def look() -> None:
            processes.check()
            held.look(load.answered.total(), sum(load.held_mb.values()))

        load.run(60 * minutes, look)
        look()
    rows: dict[str, Any] = {
        "queries": {"value": load.ends.total(), "published": load.answered.total()},
        "without_status": {"value": len(load.waiting)},
    }
    for status, count in sorted(Counter(load.answered).items()):
        rows[f"status_{status}"] = {"value": count}
    for kind in (kind for kind in KINDS if kind in load.seconds):
        p50, p95, p99 = np.percentile(load.seconds[kind], (50, 95, 99))
        rows[f"seconds_{kind.replace(' ', '_')}"] = {
            "value": p50, "p95": p95, "p99": p99, "n": len(load.seconds[kind]),
        }  # fmt: skip
    return rows | held.summary()


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Put mixed load on the node and measure it.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", type=_size, default=(1920, 1080), help="of the camera: WxH")
    parser.add_argument("--rate", type=float, default=30.0, help="the camera's pictures a second")
    parser.add_argument("--in-flight", type=int, default=4, help="queries at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--caches", choices=tuple(CACHES), default="small", help="of the node")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    options, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    rows = soak(
        options.minutes, options.size, options.rate, options.in_flight, options.seed, options.caches
    )
    for key, row in rows.items():
        rest = ", ".join(f"{name} {value:.5g}" for name, value in row.items() if name != "value")
        print(f"{key:28s} {row['value']:10.5g}   {rest}")
    if options.json:
        write_whole(options.json, json.dumps({"rows": rows}, indent=1) + "\n")
    sys.exit(1 if rows["without_status"]["value"] else 0)


if __name__ == "__main__":
    main()
