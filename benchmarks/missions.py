"""Missions that a planner finishes: `python -m benchmarks.missions --count 100 --json FILE`.

Each mission is one of chatspot_sim.missions in the kitchen of another seed: take a thing out of the
fridge, leave the kitchen in order. Acts go wrong in a fifth of the cases (`--faults`): they fail,
slip without a word, or are reported late. The planners of examples/, plain and as a tree, each run
as a process of their own in the same kitchens, beside one kitchen, one detector and one node with
the bundled model. The end is judged by what is true in the simulator, never by the planner's
words. Row `missions_done`: the share of done missions, both planners together, with Wilson's 95 %
interval; `missions_done_plain` and `missions_done_tree` beside it, and what failed, by kind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from chatspot_ros.util.atomic_write import write_whole
from chatspot_ros.util.resources import share_folder
from chatspot_sim.inventory import Inventory
from chatspot_sim.missions import Mission, draw_missions, unmet
from chatspot_sim.processes import NodeProcesses, installed
from chatspot_train.evaluation.metrics.intervals import share

PLANNERS = {"plain": "planner.py", "tree": "planner_tree.py"}
NAMESPACE = "/missions"
READY_S, KITCHEN_S = 300.0, 60.0


@dataclass(frozen=True)
class Outcome:
    """How a mission went: what was not met by the simulator's truth, and what the planner said."""

    planner: str
    seed: int
    content: str
    unmet: tuple[str, ...]
    exit_status: int | None  # None: it was ended after its time
    seconds: float
    last_words: str

    @property
    def done(self) -> bool:
        """True if everything is as the mission wants it."""
        return not self.unmet


class Judge(Node):
    """Draws kitchens and hears what is true in them."""

    def __init__(self) -> None:
        super().__init__("judge", namespace=NAMESPACE)
        self._news = threading.Condition()
        self._newest: Inventory | None = None
        self._setter = self.create_client(SetParameters, "kitchen_camera/set_parameters")
        self.create_subscription(String, "kitchen/inventory", self._hear, 10)

    def _hear(self, message: String) -> None:
        with self._news:
            self._newest = Inventory.from_json(message.data)
            self._news.notify_all()

    def draw(self, seed: int) -> None:
        """Have the camera draw a kitchen, and wait until it is there. Raises TimeoutError."""
        # Another one first: the same seed again would leave the kitchen as it is.
        for value in (seed + 1, seed):
            self._set("seed", value)
        self.inventory(seed)

    def inventory(self, seed: int) -> Inventory:
        """Return what is true from now on in the kitchen of a seed. Raises TimeoutError."""
        now_ns = self.get_clock().now().nanoseconds

        def is_there() -> bool:
            newest = self._newest
            return newest is not None and newest.stamp_ns > now_ns and newest.seed == seed

        with self._news:
            if not self._news.wait_for(is_there, KITCHEN_S):
                raise TimeoutError(f"no kitchen of seed {seed} within {KITCHEN_S:.0f} s")
            assert self._newest is not None
            return self._newest

    def _set(self, name: str, value: Any) -> None:
        if not self._setter.wait_for_service(KITCHEN_S):
            raise TimeoutError("the kitchen takes no parameters")
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        for _ in range(5):  # a reply is lost if the camera has not yet discovered this client
            done = threading.Event()
            future = self._setter.call_async(request)
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(KITCHEN_S / 5):
                (result,) = future.result().results
                if not result.successful:
                    raise ValueError(f"{name} cannot be {value}: {result.reason}")
                return
        raise TimeoutError(f"the kitchen does not set {name}")


def run_mission(
    judge: Judge, mission: Mission, planner: str, tries: int, limit_s: float
) -> Outcome:
    """Draw the kitchen, let the planner work, and judge the end."""
    judge.draw(mission.seed)
    program = share_folder() / "examples" / PLANNERS[planner]
    command = [sys.executable, str(program), "--fetch", mission.content, "--tidy",
               "--tries", str(tries), "--ros-args", "-r", f"__ns:={NAMESPACE}"]  # fmt: skip
    began_s = time.monotonic()
    status: int | None = None
    try:
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s
        )
        status, output = ended.returncode, ended.stdout
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
    lines = [line for line in output.splitlines() if line.strip()]
    end = judge.inventory(mission.seed)
    return Outcome(
        planner, mission.seed, mission.content, tuple(unmet(mission, end)), status,
        time.monotonic() - began_s, "\n".join(lines[-12:]),
    )  # fmt: skip


@contextmanager
def kitchen_and_node(faults: float, logs: Path) -> Iterator[tuple[NodeProcesses, Judge]]:
    """Start the kitchen, its detector and the node with the bundled model, for all missions."""
    rclpy.init()
    judge = Judge()
    executor = SingleThreadedExecutor()
    executor.add_node(judge)
    threading.Thread(target=executor.spin, daemon=True).start()
    common = ("--ros-args", "-r", f"__ns:={NAMESPACE}")
    with NodeProcesses(logs) as nodes:
        started = [
            nodes.start("kitchen_camera", (*installed("kitchen_camera"), *common),
                        act_fault_rate=str(faults), rate="2.0", depth="16UC1"),
            nodes.start("kitchen_detector", (*installed("kitchen_detector"), *common)),
            nodes.start("region_query_node", (*installed("region_query_node"), *common),
                        threads="1", image_reliability="reliable", depth_images="raw"),
        ]  # fmt: skip
        for one in started:
            one.wait_ready(READY_S)
        yield nodes, judge
    executor.shutdown(timeout_sec=2.0)


def rows_of(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the rows of the benchmark."""
    rows: dict[str, Any] = {}
    for name in ("", *PLANNERS):
        chosen = [one for one in outcomes if name in ("", one.planner)]
        if chosen:
            row: dict[str, Any] = dict(share([one.done for one in chosen]))
            row["failed"] = dict(Counter(kind for one in chosen for kind in one.unmet))
            row["median_s"] = sorted(one.seconds for one in chosen)[len(chosen) // 2]
            rows[f"missions_done{'_' if name else ''}{name}"] = row
    return rows


def measure(options: argparse.Namespace, save: Callable[[list[Outcome]], None]) -> list[Outcome]:
    """Run all missions; `save` gets the outcomes after each."""
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory() as logs,
        kitchen_and_node(options.faults, Path(options.logs or logs)) as (nodes, judge),
    ):
        for mission in itertools.islice(draw_missions(options.first), options.count):
            for planner in options.only or PLANNERS:
                nodes.check()
                one = run_mission(judge, mission, planner, options.tries, options.limit)
                outcomes.append(one)
                print(f"{planner:5s} kitchen {one.seed}, {one.content}: "
                      f"{'done' if one.done else ', '.join(one.unmet)}; exit {one.exit_status}, "
                      f"{one.seconds:.0f} s", flush=True)  # fmt: skip
                if not one.done:
                    print("    " + one.last_words.replace("\n", "\n    "), flush=True)
                save(outcomes)
    return outcomes


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Missions that the planners of examples/ finish.")
    parser.add_argument("--count", type=int, default=100, help="missions of each planner (100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--only", action="append", choices=sorted(PLANNERS))
    parser.add_argument("--faults", type=float, default=0.2, help="share of acts (0.2)")
    parser.add_argument("--tries", type=int, default=4, help="of the planners (4)")
    parser.add_argument("--limit", type=float, default=600.0, metavar="S",
                        help="a planner is ended after so many seconds (600)")  # fmt: skip
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the nodes' logs there")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    options = parser.parse_args()
    if options.count < 1:
        parser.error(f"--count {options.count}: 1 at least")

    def save(outcomes: list[Outcome]) -> None:
        if options.json:
            found = {"rows": rows_of(outcomes), "missions": [asdict(one) for one in outcomes]}
            write_whole(options.json, json.dumps(found, indent=1) + "\n")

    rows = rows_of(measure(options, save))
    for key, row in rows.items():
        failed = ", ".join(f"{kind} {n}" for kind, n in row["failed"].items()) or "none"
        print(f"{key:20s} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}, n {row['n']}; "
              f"failed: {failed}; median {row['median_s']:.0f} s)")  # fmt: skip


if __name__ == "__main__":
    main()
