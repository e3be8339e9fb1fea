"""JSON that follows the schema of the request, for programs."""

from __future__ import annotations

from collections.abc import Sequence

from chatspot_ros.core.json_schema import JsonSchema
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks.base import Parsed, Task, TaskContext
from chatspot_ros.core.tasks.short import SHORT


def _instruction(context: TaskContext) -> str:
    return f"Answer only with JSON, on one line, that follows this schema: {context.schema_shown}"


def _grammar(context: TaskContext) -> JsonSchema | None:
    return context.schema


def _parse(text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext) -> Parsed:
    if truncated or context.schema is None or context.schema.fault(text):
        return Parsed(readable=False)
    return Parsed(json=text)


JSON = Task(
    name="json",
    tag=SHORT.tag,
    instruction=_instruction,
    grammar=_grammar,
    parse=_parse,
    needs_schema=True,
)
