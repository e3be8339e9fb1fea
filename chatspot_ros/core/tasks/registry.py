"""All tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from chatspot_ros.core.tasks.base import Task
from chatspot_ros.errors import RequestError

_TASKS: dict[str, Task] = {}
# Always current; the empty name is the short answer.
TASKS: Mapping[str, Task] = MappingProxyType(_TASKS)


def register(task: Task) -> None:
    """Add a task. Raises ValueError where the name is taken."""
    if task.name in _TASKS:
        raise ValueError(f"there is a task '{task.name}' already")
    _TASKS[task.name] = task


def find_task(name: str) -> Task:
    """Return a task by its name. Raises RequestError where there is none."""
    if name not in _TASKS:
        raise RequestError(
            "there is no such task",
            value=name,
            remedy=f"use one of {', '.join(filter(None, _TASKS))}, or leave it empty",
        )
    return _TASKS[name]


def task_tags() -> tuple[str, ...]:
    """Return the tags of all tasks, each once."""
    return tuple(dict.fromkeys(task.tag for task in _TASKS.values()))
