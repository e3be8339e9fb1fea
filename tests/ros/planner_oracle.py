"""RegionQuery and AskRegion by somebody who knows the kitchen's truth: run me as a program.

For each question it finds the truth of exactly the picture that was asked about. The parameter
`manners` says how the first answers go, a word each: `right`, `unsure`, `busy`, `lies` (of a state
the other value, of a plan no steps), `silent` (no reply at all).
"""

from __future__ import annotations

import re
import sys
from typing import Any

from chatspot_ros.action import AskRegion
from chatspot_ros.msg import ActionStep, RegionAnswer
from chatspot_ros.srv import RegionQuery
from diagnostic_msgs.msg import KeyValue
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String

from chatspot_ros.core.tasks.plan import read_steps
from chatspot_ros.ros.conversions import to_ns, to_region
from chatspot_ros.ros.run_node import Stop, run_node
from chatspot_sim.actions import ACTIONS
from chatspot_sim.goals import goals
from chatspot_sim.kitchen import STATES
from chatspot_sim.truth import Thing, Truth


class OracleNode(Node):
    def __init__(self, _: Stop) -> None:
        super().__init__("region_query_node")
        self.manners = str(self.declare_parameter("manners", "").value).split()
        self.truths: dict[int, Truth] = {}
        self.waiting: list[tuple[int, Future]] = []
        group = ReentrantCallbackGroup()
        self.create_subscription(String, "kitchen/truth", self.hear, 50, callback_group=group)
        self.create_service(RegionQuery, "~/region_query", self.answer, callback_group=group)
        ActionServer(self, AskRegion, "~/ask_region", self.act, callback_group=group)

    def close(self) -> None:
        pass

    def hear(self, message: String) -> None:
        if not self.truths:
            print("ready: region_query_node", flush=True)
        truth = Truth.from_json(message.data)
        self.truths[truth.stamp_ns] = truth
        for stamp_ns, future in list(self.waiting):
            if stamp_ns <= truth.stamp_ns and not future.done():
                future.set_result(None)

    async def act(self, goal: Any) -> Any:
        reply = await self.answer(goal.request, RegionQuery.Response())
        goal.succeed()
        fields = {name: getattr(reply, name) for name in reply.get_fields_and_field_types()}
        return AskRegion.Result(**fields)

    async def answer(self, request: Any, response: Any) -> Any:
        stamp_ns = to_ns(request.stamp)
        if stamp_ns not in self.truths:
            future: Future = Future(executor=self.executor)
            self.waiting.append((stamp_ns, future))
            await future
        if stamp_ns not in self.truths:
            response.status = RegionQuery.Response.NO_IMAGE
            response.message = "the oracle started after that picture"
            return response
        manner = self.manners.pop(0) if self.manners else "right"
        if manner == "silent":
            await Future(executor=self.executor)
        if manner == "busy":
            response.status = RegionQuery.Response.BUSY
            response.message = "scripted: too much waits already"
            return response
        truth = self.truths[stamp_ns]
        response.answers = [self.tell(region, request, truth, manner) for region in request.regions]
        return response

    def tell(self, region: Any, request: Any, truth: Truth, manner: str) -> RegionAnswer:
        answer = RegionAnswer(regions=[region], confidence=0.9, uncertain=manner == "unsure")
        thing = nearest(truth, to_region(region).box_xyxy_px)
        if request.task == "state":
            tell_state(answer, thing, lies=manner == "lies")
        elif request.task == "plan":
            tell_steps(answer, thing, truth, request.question, lies=manner == "lies")
        else:
            answer.text = thing.name
        self.get_logger().info(f"{manner}: {request.question} {thing.id} {answer.text}")
        return answer


def nearest(truth: Truth, box: tuple[float, ...]) -> Thing:
    return min(
        truth.things,
        key=lambda thing: sum(abs(a - b) for a, b in zip(thing.box_xyxy_px, box, strict=True)),
    )


def tell_state(answer: RegionAnswer, thing: Thing, *, lies: bool) -> None:
    state = dict(thing.state)
    if lies:
        for key, values in STATES[thing.name].items():
            state[key] = values[1] if state.get(key) == values[0] else values[0]
    answer.text = ", ".join(f"{key}: {value}" for key, value in state.items())
    answer.state = [KeyValue(key=key, value=value) for key, value in state.items()]


def tell_steps(
    answer: RegionAnswer, thing: Thing, truth: Truth, question: str, *, lies: bool
) -> None:
    content = re.search(r"take the (\w+) (?:out|from)", question)
    if content is None:
        (steps,) = [steps for kind, _, steps in goals(thing, truth) if kind == "plan_power"]
    else:
        opening = [f"open {thing.name}"] if thing.state["door"] == "closed" else []
        steps = [*opening, f"pick {content[1]}", f"close {thing.name}"]
    answer.text = "nothing to do" if lies else "; ".join(steps) or "nothing to do"
    read, _ = read_steps(answer.text, ACTIONS)
    answer.steps = [ActionStep(action=one.action, target=one.target, text=one.text) for one in read]


if __name__ == "__main__":
    run_node(OracleNode, sys.argv)
