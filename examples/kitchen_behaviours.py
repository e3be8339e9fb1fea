"""The parts of planner_tree.py's tree: what they share, what acts, what looks, what chooses."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatspot_ros.msg import ActionStep
from geometry_msgs.msg import PointStamped
from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status

from chatspot_ros.operators.client import Ask
from chatspot_ros.py_trees import AskRegion
from chatspot_ros.ros.conversions import to_region
from chatspot_ros.ros.operator_client import RosOperatorClient

sys.path.append(str(Path(__file__).parent))  # Python's safe path leaves it out
from kitchen_robot import (
    CUPBOARDS,
    NAME_QUESTION,
    STATE_QUESTION,
    Found,
    Robot,
    Sighting,
    said,
    same_place,
    to_ns,
)  # fmt: skip

RESULT, PLAN = "region_result", "plan"


class Mission:
    """What the parts of the tree share: the step to do, where things are, what was asked about."""

    def __init__(self, robot: Robot, client: RosOperatorClient, thing: str, tries: int) -> None:
        self.robot, self.client, self.thing, self.tries = robot, client, thing, tries
        self.say = robot.get_logger().info
        self.changed_ns = 0  # older pictures show the state before the last act, or were asked of
        self.places: dict[str, PointStamped] = {}
        self.first_places: dict[str, PointStamped] = {}  # before a door swung open
        self.step: ActionStep | None = None
        self.picked: Sighting | None = None
        self.handled: set[str] = set()  # things in the hand
        self.asked: list[Sighting] = []

    def ask(self, names: Sequence[str], question: str, task: str, *, all_of_them: bool = False
            ) -> Ask | None:  # fmt: skip
        """Return a question about things in a new picture; None until there is one."""
        seen = self.robot.seen_after(self.changed_ns, names)
        if not seen:
            return None
        self.asked = seen if all_of_them else seen[:1]
        self.changed_ns = to_ns(seen[0].stamp)
        regions = tuple(to_region(one.region) for one in self.asked)
        return Ask(question, regions, stamp_ns=self.changed_ns, task=task)

    def state_of(self, name: Callable[[], str]) -> Callable[[], Ask | None]:
        """Return what asks for the state of a thing."""
        return lambda: self.ask((name(),), STATE_QUESTION, "state")

    def found(self, answers: Sequence[Any]) -> list[Found]:
        """Return the things that were asked about with their certain answers."""
        pairs = zip(self.asked, answers, strict=True)
        return [Found(one.name, answer, one) for one, answer in pairs if not answer.uncertain]


class Do(Behaviour):
    """Calls a function at the first tick, and at each one after while it returns RUNNING."""

    def __init__(self, name: str, function: Callable[[Do], Status]) -> None:
        super().__init__(name)
        self._function = function
        self.board = self.attach_blackboard_client()
        for key in (PLAN, RESULT):
            self.board.register_key(key, access=Access.WRITE)

    def update(self) -> Status:
        return self._function(self)


class Act(Behaviour):
    """Does the mission's step at the place of its target; SUCCESS when it is reported done."""

    def __init__(self, mission: Mission, timeout_s: float) -> None:
        super().__init__("act")
        self._mission = mission
        self._timeout_s = timeout_s
        self._report: Any = None
        self._until_s = 0.0

    def initialise(self) -> None:
        self._report = None
        self._until_s = time.monotonic() + self._timeout_s

    def update(self) -> Status:
        mission, step = self._mission, self._mission.step
        assert step is not None
        if self._report is None:
            self.feedback_message = f"begins to {said(step)}"
            place = mission.places.get(step.target, PointStamped())
            self._report = mission.robot.begin_act(step, place)
        elif self._report.done():
            mission.changed_ns = mission.robot.now_ns()
            report = self._report.result()
            self.feedback_message = f"{said(step)}: {report.message}"
            mission.say(self.feedback_message)
            return Status.SUCCESS if report.done else Status.FAILURE
        if time.monotonic() > self._until_s:
            self.feedback_message = f"{said(step)}: no report in {self._timeout_s:g} s"
            return Status.FAILURE
        return Status.RUNNING


class Gone(Behaviour):
    """SUCCESS when two newer pictures do not show what was picked; a detector misses things."""

    def __init__(self, mission: Mission) -> None:
        super().__init__("is it gone?")
        self._mission = mission
        self._pictures = 0

    def initialise(self) -> None:
        self._pictures = 0

    def update(self) -> Status:
        picked = self._mission.picked
        if picked is None:
            return Status.SUCCESS
        seen = self._mission.robot.seen_after(self._mission.changed_ns)
        if not seen:
            return Status.RUNNING
        self._mission.changed_ns = to_ns(seen[0].stamp)
        if any(o.name == picked.name and same_place(o.region, picked.region) for o in seen):
            self.feedback_message = f"the {picked.name} is still there"
            return Status.FAILURE
        self._pictures += 1
        return Status.SUCCESS if self._pictures == 2 else Status.RUNNING


class Choose(AskRegion):
    """Of all things of the name that shall be picked, chooses the one nearest to the fridge.

    FAILURE if several pictures show none.
    """

    def __init__(self, mission: Mission, timeout_s: float) -> None:
        super().__init__(
            "which one?", mission.client, self._ask, timeout_s=timeout_s,
            if_unsure="look_again", looks=mission.tries,
        )  # fmt: skip
        self._mission = mission
        self._without = 0  # pictures that show none

    def _ask(self) -> Ask | None:
        mission = self._mission
        assert mission.step is not None
        name = mission.step.target
        seen = mission.robot.seen_after(mission.changed_ns)
        if seen and not any(one.name == name for one in seen):
            self._without += 1
            mission.changed_ns = to_ns(seen[0].stamp)
            return None
        return mission.ask((name,), NAME_QUESTION, "", all_of_them=True)

    def initialise(self) -> None:
        super().initialise()
        self._without = 0

    def update(self) -> Status:
        if self._without >= self._mission.tries:
            return self.fail(f"{self._without} pictures show none")
        return super().update()

    def unsure(self, answers: Sequence[Any]) -> str:
        """One certain answer is enough."""
        return "" if self._mission.found(answers) else super().unsure(answers)

    def judge(self, answers: Sequence[Any]) -> tuple[Status, str]:
        found, mission = self._mission.found(answers), self._mission
        near = mission.first_places.get(mission.thing)
        chosen = min(found, key=lambda one: one.beside(near))
        mission.picked, mission.places[chosen.name] = chosen.sighting, chosen.position
        far = chosen.beside(near)
        words = f"of {len(found)} {chosen.name}: the one {far:.2f} m from the {mission.thing}"
        mission.say(words)
        return Status.SUCCESS, words


class Survey(AskRegion):
    """Looks at all cupboards; makes closing the nearest open one the mission's step."""

    def __init__(self, mission: Mission) -> None:
        super().__init__(
            "what stands open?", mission.client,
            lambda: mission.ask(CUPBOARDS, STATE_QUESTION, "state", all_of_them=True),
            if_unsure="look_again", looks=mission.tries,
        )  # fmt: skip
        self._mission = mission
        self.closed = 0  # pictures in a row that show nothing open
        self.rounds = 0

    def unsure(self, answers: Sequence[Any]) -> str:
        """Take what is sure."""
        return ""

    def judge(self, answers: Sequence[Any]) -> tuple[Status, str]:
        mission, found = self._mission, self._mission.found(answers)
        self.rounds += 1
        standing_open = [one for one in found if "open" in one.state.values()]
        mission.step = mission.picked = None
        if not standing_open:
            self.closed = self.closed + 1 if len(found) == len(answers) else 0
            return Status.SUCCESS, "nothing is seen open"
        self.closed = 0
        nearest = min(standing_open, key=Found.distance_to)
        mission.places[nearest.name] = nearest.position
        mission.step = ActionStep(action="close", target=nearest.name)
        words = f"open: {', '.join(one.name for one in standing_open)}; nearest: {nearest.name}"
        mission.say(f"{words}, {nearest.distance_to():.2f} m")
        return Status.SUCCESS, words
