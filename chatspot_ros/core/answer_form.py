"""The form in which a caller wants an answer: one of some choices, or JSON of a schema."""

from __future__ import annotations

from dataclasses import dataclass

from chatspot_ros.core.choices import check_choices
from chatspot_ros.core.json_schema import JsonSchema, read_schema
from chatspot_ros.core.tasks import find_task
from chatspot_ros.errors import RequestError


@dataclass(frozen=True)
class AnswerForm:
    """`choices` are the only answers, empty: any; `schema` is what JSON follows, None: no JSON."""

    choices: tuple[str, ...] = ()
    schema: JsonSchema | None = None


ANY_FORM = AnswerForm()


def read_form(task: str, choices: tuple[str, ...], json_schema: str) -> AnswerForm:
    """Return the form that a request wants.

    Raises:
        RequestError: choices that cannot be scored, a schema that answers cannot be held to, or a
            task that does not go with them.
    """
    if not choices and not json_schema and not task:
        return ANY_FORM
    needs_schema = find_task(task).needs_schema
    check_choices(choices, task)
    if json_schema and not needs_schema:
        raise RequestError(
            "a JSON schema is for the task json", value=task or "no task",
            remedy="set the task to json, or leave the schema out",
        )  # fmt: skip
    if needs_schema and not json_schema:
        raise RequestError(
            f"the task {task} needs a JSON schema", value="none", remedy="give json_schema"
        )
    return AnswerForm(tuple(choices), read_schema(json_schema) if json_schema else None)
