"""The tasks: what kinds of answers there are, one file each.

A new task is a file with its record and a place in the list below.
"""

from chatspot_ros.core.tasks.base import Parsed, States, Step, Task, TaskContext
from chatspot_ros.core.tasks.describe import DESCRIBE
from chatspot_ros.core.tasks.json_text import JSON
from chatspot_ros.core.tasks.locate import LOCATE
from chatspot_ros.core.tasks.plan import PLAN
from chatspot_ros.core.tasks.read import READ
from chatspot_ros.core.tasks.registry import TASKS, find_task, register, task_tags
from chatspot_ros.core.tasks.short import SHORT
from chatspot_ros.core.tasks.state import STATE

for _task in (SHORT, DESCRIBE, READ, STATE, PLAN, LOCATE, JSON):
    register(_task)

__all__ = [
    "TASKS",
    "Parsed",
    "States",
    "Step",
    "Task",
    "TaskContext",
    "find_task",
    "register",
    "task_tags",
]
