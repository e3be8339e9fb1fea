"""What a task is: one record with all that differs from task to task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.json_schema import JsonSchema
from chatspot_ros.core.regions import REGION_MARK, Region

# The attributes of a state, each with its possible values.
States = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Step:
    """One thing for a robot to do: `action` is a skill, `target` and `text` the model's words.

    Without a list of skills, `action` and `target` are empty and `text` holds the whole step.
    """

    action: str
    target: str
    text: str


@dataclass(frozen=True)
class TaskContext:
    """What answers may name: boxes of one dialect, the skills of a robot, the states of things.

    Without skills or states, any words are allowed. `none` are the model's own answers for a thing
    that is not there. `choices` are the only answers, empty: any; `schema` is what JSON follows.
    `schema_shown` is its text as a prompt may hold it.
    """

    dialect: Dialect
    skills: tuple[str, ...] = ()
    states: States = field(default_factory=dict)
    none: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    schema: JsonSchema | None = None
    schema_shown: str = ""


@dataclass(frozen=True)
class Parsed:
    """What a task reads from an answer; `readable` is False where the answer has another form."""

    state: dict[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    json: str = ""
    readable: bool = True


def free_text(context: TaskContext) -> None:
    """Return None: answers have no grammar."""


def any_text(
    text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext
) -> Parsed:
    """Read any text as an answer."""
    return Parsed()


def inline(text: str, regions: Sequence[Region], fit: Fit, context: TaskContext) -> str:
    """Return an answer with its regions written where `<region>` stands."""
    first, *pieces = text.split(REGION_MARK)
    said = (context.dialect.say(region, fit) for region in regions)
    return "".join([first, *(s + piece for s, piece in zip(said, pieces, strict=True))]).strip()


@dataclass(frozen=True)
class Task:
    """One kind of answer. The functions take from the context what the task needs.

    `tag` requests it from a model that was trained on tags, `instruction` from any other one.
    `question` is asked where a request names the task alone; empty: a request must have its own.
    `grammar` returns the EBNF of its answers or their schema, None for free text. `parse` reads an
    answer: its text, the regions found in it (in pixels), and True if the answer was cut off.
    `write` turns an answer of the training data, with a `<region>` for each of its regions
    (clipped), into the form that `grammar` and `parse` have. `needs_schema`: a request must bring
    one, and its answers hold no regions.
    """

    name: str
    tag: str
    instruction: Callable[[TaskContext], str]
    question: str = ""
    grammar: Callable[[TaskContext], str | JsonSchema | None] = free_text
    parse: Callable[[str, Sequence[Region], bool, TaskContext], Parsed] = any_text
    write: Callable[[str, Sequence[Region], Fit, TaskContext], str] = inline
    needs_schema: bool = False
