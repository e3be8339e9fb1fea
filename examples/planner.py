"""A planner that watches a fridge, and checks its own work.

It asks RegionQuery for the state of the fridge and for a plan in the robot's own skills, does the
steps one by one through KitchenAct, and looks at the effect of each. A step that failed, or has no
visible effect, is repeated, then planned anew; an uncertain answer is asked for again on a newer
picture. The number of tries is bounded: then the planner gives up and says why.

In four terminals, with the installed package:

    ros2 run chatspot_ros kitchen_camera
    ros2 run chatspot_ros kitchen_detector
    ros2 run chatspot_ros region_query_node
    python3 examples/planner.py --fetch bottle

Exit status: 0 all goals are reached, 1 the planner gave up, 2 no detections or no answers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration, Time
from chatspot_ros.msg import ActionStep, Region, RegionAnswer
from chatspot_ros.srv import KitchenAct, RegionQuery
from geometry_msgs.msg import Point32
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from vision_msgs.msg import Detection2D, Detection2DArray

State = dict[str, str]
NODE = "region_query_node"
ASKED = 2  # times: a reply is lost if the node has not yet discovered this client
STATE_QUESTION = "What is the state of this?"
# Wordings of one question: after a plan that failed the next one is asked.
FETCH_QUESTIONS = ("How do I take the {content} out of this?",
                   "Which steps take the {content} from <region>?")  # fmt: skip
POWER_QUESTIONS = ("How do I make this fridge run?", "Which steps give <region> power?")

# The state after a skill.
EFFECTS: dict[str, State] = {
    "open": {"door": "open", "drawer": "open"}, "close": {"door": "closed", "drawer": "closed"},
    "plug_in": {"plug": "in"}, "unplug": {"plug": "out"},
    "turn_on": {"burner": "on", "water": "running"},
    "turn_off": {"burner": "off", "water": "off"},
    "fill": {"contents": "full"}, "empty": {"contents": "empty"},
}  # fmt: skip


class GaveUpError(RuntimeError):
    """A goal was not reached; the message says what failed last."""


class UnsureError(GaveUpError):
    """No answer to a question was certain enough."""


class BlindError(RuntimeError):
    """No detections arrive, or a service does not answer."""


@dataclass(frozen=True)
class Sighting:
    """The stamp of a picture, and the box of a thing in its pixels."""

    stamp: Time
    region: Region


class Robot(Node):
    """Detections, questions and actions; its methods block while another thread spins it."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s` bounds the wait for a sighting, a service and an answer."""
        super().__init__("planner")
        self._patience_s = patience_s
        self._news = threading.Condition()
        self._seen: dict[str, Sighting] = {}
        self.create_subscription(Detection2DArray, "detections", self._on_detections, 10)
        self._query = self.create_client(RegionQuery, f"{NODE}/region_query")
        self._act = self.create_client(KitchenAct, "kitchen/act")

    def look(self, name: str, after_ns: int) -> Sighting:
        """Return the place of `name` in a picture after `after_ns`. Raises BlindError."""

        def is_newer() -> bool:
            return name in self._seen and to_ns(self._seen[name].stamp) > after_ns

        with self._news:
            if not self._news.wait_for(is_newer, self._patience_s):
                raise BlindError(f"no detector has seen a {name} for {self._patience_s:.0f} s")
            return self._seen[name]

    def ask(self, question: str, task: str, where: Sighting) -> RegionAnswer | None:
        """Ask about a sighting; return None without a certain answer. Raises BlindError."""
        request = RegionQuery.Request(question=question, task=task, stamp=where.stamp)
        request.regions = [where.region]
        request.timeout = Duration(sec=int(self._patience_s))
        reply = self._call(self._query, request, tries=ASKED)
        if reply.status != RegionQuery.Response.OK:
            self.get_logger().warning(f"{question!r}: {reply.message}")
            return None
        (answer,) = reply.answers
        if answer.uncertain:
            self.get_logger().warning(f"{question!r}: unsure of {answer.text!r}")
            return None
        return answer

    def act(self, step: ActionStep) -> tuple[bool, str]:
        """Do a step; return the robot's report: whether it was done, and a message."""
        reply = self._call(self._act, KitchenAct.Request(step=step))
        return reply.done, reply.message

    def now_ns(self) -> int:
        """Return the current time, on the clock of the pictures' stamps."""
        return int(self.get_clock().now().nanoseconds)

    def _call(self, client: Any, request: Any, tries: int = 1) -> Any:
        """Call a service; give more `tries` only to calls without effect. Raises BlindError."""
        if not client.wait_for_service(self._patience_s):
            raise BlindError(f"no node offers {client.srv_name}")
        for _ in range(tries):
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _, done=done: done.set())
            # Longer than the node's own timeout, so that its reply can say why there is no answer.
            if done.wait(self._patience_s + 5.0):
                return future.result()
            client.remove_pending_request(future)
            self.get_logger().warning(f"no reply from {client.srv_name}")
        raise BlindError(f"no answer from {client.srv_name} in {self._patience_s:.0f} s")

    def _on_detections(self, message: Detection2DArray) -> None:
        with self._news:
            # The highest score comes last and stays.
            for found in sorted(message.detections, key=score):
                name = found.results[0].hypothesis.class_id if found.results else ""
                self._seen[name] = Sighting(message.header.stamp, to_region(found))
            self._news.notify_all()


class Planner:
    """Reaches goals about one thing; `tries` bounds the repetitions of question, step and plan."""

    def __init__(self, robot: Robot, thing: str, tries: int) -> None:
        self._robot = robot
        self._thing = thing
        self._tries = tries
        self._changed_ns = 0  # older pictures show the state before the last act
        self._say = robot.get_logger().info
        self._warn = robot.get_logger().warning

    def state(self) -> State:
        """Return the thing's state by the model. Raises UnsureError, BlindError."""
        state = self._state_of(self._thing)
        self._say(f"{self._thing}: {to_text(state)}")
        return state

    def reach(self, questions: Sequence[str], wanted: State) -> None:
        """Plan and act until all steps are done and `wanted` is seen.

        `questions` ask for the plan, in turns. Raises GaveUpError, BlindError.
        """
        handled: set[str] = set()  # things in the hand
        problem = ""
        for attempt in range(1, self._tries + 1):
            question = questions[(attempt - 1) % len(questions)]
            try:
                plan = self._ask(question, "plan", self._thing).steps
                steps = [step for step in plan if step.target not in handled]
                self._say(f"plan {attempt}: {'; '.join(map(said, steps)) or 'nothing to do'}")
                problem = self._follow(steps, handled) or self._missing(wanted)
            except UnsureError as error:
                problem = str(error)
            if not problem:
                return
            self._warn(f"planning anew: {problem}")
        raise GaveUpError(f"{questions[0]!r} after {self._tries} plans: {problem}")

    def _missing(self, wanted: State) -> str:
        """Return the difference from `wanted` as text; empty if there is none."""
        if not wanted:
            return ""
        for _ in range(self._tries):
            state = self.state()
            if all(state.get(key) == value for key, value in wanted.items()):
                return ""
            self._changed_ns = self._robot.now_ns()  # look again, on a newer picture
        return f"{self._thing} should be {to_text(wanted)}, and is {to_text(state)}"

    def _follow(self, steps: Sequence[ActionStep], handled: set[str]) -> str:
        """Do the steps in order; return the problem, empty if there is none."""
        for step in steps:
            for _ in range(self._tries):
                problem = self._do(step)
                if not problem:
                    break
                self._warn(f"{said(step)}: {problem}")
            else:
                return f"{said(step)}: {problem}"
            if step.action == "pick":
                handled.add(step.target)
        return ""

    def _do(self, step: ActionStep) -> str:
        """Do a step and check its effect; return the problem, empty if there is none."""
        done, message = self._robot.act(step)
        self._changed_ns = self._robot.now_ns()
        if not done:
            return message
        self._say(f"{said(step)}: {message}")
        return self._not_seen(step)

    def _not_seen(self, step: ActionStep) -> str:
        """Look for a step's effect, several times; return the other state, empty if it is there."""
        if (effect := EFFECTS.get(step.action)) is None:
            return ""
        seen: State = {}
        for _ in range(self._tries):
            state = self._state_of(step.target)
            seen = {key: value for key, value in state.items() if key in effect}
            if seen and all(effect[key] == value for key, value in seen.items()):
                self._say(f"seen: {step.target} {to_text(seen)}")
                return ""
            self._changed_ns = self._robot.now_ns()
        if not seen:
            self._warn(f"{said(step)}: the picture does not show whether it worked; going on")
            return ""
        return f"it should now be seen, but {step.target} is {to_text(seen)}"

    def _state_of(self, name: str) -> State:
        return {pair.key: pair.value for pair in self._ask(STATE_QUESTION, "state", name).state}

    def _ask(self, question: str, task: str, name: str) -> RegionAnswer:
        """Ask on newer pictures until an answer is certain. Raises UnsureError, BlindError."""
        for _ in range(self._tries):
            where = self._robot.look(name, self._changed_ns)
            answer = self._robot.ask(question, task, where)
            if answer is not None and (answer.state or task != "state"):
                return answer
            self._changed_ns = to_ns(where.stamp)
        raise UnsureError(f"no sure answer to {question!r} in {self._tries} tries")


def to_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def score(found: Detection2D) -> float:
    """Return the highest score of a detection's hypotheses."""
    return max((float(result.hypothesis.score) for result in found.results), default=0.0)


def to_region(found: Detection2D) -> Region:
    """Return a detection's box by two corners."""
    x, y = found.bbox.center.position.x, found.bbox.center.position.y
    w, h = found.bbox.size_x / 2, found.bbox.size_y / 2
    corners = [Point32(x=x - w, y=y - h), Point32(x=x + w, y=y + h)]
    return Region(id=found.id, points=corners)


def to_text(state: State) -> str:
    """Return a state as `door: open, plug: in`."""
    return ", ".join(f"{key}: {value}" for key, value in state.items())


def said(step: ActionStep) -> str:
    """Return a step as `open fridge`."""
    return f"{step.action} {step.target}".strip()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line without ROS arguments (--ros-args ...)."""
    parser = argparse.ArgumentParser(description="Watch the fridge, and act.")
    parser.add_argument("--thing", default="fridge", help="the watched thing, by the detector")
    parser.add_argument("--fetch", metavar="THING", help="first take this out of it")
    parser.add_argument("--keep", default="door: closed, plug: in", metavar="STATE",
                        help="its wanted state (default: %(default)s)")  # fmt: skip
    parser.add_argument("--goal", action="append", metavar="QUESTION",
                        help="asks for a plan in another state; repeat it for wordings that are "
                        f"asked in turns (default: {' '.join(POWER_QUESTIONS)})")  # fmt: skip
    parser.add_argument("--tries", type=int, default=3, help="per question, step and plan (3)")
    parser.add_argument("--patience", type=float, default=60.0, metavar="S",
                        help="longest wait for a sighting or an answer, in s (60)")  # fmt: skip
    parser.add_argument("--watch", type=float, default=0.0, metavar="S",
                        help="time to watch, in s (0: until the state is as wanted)")  # fmt: skip
    options = parser.parse_args(rclpy.utilities.remove_ros_args(arguments)[1:])
    if options.tries < 1:
        parser.error(f"--tries must be 1 or more (got {options.tries})")
    return options


def run(planner: Planner, options: argparse.Namespace) -> None:
    """Fetch, then watch the thing's state and restore it."""
    wanted = dict(pair.split(": ", 1) for pair in options.keep.split(", ") if pair)
    if options.fetch:
        planner.reach([one.format(content=options.fetch) for one in FETCH_QUESTIONS], {})
    until_s = time.monotonic() + options.watch
    while True:
        state = planner.state()
        if any(state.get(key, value) != value for key, value in wanted.items()):
            seen = {key: value for key, value in wanted.items() if key in state}
            planner.reach(options.goal or POWER_QUESTIONS, seen)
        if time.monotonic() >= until_s:
            return
        time.sleep(1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the planner; return the exit status."""
    arguments = sys.argv if arguments is None else arguments
    options = parse(arguments)
    rclpy.init(args=arguments)
    robot = Robot(options.patience)
    executor = SingleThreadedExecutor()
    executor.add_node(robot)
    threading.Thread(target=spin, args=(executor,), daemon=True).start()
    try:
        run(Planner(robot, options.thing, options.tries), options)
    except GaveUpError as error:
        robot.get_logger().error(f"gave up: {error}")
        return 1
    except BlindError as error:
        robot.get_logger().error(f"cannot work: {error}")
        return 2
    robot.get_logger().info("all is in order")
    return 0


def spin(executor: SingleThreadedExecutor) -> None:
    """Spin until the program ends."""
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # End at once: the shutdown of Fast DDS may wait long for other programs.
    os._exit(status)
