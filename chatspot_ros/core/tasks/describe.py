"""A description in detail."""

from __future__ import annotations

from chatspot_ros.core.tasks.base import Task, TaskContext


def _instruction(context: TaskContext) -> str:
    return "Answer in detail."


DESCRIBE = Task(
    name="describe",
    tag="[detailed]",
    instruction=_instruction,
    question="Describe this.",
)
