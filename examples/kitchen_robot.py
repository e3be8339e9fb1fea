"""The robot in the simulated kitchen as the planners beside this file see it.

What its detector sees, what it asks the region query node, what it does.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Duration, Time
from chatspot_ros.msg import ActionStep, Region, RegionAnswer
from chatspot_ros.srv import KitchenAct, RegionQuery
from geometry_msgs.msg import Point32, PointStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from vision_msgs.msg import Detection2D, Detection2DArray

State = dict[str, str]
NODE = "region_query_node"
ASKED = 2  # times: a reply is lost if the node has not yet discovered this client
STATE_QUESTION, NAME_QUESTION = "What is the state of this?", "What is this?"
# Wordings of one question: after a plan that failed the next one is asked.
FETCH_QUESTIONS = ("How do I take the {content} out of this?",
                   "Which steps take the {content} from <region>?")  # fmt: skip
POWER_QUESTIONS = ("How do I make this fridge run?", "Which steps give <region> power?")
CUPBOARDS = ("fridge", "microwave", "drawer")  # what stands open or closed

# The state after a skill.
EFFECTS: dict[str, State] = {
    "open": {"door": "open", "drawer": "open"}, "close": {"door": "closed", "drawer": "closed"},
    "plug_in": {"plug": "in"}, "unplug": {"plug": "out"},
    "turn_on": {"burner": "on", "water": "running"},
    "turn_off": {"burner": "off", "water": "off"},
    "fill": {"contents": "full"}, "empty": {"contents": "empty"},
}  # fmt: skip
# What can be told of a thing.
ATTRIBUTES = {"fridge": ("door", "plug"), "microwave": ("door",), "drawer": ("drawer",),
              "stove": ("burner",), "tap": ("water",), "mug": ("contents",)}  # fmt: skip


class BlindError(RuntimeError):
    """No detections arrive, or a service does not answer."""


@dataclass(frozen=True)
class Sighting:
    """A detected thing: its name, the stamp of its picture, and its box in pixels."""

    name: str
    stamp: Time
    region: Region


@dataclass(frozen=True)
class Found:
    """A thing by its answer: state, steps, and where it is (no frame_id: not known)."""

    name: str
    answer: RegionAnswer
    sighting: Sighting

    @property
    def state(self) -> State:
        return {pair.key: pair.value for pair in self.answer.state}

    @property
    def position(self) -> PointStamped:
        return self.answer.regions[0].position

    def beside(self, other: PointStamped | None) -> float:
        """Return the distance in m to another position, its height left out: what lies in a tall
        thing is near to it in this sense, on the lowest shelf too. The camera is held level."""
        if not self.position.header.frame_id or other is None:
            return self.distance_to(other)
        a, b = self.position.point, other.point
        return math.hypot(a.x - b.x, a.z - b.z)

    def distance_to(self, other: PointStamped | None = None) -> float:
        """Return the distance in m to another position, to the camera without one."""
        if not self.position.header.frame_id:
            return math.inf
        a, b = (self.position.point, other.point if other is not None else PointStamped().point)
        return math.dist((a.x, a.y, a.z), (b.x, b.y, b.z))


class Robot(Node):
    """Detections, questions and actions; its methods block while another thread spins it."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s` bounds the wait for a sighting, a service and an answer."""
        super().__init__("planner")
        self._patience_s = patience_s
        self._news = threading.Condition()
        self._seen: list[Sighting] = []  # of the newest picture, the highest score first
        self.create_subscription(Detection2DArray, "detections", self._on_detections, 10)
        self._query = self.create_client(RegionQuery, f"{NODE}/region_query")
        self._act = self.create_client(KitchenAct, "kitchen/act")

    def seen_after(self, after_ns: int, names: Sequence[str] = ()) -> list[Sighting]:
        """Return the newest picture's things, of these names or all; none if it is no newer."""
        newer = [one for one in self._seen if to_ns(one.stamp) > after_ns]
        return [one for one in newer if not names or one.name in names]

    def look(self, after_ns: int, names: Sequence[str] = ()) -> list[Sighting]:
        """Wait for a picture after `after_ns` with things of these names; return them.

        Raises BlindError.
        """
        with self._news:
            if not (found := self._news.wait_for(
                lambda: self.seen_after(after_ns, names), self._patience_s
            )):  # fmt: skip
                thing = f"a {' or '.join(names)}" if names else "anything"
                raise BlindError(f"no detector has seen {thing} for {self._patience_s:.0f} s")
            return found

    def ask(self, question: str, task: str, things: Sequence[Sighting]) -> list[Found]:
        """Ask about things of one picture; return the certain answers. Raises BlindError."""
        request = RegionQuery.Request(question=question, task=task, stamp=things[0].stamp)
        request.regions = [one.region for one in things]
        request.timeout = Duration(sec=int(self._patience_s))
        reply = self._call(self._query, request, tries=ASKED)
        if reply.status != RegionQuery.Response.OK:
            self.get_logger().warning(f"{question!r}: {reply.message}")
            return []
        for answer in reply.answers:
            if answer.uncertain:
                self.get_logger().warning(f"{question!r}: unsure of {answer.text!r}")
        pairs = zip(things, reply.answers, strict=True)
        return [Found(one.name, answer, one) for one, answer in pairs if not answer.uncertain]

    def act(self, step: ActionStep, position: PointStamped) -> tuple[bool, str]:
        """Do a step; return the robot's report: whether it was done, and a message."""
        reply = self._call(self._act, KitchenAct.Request(step=step, position=position))
        return reply.done, reply.message

    def begin_act(self, step: ActionStep, position: PointStamped) -> Any:
        """Begin a step; return the future of its report, None while nobody takes it."""
        if not self._act.service_is_ready():
            return None
        return self._act.call_async(KitchenAct.Request(step=step, position=position))

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
        found = sorted(message.detections, key=score, reverse=True)
        with self._news:
            self._seen = [Sighting(one.results[0].hypothesis.class_id, message.header.stamp,
                                   to_region(one)) for one in found if one.results]  # fmt: skip
            self._news.notify_all()


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


def same_place(a: Region, b: Region) -> bool:
    """Return True if two boxes share more than half of what they cover."""
    (ax, ay), (ar, ab) = ((point.x, point.y) for point in a.points)
    (bx, by), (br, bb) = ((point.x, point.y) for point in b.points)
    both = max(0.0, min(ar, br) - max(ax, bx)) * max(0.0, min(ab, bb) - max(ay, by))
    return both > 0.5 * ((ar - ax) * (ab - ay) + (br - bx) * (bb - by) - both)


def to_text(state: State) -> str:
    """Return a state as `door: open, plug: in`."""
    return ", ".join(f"{key}: {value}" for key, value in state.items())


def said(step: ActionStep) -> str:
    """Return a step as `open fridge`."""
    return f"{step.action} {step.target}".strip()


def effect_of(step: ActionStep) -> State:
    """Return the state that a step leaves its target in; empty if no state shows it."""
    effect = EFFECTS.get(step.action, {})
    return {key: effect[key] for key in ATTRIBUTES.get(step.target, ()) if key in effect}


def misses(steps: Sequence[ActionStep], content: str, handled: Container[str]) -> str:
    """Return why a plan does not take `content` out; empty if it does, or that is done."""
    picks = [step.target for step in steps if step.action == "pick"]
    if not content or content in handled or picks == [content]:
        return ""
    return f"the plan should pick the {content}, and picks {', '.join(picks) or 'nothing'}"


def own_plan(thing: str, state: State, wanted: State, content: str) -> list[ActionStep]:
    """Return steps by the robot's own skills, for where the model's plans lead nowhere.

    They take `content` out of the thing, or bring it from `state` to `wanted`, doors first.
    """
    if content:
        opening = [("open", thing)] if state.get("door") == "closed" else []
        steps = [*opening, ("pick", content), ("close", thing)]
    else:
        missing = {key: wanted[key] for key in state if wanted.get(key, state[key]) != state[key]}
        steps = [
            (skill, thing)
            for skill, effect in EFFECTS.items()
            if any(effect.get(key) == value for key, value in missing.items())
        ]
    return [ActionStep(action=action, target=target) for action, target in steps]


def spin(executor: SingleThreadedExecutor) -> None:
    """Spin until the program ends."""
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()
