"""The mission of planner.py as a behaviour tree: fetch a thing, close what stands open, and leave
the fridge in order.

The questions are the behaviours of chatspot_ros.py_trees; the rest of the tree is here. Nothing
blocks a tick, so that a robot's tree can put a stop button above it. Run it beside the kitchen and
the node, as planner.py says:

    python3 examples/planner_tree.py --fetch bottle --tidy

`--show` prints the tree and ends. Exit status: 0 all goals are reached, 1 the tree gave up; then
the tree is printed, with the reason beside each part.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import py_trees
import rclpy
from py_trees.behaviour import Behaviour
from py_trees.common import Status
from py_trees.composites import Selector
from py_trees.composites import Sequence as InOrder
from py_trees.decorators import Retry, SuccessIsRunning
from rclpy.executors import SingleThreadedExecutor

from chatspot_ros.operators.client import Ask
from chatspot_ros.py_trees import AskRegion, CheckState, FetchPlan
from chatspot_ros.ros.operator_client import RosOperatorClient

sys.path.append(str(Path(__file__).parent))  # Python's safe path leaves it out
from kitchen_behaviours import PLAN, RESULT, Act, Choose, Do, Gone, Mission, Survey
from kitchen_robot import (
    FETCH_QUESTIONS,
    NODE,
    POWER_QUESTIONS,
    Robot,
    effect_of,
    misses,
    own_plan,
    said,
    spin,
)

TICK_S = 0.05


def steps_of_plan(mission: Mission, timeout_s: float) -> Behaviour:
    """Return what does the steps on the blackboard, each until its effect is seen."""

    def all_done(do: Do) -> Status:
        return Status.FAILURE if do.board.get(PLAN) else Status.SUCCESS

    def begin(do: Do) -> Status:
        mission.step, mission.picked = do.board.get(PLAN)[0], None
        do.feedback_message = said(mission.step)
        return Status.SUCCESS

    def end(do: Do) -> Status:
        if mission.step is not None and mission.step.action == "pick":
            mission.handled.add(mission.step.target)
        do.board.set(PLAN, do.board.get(PLAN)[1:])
        return Status.SUCCESS

    one_step = InOrder("a step", memory=True, children=[
        Do("next step", begin),
        tried(mission, step_and_look(mission, timeout_s)),
        Do("step done", end),
    ])  # fmt: skip
    return Selector("all steps", memory=False, children=[
        Do("all done?", all_done), SuccessIsRunning("then the next", one_step),
    ])  # fmt: skip


def step_and_look(mission: Mission, timeout_s: float) -> Behaviour:
    """Return what does the mission's step and looks at its effect."""

    def target() -> str:
        assert mission.step is not None
        return mission.step.target

    def is_no_pick(_: Do) -> Status:
        is_pick = mission.step is not None and mission.step.action == "pick"
        return Status.FAILURE if is_pick else Status.SUCCESS

    def by_name(do: Do) -> Status:
        mission.places.pop(target(), None)
        mission.picked = None
        do.feedback_message = f"no {target()} is seen; it is acted on by its name"
        return Status.SUCCESS

    def shows_nothing(do: Do) -> Status:
        has_effect = mission.step is not None and bool(effect_of(mission.step))
        return Status.FAILURE if has_effect else Status.SUCCESS

    effect = CheckState(
        "does it show?", mission.client, mission.state_of(target),
        lambda: effect_of(mission.step) if mission.step else {},
        min_confidence=0.5, timeout_s=timeout_s, looks=mission.tries,
    )  # fmt: skip
    return InOrder("do and look", memory=True, children=[
        Selector("where?", memory=True, children=[
            Do("the place is known", is_no_pick),
            Choose(mission, timeout_s),
            Do("by its name", by_name),
        ]),
        Act(mission, timeout_s),
        Gone(mission),
        Selector("effect", memory=True, children=[
            Do("none to be seen", shows_nothing),
            InOrder("look", memory=True, children=[effect, keep_place(mission)]),
        ]),
    ])  # fmt: skip


def keep_place(mission: Mission) -> Behaviour:
    """Return what notes where the thing is that was asked about last."""

    def keep(do: Do) -> Status:
        for one in mission.found(do.board.get(RESULT).answers):
            mission.places[one.name] = one.position
            mission.first_places.setdefault(one.name, one.position)
        return Status.SUCCESS

    return Do("keep its place", keep)


def tried(mission: Mission, child: Behaviour) -> Behaviour:
    """Return what tries a child several times."""
    return Retry(f"{mission.tries} tries", child, num_failures=mission.tries)


def plan_and_do(
    mission: Mission, questions: Sequence[str], own: Callable[[dict[str, str]], list[Any]],
    timeout_s: float, content: str = "",
) -> list[Behaviour]:  # fmt: skip
    """Return what asks for a plan, by the next wording each time, and does it.

    Where all wordings led nowhere, `own` makes the plan of the state, with the robot's skills.
    """
    turns = iter(questions)
    wording = ""

    def is_models_turn(do: Do) -> Status:
        nonlocal wording
        wording = next(turns, "")
        do.feedback_message = wording or "the model's plans led nowhere"
        return Status.SUCCESS if wording else Status.FAILURE

    def plan_of_own(do: Do) -> Status:
        (answer,) = do.board.get(RESULT).answers
        do.board.set(PLAN, own({pair.key: pair.value for pair in answer.state}))
        return Status.SUCCESS

    def ask() -> Ask | None:
        return mission.ask((mission.thing,), wording, "plan")

    def what_is_left(do: Do) -> Status:
        steps = [one for one in do.board.get(PLAN) if one.target not in mission.handled]
        do.board.set(PLAN, steps)
        do.feedback_message = "; ".join(map(said, steps)) or "nothing to do"
        mission.say(f"plan: {do.feedback_message}")
        return Status.SUCCESS

    def fits(do: Do) -> Status:
        do.feedback_message = misses(do.board.get(PLAN), content, mission.handled)
        return Status.FAILURE if do.feedback_message else Status.SUCCESS

    look = AskRegion(
        "its state", mission.client, mission.state_of(lambda: mission.thing), timeout_s=timeout_s,
        if_unsure="look_again", looks=mission.tries,
    )  # fmt: skip
    plan = FetchPlan("plan", mission.client, ask, timeout_s=timeout_s, looks=mission.tries)
    models = [Do("a wording is left?", is_models_turn), plan]
    return [
        Selector("a plan", memory=True, children=[
            InOrder("by the model", memory=True, children=models),
            InOrder("by the robot's skills", memory=True, children=[look, Do("plan", plan_of_own)]),
        ]),
        keep_place(mission),
        Do("does it fit?", fits),
        Do("what is left to do", what_is_left),
        steps_of_plan(mission, timeout_s),
    ]  # fmt: skip


def fetch(mission: Mission, content: str, timeout_s: float) -> Behaviour:
    """Return what takes a thing out of the fridge."""
    questions = [one.format(content=content) for one in FETCH_QUESTIONS]

    def own(state: dict[str, str]) -> list[Any]:
        return own_plan(mission.thing, state, {}, content)

    children = plan_and_do(mission, questions, own, timeout_s, content)
    return tried(mission, InOrder(f"fetch the {content}", memory=True, children=children))


def tidy(mission: Mission, timeout_s: float) -> Behaviour:
    """Return what closes all that stands open, the nearest first."""
    survey = Survey(mission)

    def all_closed(do: Do) -> Status:
        if survey.rounds >= 4 * mission.tries:
            do.feedback_message = "it is not certain that all is closed"
            return Status.SUCCESS
        return Status.SUCCESS if survey.closed >= 2 else Status.FAILURE

    def nothing_to_close(_: Do) -> Status:
        return Status.SUCCESS if mission.step is None else Status.FAILURE

    close = Selector("close it", memory=True, children=[
        Do("nothing to close", nothing_to_close), step_and_look(mission, timeout_s),
    ])  # fmt: skip
    one_round = InOrder("a round", memory=True, children=[survey, close])
    return Selector("close what stands open", memory=False, children=[
        Do("all closed?", all_closed), SuccessIsRunning("again", tried(mission, one_round)),
    ])  # fmt: skip


def keep_in_order(mission: Mission, wanted: dict[str, str], timeout_s: float) -> Behaviour:
    """Return what looks whether the fridge is as wanted, and makes it so."""

    def look(name: str) -> Behaviour:
        return CheckState(
            name, mission.client, mission.state_of(lambda: mission.thing), wanted,
            min_confidence=0.5, only_told=True, timeout_s=timeout_s, looks=mission.tries,
        )  # fmt: skip

    def own(state: dict[str, str]) -> list[Any]:
        return own_plan(mission.thing, state, wanted, "")

    mend = [*plan_and_do(mission, POWER_QUESTIONS, own, timeout_s), look("now in order?")]
    return Selector("in order", memory=True, children=[
        look("in order?"), tried(mission, InOrder("mend", memory=True, children=mend)),
    ])  # fmt: skip


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line without ROS arguments (--ros-args ...)."""
    parser = argparse.ArgumentParser(description="Fetch and tidy, as a behaviour tree.")
    parser.add_argument("--thing", default="fridge", help="the watched thing, by the detector")
    parser.add_argument("--fetch", metavar="THING", help="first take this out of it")
    parser.add_argument("--tidy", action="store_true", help="also close all that stands open")
    parser.add_argument("--keep", default="door: closed, plug: in", metavar="STATE",
                        help="its wanted state (default: %(default)s)")  # fmt: skip
    parser.add_argument("--tries", type=int, default=3, help="per question, step and plan (3)")
    parser.add_argument("--patience", type=float, default=60.0, metavar="S",
                        help="longest wait for an answer or a report, in s (60)")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the tree and end")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(arguments)[1:])
    if options.tries < 1:
        parser.error(f"--tries must be 1 or more (got {options.tries})")
    return options


def make_tree(mission: Mission, options: argparse.Namespace) -> Behaviour:
    """Return the whole tree."""
    wanted = dict(pair.split(": ", 1) for pair in options.keep.split(", ") if pair)
    parts = [fetch(mission, options.fetch, options.patience)] if options.fetch else []
    parts += [tidy(mission, options.patience)] if options.tidy else []
    parts += [keep_in_order(mission, wanted, options.patience)] if wanted else []
    return InOrder("mission", memory=True, children=parts)


def tick_to_the_end(root: Behaviour) -> Status:
    """Tick until the tree succeeds or fails."""
    while True:
        root.tick_once()
        if root.status != Status.RUNNING:
            return root.status
        time.sleep(TICK_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tree; return the exit status."""
    arguments = sys.argv if arguments is None else arguments
    options = parse(arguments)
    rclpy.init(args=arguments)
    robot = Robot(options.patience)
    executor = SingleThreadedExecutor()
    executor.add_node(robot)
    threading.Thread(target=spin, args=(executor,), daemon=True).start()
    client = RosOperatorClient(f"{robot.get_namespace().rstrip('/')}/{NODE}")
    root = make_tree(Mission(robot, client, options.thing, options.tries), options)
    if options.show:
        print(py_trees.display.unicode_tree(root))
        return 0
    status = tick_to_the_end(root)
    client.close()
    if status == Status.SUCCESS:
        robot.get_logger().info("all is in order")
        return 0
    print(py_trees.display.unicode_tree(root, show_status=True), flush=True)
    robot.get_logger().error(f"gave up: {root.tip().feedback_message if root.tip() else ''}")
    return 1


if __name__ == "__main__":
    exit_status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # End at once: the shutdown of Fast DDS may wait long for other programs.
    os._exit(exit_status)
