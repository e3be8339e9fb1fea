"""The planners of examples/ in the simulated kitchen: what they do, also when things fail.

Everything is a process of its own; the model is replaced by an oracle, except where it is said.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chatspot_ros.msg import ActionStep
from chatspot_ros.srv import KitchenAct
from std_msgs.msg import String

from chatspot_sim.inventory import Inventory
from chatspot_sim.missions import draw_missions, unmet
from chatspot_sim.truth import Thing, Truth

ROOT = Path(__file__).resolve().parents[2]
PLANNER = (sys.executable, str(ROOT / "examples" / "planner.py"))
TREE = (sys.executable, str(ROOT / "examples" / "planner_tree.py"))
ORACLE = (sys.executable, str(Path(__file__).with_name("planner_oracle.py")))
CAMERA = (sys.executable, "-m", "chatspot_sim.kitchen_camera")
DETECTOR = (sys.executable, "-m", "chatspot_sim.kitchen_detector")
NODE = (sys.executable, "-m", "chatspot_ros.region_query_node")
BUNDLED_SEED, BUNDLED_CONTENT = 65, "bottle"
SEED = 64  # the fridge is closed, its plug out and to be seen, and holds a bottle
_namespaces = itertools.count()


def options(namespace: str, **values: Any) -> list[str]:
    given = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    return ["--ros-args", *given, "-r", f"__ns:={namespace}"]


class Kitchen:
    """A running kitchen: what is true of its fridge, and what a person in the room does."""

    def __init__(
        self, spawn: Callable[..., Any], ros: Any, settle: Any, seed: int = SEED, **camera: Any
    ) -> None:
        self.namespace = f"/kitchen_{next(_namespaces)}"
        self._spawn = spawn
        self._news = threading.Condition()
        self._truth: Truth | None = None
        self._inventory: Inventory | None = None
        ros.create_subscription(String, f"{self.namespace}/kitchen/truth", self._hear, 10)
        ros.create_subscription(String, f"{self.namespace}/kitchen/inventory", self._count, 10)
        self._act = ros.create_client(KitchenAct, f"{self.namespace}/kitchen/act")
        picture = {"width": 320, "height": 240, "rate": 4.0, **camera}
        values = options(self.namespace, seed=seed, **picture)
        started = [
            spawn(*CAMERA, *values),
            spawn(*DETECTOR, *options(self.namespace, miss_rate=0.0)),
        ]
        for process, name in zip(started, ("kitchen_camera", "kitchen_detector"), strict=True):
            process.wait_for(f"ready: {name}")
        settle(ros, f"{self.namespace}/kitchen_camera")

    def _hear(self, message: String) -> None:
        with self._news:
            self._truth = Truth.from_json(message.data)
            self._news.notify_all()

    def _count(self, message: String) -> None:
        with self._news:
            self._inventory = Inventory.from_json(message.data)
            self._news.notify_all()

    def wait_for_all(self, is_so: Callable[[Inventory], bool]) -> None:
        """Wait until something is true of the whole kitchen, seen or not."""
        with self._news:
            assert self._news.wait_for(
                lambda: self._inventory is not None and is_so(self._inventory), 60.0
            ), self._inventory

    def wait(self, is_so: Callable[[Thing], bool]) -> Truth:
        """Wait until something is true of the fridge."""

        def found() -> bool:
            return self._truth is not None and any(map(is_so, self._truth.of_kind("fridge")))

        with self._news:
            assert self._news.wait_for(found, 60.0), self._truth
            assert self._truth is not None
            return self._truth

    def do(self, action: str, target: str) -> None:
        assert self._act.wait_for_service(60.0)
        step = ActionStep(action=action, target=target)
        assert self._act.call(KitchenAct.Request(step=step), timeout_sec=60.0).done

    def plan(self, *arguments: str) -> Any:
        return self._spawn(*PLANNER, *arguments, *options(self.namespace))

    def tree(self, *arguments: str) -> Any:
        return self._spawn(*TREE, *arguments, *options(self.namespace))

    def oracle(self, manners: str = "right") -> Any:
        given = options(self.namespace, manners=manners)
        return self._spawn(*ORACLE, *given, ready="ready: region_query_node")

    def model(self) -> Any:
        """Start the node with the bundled model."""
        values = {"threads": 1, "image_reliability": "reliable", "depth_images": "raw"}
        given = options(self.namespace, **values)
        return self._spawn(*NODE, *given, ready="ready: region_query_node", timeout_s=110.0)


@pytest.fixture
def kitchen(spawn: Callable[..., Any], ros_node: Any, settle: Any) -> Callable[..., Kitchen]:
    return lambda *seed, **camera: Kitchen(spawn, ros_node, settle, *seed, **camera)


def in_order(thing: Thing) -> bool:
    return thing.state == {"door": "closed", "plug": "in"}


def assert_said(process: Any, *lines: str) -> None:
    """Each of these was printed, in this order."""
    for line in lines:
        process.wait_for(line)
    place = 0
    for line in lines:
        assert line in process.output[place:], f"{line!r} is not in\n{process.output[place:]}"
        place += process.output[place:].index(line) + len(line)


def test_it_fetches_then_puts_the_fridge_in_order_and_goes_on_watching(
    kitchen: Callable[..., Kitchen],
) -> None:
    room = kitchen()
    room.oracle()
    planner = room.plan("--fetch", "bottle", "--watch", "300")
    room.wait(in_order)
    planner.wait_for("seen: fridge plug: in")
    assert_said(
        planner,
        "plan 1: open fridge; pick bottle; close fridge",
        "open fridge: fridge_1 door: open",
        "seen: fridge door: open",
        "pick bottle: picked bottle",
        "seen: fridge door: closed",
        "plan 1: plug_in fridge",
        "plug_in fridge: fridge_1 plug: in",
    )
    # A person comes by: it is noticed, and put right.
    lines = len(planner.lines)
    room.do("open", "fridge")
    planner.wait_for("plan 1: close fridge", 60.0, after=lines)
    planner.wait_for("seen: fridge door: closed", 60.0, after=lines)
    room.wait(in_order)
    assert planner.returncode is None


def test_a_step_that_fails_or_slips_is_seen_and_done_again(
    kitchen: Callable[..., Kitchen],
) -> None:
    """The robot says that it opened the door, and did not; then that it could not pick."""
    room = kitchen(act_faults="slips works fails")
    room.oracle()
    planner = room.plan("--fetch", "bottle")
    assert planner.wait(120.0) == 0, planner.output
    assert_said(
        planner,
        "open fridge: open fridge: done",
        "open fridge: it should now be seen, but fridge is door: closed",
        "open fridge: fridge_1 door: open",
        "seen: fridge door: open",
        "pick bottle: the gripper slipped off",
        "pick bottle: picked bottle",
        "all is in order",
    )
    truth = room.wait(in_order)
    assert not truth.of_kind("bottle") or all(t.inside == "" for t in truth.of_kind("bottle"))


def test_answers_that_are_unsure_wrong_or_missing_are_asked_for_again(
    kitchen: Callable[..., Kitchen],
) -> None:
    room = kitchen()
    room.oracle("unsure busy right lies lies right")
    planner = room.plan("--tries", "4")
    assert planner.wait(120.0) == 0, planner.output
    assert_said(planner, "unsure of", "too much waits already", "all is in order")
    room.wait(in_order)


def test_a_reply_that_never_comes_is_asked_for_again(kitchen: Callable[..., Kitchen]) -> None:
    room = kitchen()
    room.oracle("silent right")
    planner = room.plan("--patience", "10")
    assert planner.wait(120.0) == 0, planner.output
    assert_said(planner, "no reply from", "all is in order")


def test_a_plan_that_does_nothing_is_made_anew(kitchen: Callable[..., Kitchen]) -> None:
    room = kitchen()
    room.oracle("right lies")
    planner = room.plan("--tries", "2")
    assert planner.wait(120.0) == 0, planner.output
    assert_said(
        planner,
        "plan 1: nothing to do",
        "planning anew: fridge should be",
        "plan 2: plug_in fridge",
        "all is in order",
    )
    room.wait(in_order)


def test_it_gives_up_after_so_many_tries_and_says_why(kitchen: Callable[..., Kitchen]) -> None:
    room = kitchen(act_faults=" ".join(["fails"] * 100))
    room.oracle()
    planner = room.plan("--fetch", "bottle", "--tries", "2")
    assert planner.wait(120.0) == 1, planner.output
    assert_said(planner, "gave up: ", "after 2 plans: open fridge: the gripper slipped off")
    acts = [line for line in planner.lines if "open fridge: the gripper slipped off" in line]
    assert len(acts) == 2 * 2 + 2 + 1  # each try, each plan, and the end
    assert room.wait(lambda fridge: fridge.state["door"] == "closed")


def test_who_sees_nothing_or_finds_nobody_says_so(kitchen: Callable[..., Kitchen]) -> None:
    room = kitchen()
    blind = room.plan("--thing", "zebra", "--patience", "1")
    alone = room.plan("--patience", "2")
    assert blind.wait() == 2
    assert_said(blind, "cannot work: no detector has seen a zebra")
    assert alone.wait() == 2
    if "no detector has seen a fridge" in alone.output:  # on a busy machine
        alone = room.plan("--patience", "30")
        assert alone.wait() == 2
    assert_said(alone, "cannot work: no node offers")
    assert "region_query" in alone.output


def test_the_tree_fetches_and_tidies_though_acts_slip_fail_and_are_late(
    kitchen: Callable[..., Kitchen],
) -> None:
    room = kitchen(act_faults="slips late fails works slips", act_late_s=1.0)
    room.oracle()
    tree = room.tree("--fetch", "bottle", "--tidy")
    assert tree.wait(200.0) == 0, tree.output
    assert_said(
        tree,
        "plan: open fridge; pick bottle; close fridge",
        "open fridge: open fridge: done",  # it slipped
        "open fridge: fridge_1 door: open",  # late
        "pick bottle: the gripper slipped off",
        "pick bottle: picked bottle",
        "close fridge: close fridge: done",  # it slipped
        "close fridge: fridge_1 door: closed",
        "plan: plug_in fridge",
        "all is in order",
    )
    room.wait(in_order)
    room.wait_for_all(lambda all_of_it: any(one.inside == "hand" for one in all_of_it.things))


def test_the_tree_gives_up_and_shows_where(kitchen: Callable[..., Kitchen]) -> None:
    room = kitchen(act_fault_rate=0.0, act_faults=" ".join(["fails"] * 100))
    room.oracle()
    tree = room.tree("--fetch", "bottle", "--tries", "2")
    assert tree.wait(200.0) == 1, tree.output
    assert_said(tree, "fetch the bottle", "gave up: ")
    assert "the gripper slipped off" in tree.output


def test_the_tree_is_shown_without_a_robot(spawn: Callable[..., Any]) -> None:
    shown = spawn(*TREE, "--show", "--fetch", "bottle", "--tidy")
    assert shown.wait(60.0) == 0
    assert_said(shown, "mission", "fetch the bottle", "close what stands open", "in order")


def test_a_model_that_plans_nothing_is_helped_by_the_robots_own_skills(
    kitchen: Callable[..., Kitchen],
) -> None:
    room = kitchen()
    room.oracle("right lies right right right lies")  # a plan is looked at three times
    planner = room.plan("--tries", "3")
    assert planner.wait(120.0) == 0, planner.output
    assert_said(
        planner,
        "plan 1: nothing to do",
        "plan 2: nothing to do",
        "planning with the robot's skills",
        "plan 3: plug_in fridge",
        "all is in order",
    )
    room.wait(in_order)


@pytest.mark.parametrize("program", [PLANNER, TREE], ids=["plain", "tree"])
def test_a_plan_that_does_not_fetch_what_was_asked_for_is_not_followed(
    kitchen: Callable[..., Kitchen], spawn: Callable[..., Any], program: tuple[str, ...]
) -> None:
    room = kitchen()
    room.oracle("lies lies")
    planner = spawn(*program, "--fetch", "bottle", *options(room.namespace))
    assert planner.wait(120.0) == 0, planner.output
    assert_said(planner, "open fridge; pick bottle; close fridge", "pick bottle: picked bottle")
    room.wait_for_all(lambda all_of_it: any(one.inside == "hand" for one in all_of_it.things))
    room.wait(in_order)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("program", [PLANNER, TREE], ids=["plain", "tree"])
def test_the_bundled_model_does_a_mission_by_positions(
    kitchen: Callable[..., Kitchen], spawn: Callable[..., Any], program: tuple[str, ...]
) -> None:
    """The whole path: the node with chatspot-tiny sees, says where, plans, and tells what has
    become of it, while acts go wrong. A kitchen that it does well on."""
    mission = next(draw_missions(BUNDLED_SEED))
    assert (mission.seed, mission.content) == (BUNDLED_SEED, BUNDLED_CONTENT)
    # Few and small messages: a busy machine has little time for a kitchen and a model.
    picture = {"width": 640, "height": 480, "rate": 2.0, "depth": "16UC1"}
    room = kitchen(BUNDLED_SEED, **picture, act_fault_rate=0.3, act_late_s=1.0)
    room.model()
    goals = ("--fetch", BUNDLED_CONTENT, "--tidy", "--tries", "5")
    planner = spawn(*program, *goals, *options(room.namespace))
    assert planner.wait(300.0) == 0, planner.output
    assert_said(planner, "the one 0.", f"pick {BUNDLED_CONTENT}: picked", "all is in order")
    room.wait_for_all(lambda all_of_it: not unmet(mission, all_of_it))


@pytest.mark.parametrize(("words", "named"), [("breaks", "breaks"), ("works, topples", "topples")])
def test_an_unknown_fault_is_refused(spawn: Callable[..., Any], words: str, named: str) -> None:
    process = spawn(*CAMERA, *options("/faulty", act_faults=words))
    assert process.wait(60.0) == 1
    assert "act_faults has an unknown word" in process.output
    assert named in process.output
