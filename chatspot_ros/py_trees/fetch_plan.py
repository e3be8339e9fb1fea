"""A behaviour that asks for a plan, and writes its steps to the blackboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from py_trees.common import Access, Status

from chatspot_ros.operators.client import Ask, OperatorClient
from chatspot_ros.py_trees.ask_region import AskRegion, AskSource, IfUnsure


class FetchPlan(AskRegion):
    """Asks how to do something; SUCCESS writes the steps, in order, to the blackboard.

    The steps are a list of chatspot_ros.msg.ActionStep in the robot's own skills. It is empty where
    nothing has to be done. Before, and after a FAILURE, the list is absent, so that an old plan is
    never followed.
    """

    def __init__(
        self,
        name: str,
        client: OperatorClient,
        ask: AskSource,
        *,
        plan_key: str = "plan",
        result_key: str = "region_result",
        timeout_s: float = 60.0,
        if_unsure: IfUnsure = "look_again",
        looks: int = 3,
    ) -> None:
        """`ask` has the question; an empty task becomes `plan`. `plan_key`: where the steps stand.

        The rest is as in AskRegion.

        Raises:
            RequestError: as AskRegion.
        """
        super().__init__(
            name, client, ask, result_key=result_key, timeout_s=timeout_s, if_unsure=if_unsure,
            looks=looks,
        )  # fmt: skip
        self.plan_key = plan_key
        self.board.register_key(plan_key, access=Access.WRITE)

    def initialise(self) -> None:
        """Begin anew, without a plan."""
        super().initialise()
        self.board.unset(self.plan_key)

    def complete(self, ask: Ask) -> Ask:
        """Return the question with the task of a plan, where it has none."""
        return replace(ask, task=ask.task or "plan")

    def unsure(self, answers: Sequence[Any]) -> str:
        """Return why there is no plan; empty if there is a certain one."""
        if len(answers) != 1:
            return f"{len(answers)} answers came; ask for a plan about one region"
        return super().unsure(answers)

    def judge(self, answers: Sequence[Any]) -> tuple[Status, str]:
        """Write the steps; return SUCCESS and their words."""
        steps = list(answers[0].steps)
        self.board.set(self.plan_key, steps)
        said = "; ".join(f"{step.action} {step.target}".strip() for step in steps)
        return Status.SUCCESS, said or "nothing to do"
