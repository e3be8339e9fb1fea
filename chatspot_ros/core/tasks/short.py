"""A short answer, wanted where no other task is named or asked for."""

from __future__ import annotations

from chatspot_ros.core.tasks.base import Task, TaskContext


def _instruction(context: TaskContext) -> str:
    return "Answer the question using a single word or phrase."


SHORT = Task(
    name="",
    tag="[short]",
    instruction=_instruction,
)
