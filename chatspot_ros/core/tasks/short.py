"""A short answer, wanted where no other task is named or asked for; or one of some choices."""

from __future__ import annotations

from chatspot_ros.core.tasks.base import Task, TaskContext


def _instruction(context: TaskContext) -> str:
    if context.choices:
        said = ", ".join(f'"{one}"' for one in context.choices)
        return f"Answer only with one of these, in exactly these words: {said}."
    return "Answer the question using a single word or phrase."


SHORT = Task(
    name="",
    tag="[short]",
    instruction=_instruction,
)
