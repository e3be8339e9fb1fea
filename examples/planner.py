"""A planner that fetches a thing, leaves everything in order, and checks its own work.

It asks RegionQuery for states and for a plan in the robot's own skills, does the steps one by one
through KitchenAct, and looks at the effect of each. What it acts on it picks by `position`: of
several things of a name the nearest, to the fridge for what is taken out of it, to the robot for
what stands open. A step that failed, or has no visible effect, is repeated, then planned anew; an
uncertain answer is asked for again on a newer picture. The number of tries is bounded: then the
planner gives up and says why. planner_tree.py does the same as a behaviour tree.

In four terminals, with the installed package:

    ros2 run chatspot_ros kitchen_camera
    ros2 run chatspot_ros kitchen_detector
    ros2 run chatspot_ros region_query_node
    python3 examples/planner.py --fetch bottle --tidy

Exit status: 0 all goals are reached, 1 the planner gave up, 2 no detections or no answers.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from chatspot_ros.msg import ActionStep
from geometry_msgs.msg import PointStamped
from rclpy.executors import SingleThreadedExecutor

sys.path.append(str(Path(__file__).parent))  # Python's safe path leaves it out
from kitchen_robot import (
    CUPBOARDS,
    EFFECTS,
    FETCH_QUESTIONS,
    NAME_QUESTION,
    POWER_QUESTIONS,
    STATE_QUESTION,
    BlindError,
    Found,
    Robot,
    Sighting,
    State,
    effect_of,
    misses,
    own_plan,
    said,
    same_place,
    spin,
    to_ns,
    to_text,
)  # fmt: skip


class GaveUpError(RuntimeError):
    """A goal was not reached; the message says what failed last."""


class UnsureError(GaveUpError):
    """No answer to a question was certain enough."""


class Planner:
    """Reaches goals about one thing; `tries` bounds the repetitions of question, step and plan."""

    def __init__(self, robot: Robot, thing: str, tries: int) -> None:
        self._robot = robot
        self._thing = thing
        self._tries = tries
        self._changed_ns = 0  # older pictures show the state before the last act
        self._places: dict[str, PointStamped] = {}  # of things by name, as the last answer has it
        self._first_places: dict[str, PointStamped] = {}  # before a door swung open
        self._say = robot.get_logger().info
        self._warn = robot.get_logger().warning

    def state(self) -> State:
        """Return the thing's state by the model. Raises UnsureError, BlindError."""
        state = self._ask(STATE_QUESTION, "state", self._thing).state
        self._say(f"{self._thing}: {to_text(state)}")
        return state

    def reach(self, questions: Sequence[str], wanted: State, content: str = "") -> None:
        """Plan and act until all steps are done and `wanted` is seen.

        `questions` ask for the plan, one after the other; where all led nowhere, the robot's own
        skills make it, to `wanted` or to have `content`. Raises GaveUpError, BlindError.
        """
        handled: set[str] = set()  # things in the hand
        problem = ""
        for attempt in range(1, self._tries + 1):
            try:
                if attempt <= len(questions):
                    question = questions[attempt - 1]
                    plan = list(self._ask(question, "plan", self._thing).answer.steps)
                else:
                    self._say("the model's plans led nowhere: planning with the robot's skills")
                    plan = own_plan(self._thing, self.state(), wanted, content)
                steps = [step for step in plan if step.target not in handled]
                self._say(f"plan {attempt}: {'; '.join(map(said, steps)) or 'nothing to do'}")
                problem = (
                    misses(plan, content, handled)
                    or self._follow(steps, handled)
                    or self._missing(wanted)
                )
            except UnsureError as error:
                problem = str(error)
            if not problem:
                return
            self._warn(f"planning anew: {problem}")
        raise GaveUpError(f"{questions[0]!r} after {self._tries} plans: {problem}")

    def tidy(self) -> None:
        """Close what stands open, the nearest first. Raises GaveUpError, BlindError."""
        closed = 0  # pictures in a row that show nothing open: a detector misses things
        problem = ""
        for _ in range(self._tries * len(CUPBOARDS)):
            things = self._robot.look(self._changed_ns, CUPBOARDS)
            self._changed_ns = to_ns(things[0].stamp)
            found = self._robot.ask(STATE_QUESTION, "state", things)
            standing_open = [one for one in found if "open" in one.state.values()]
            closed = 0 if standing_open or len(found) < len(things) else closed + 1
            if closed == 2:
                return
            if standing_open:
                nearest = min(standing_open, key=Found.distance_to)
                self._say(f"open: {', '.join(one.name for one in standing_open)}; "
                          f"nearest: {nearest.name}, {nearest.distance_to():.2f} m")  # fmt: skip
                self._places[nearest.name] = nearest.position
                problem = self._do(ActionStep(action="close", target=nearest.name))
                if problem:
                    self._warn(f"close {nearest.name}: {problem}")
        if problem:
            raise GaveUpError(f"not all is closed: {problem}")
        self._warn("it is not certain that all is closed")

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
        picked = self._choose(step.target) if step.action == "pick" else None
        place = picked.position if picked else self._places.get(step.target, PointStamped())
        done, message = self._robot.act(step, place)
        self._changed_ns = self._robot.now_ns()
        if not done:
            return message
        self._say(f"{said(step)}: {message}")
        if picked and self._is_still_there(picked.sighting):
            return f"the {step.target} should be gone, and is still there"
        return self._not_seen(step) if step.action in EFFECTS else ""

    def _choose(self, name: str) -> Found | None:
        """Return, of the things of a name, the one nearest to the planner's thing; None: unseen."""
        for _ in range(self._tries):
            seen = self._robot.look(self._changed_ns)
            self._changed_ns = to_ns(seen[0].stamp)
            named = [one for one in seen if one.name == name]
            found = self._robot.ask(NAME_QUESTION, "", named) if named else []
            if found:
                near = self._first_places.get(self._thing)
                chosen = min(found, key=lambda one: one.beside(near))
                self._say(f"of {len(found)} {name}: the one {chosen.beside(near):.2f} m from "
                          f"the {self._thing}")  # fmt: skip
                return chosen
        self._warn(f"no {name} is seen; it is acted on by its name")
        return None

    def _is_still_there(self, before: Sighting) -> bool:
        """Look in two newer pictures: a detector misses things."""
        for _ in range(2):
            seen = self._robot.look(self._changed_ns)
            if any(o.name == before.name and same_place(o.region, before.region) for o in seen):
                return True
            self._changed_ns = to_ns(seen[0].stamp)
        return False

    def _not_seen(self, step: ActionStep) -> str:
        """Look for a step's effect, several times; return the other state, empty if it is there."""
        effect = effect_of(step)
        for _ in range(self._tries if effect else 0):
            state = self._ask(STATE_QUESTION, "state", step.target).state
            seen = {key: state[key] for key in effect if key in state}
            if seen and seen == effect:
                self._say(f"seen: {step.target} {to_text(seen)}")
                return ""
            self._changed_ns = self._robot.now_ns()
        if not effect or not seen:
            self._warn(f"{said(step)}: the picture does not show whether it worked; going on")
            return ""
        return f"it should now be seen, but {step.target} is {to_text(seen)}"

    def _ask(self, question: str, task: str, name: str) -> Found:
        """Ask on newer pictures until an answer is certain; of several things about the one at the
        last place of that name, else the nearest. Raises UnsureError, BlindError."""
        for _ in range(self._tries):
            things = self._robot.look(self._changed_ns, (name,))
            found = self._robot.ask(question, task, things)
            found = [one for one in found if one.state or task != "state"]
            if found:
                near = self._places.get(name)
                chosen = min(found, key=lambda one: one.distance_to(near))
                self._places[name] = chosen.position
                self._first_places.setdefault(name, chosen.position)
                return chosen
            self._changed_ns = to_ns(things[0].stamp)
        raise UnsureError(f"no sure answer to {question!r} in {self._tries} tries")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line without ROS arguments (--ros-args ...)."""
    parser = argparse.ArgumentParser(description="Fetch, tidy, watch the fridge.")
    parser.add_argument("--thing", default="fridge", help="the watched thing, by the detector")
    parser.add_argument("--fetch", metavar="THING", help="first take this out of it")
    parser.add_argument("--keep", default="door: closed, plug: in", metavar="STATE",
                        help="its wanted state (default: %(default)s)")  # fmt: skip
    parser.add_argument("--goal", action="append", metavar="QUESTION",
                        help="asks for a plan in another state; repeat it for more wordings "
                        f" (default: {' '.join(POWER_QUESTIONS)})")  # fmt: skip
    parser.add_argument("--tidy", action="store_true", help="also close all that stands open")
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
    """Fetch, tidy, then watch the thing's state and restore it."""
    wanted = dict(pair.split(": ", 1) for pair in options.keep.split(", ") if pair)
    if options.fetch:
        questions = [one.format(content=options.fetch) for one in FETCH_QUESTIONS]
        planner.reach(questions, {}, options.fetch)
    if options.tidy:
        planner.tidy()
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


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # End at once: the shutdown of Fast DDS may wait long for other programs.
    os._exit(status)
