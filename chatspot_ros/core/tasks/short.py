"""A short answer, wanted where no other task is named or asked for."""

from __future__ import annotations

from chatspot_ros.core.tasks.base import Task, TaskContext, wording

_WORDINGS = (
    wording(70, r"<region>.*<region>|^(how many|count\b)|\bnumber of\b"),
    wording(
        100,
        r"^(is|are|was|were|does|do|did|has|have|had|can|could|would|should|will|may|might"
        r"|must|any|anyone|anybody|anything|who|whose|why)\b(?! idea)",
    ),
)


def _instruction(context: TaskContext) -> str:
    return "Answer the question using a single word or phrase."


SHORT = Task(
    name="",
    tag="[short]",
    instruction=_instruction,
    wordings=_WORDINGS,
)
