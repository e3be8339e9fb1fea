"""From a question and its regions to the words that a model reads, and what a user may not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.task_router import route as route
from chatspot_ros.errors import RequestError

MAX_QUESTION_CHARS = 2000
TASKS = ("", "describe", "read", "state", "plan", "locate")
TAGS = {
    "": "[short]",
    "read": "[short]",
    "describe": "[detailed]",
    "state": "[state]",
    "plan": "[plan]",
    "locate": "[locate]",
}
# Never a user's to say, whatever the model: chat roles, turn ends, pictures, regions, tags.
CONTROL_STRINGS = (
    "<image>",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<box>",
    "</box>",
    "USER:",
    "ASSISTANT:",
    "SYSTEM:",
    *dict.fromkeys(TAGS.values()),
)
_OPENERS = "<[{|"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]")


class PromptStyle(StrEnum):
    """How a model is told what kind of answer is wanted: by a trained tag, or in words."""

    TAGS = "tags"
    WORDS = "words"


_WORDS = {
    "": "Answer the question using a single word or phrase.",
    "read": "Answer with the text exactly as written, and nothing else.",
    "describe": "Answer in detail.",
    "state": 'Answer only with "attribute: value" pairs separated by commas, as "door: open".',
    "locate": "Answer only with its bounding box. If it is not there, say: there is no ... here.",
}


def build(
    question: str,
    regions: Sequence[Region],
    task: str,
    fit: Fit,
    dialect: Dialect,
    style: PromptStyle,
    skills: Iterable[str] = (),
    *,
    states: Mapping[str, Sequence[str]] | None = None,
    control_strings: Iterable[str] = (),
    max_chars: int = MAX_QUESTION_CHARS,
) -> str:
    """Return the user's turn as the model reads it.

    Each `<region>` of the question becomes the text of a region; a lone region without a
    `<region>` is said at the end. `regions` are clipped to the image. Everything else is
    neutralised: neither `control_strings` nor those of the dialect or `CONTROL_STRINGS` survive.
    `skills` are the names that a plan may use, `states` the attributes and values of a state; only
    the style WORDS says them.

    Raises:
        RequestError: no question or a too long one, an unknown task, or not as many `<region>`
            as regions.
    """
    check_question(question, max_chars)
    if task not in TASKS:
        raise RequestError(
            "there is no such task", value=task, remedy=f"use one of {', '.join(TASKS[1:])}"
        )
    pieces = question.strip().split(REGION_MARK)
    if len(pieces) == 1 and len(regions) == 1:
        pieces = [*pieces, ""] if not regions[0].points_px else [f"{pieces[0]} ", ""]
    if len(pieces) - 1 != len(regions):
        raise RequestError(
            f"the question has {len(pieces) - 1} {REGION_MARK} for {len(regions)} regions",
            value=question,
            remedy=f"write as many {REGION_MARK} as there are regions",
        )
    forbidden = (*CONTROL_STRINGS, *dialect.control_strings, *control_strings)
    text = neutralise(pieces[0], forbidden)
    named = len(question.split(REGION_MARK)) > 1
    for region, piece in zip(regions, pieces[1:], strict=True):
        said = dialect.say(region, fit)
        text += said or ("the whole picture" if named else "")
        text += neutralise(piece, forbidden)
    return _with_task(text, task, style, tuple(skills), states or {})


def check_question(question: str, max_chars: int = MAX_QUESTION_CHARS) -> None:
    """Raise RequestError unless the question has 1 to `max_chars` characters that say something."""
    if not _UNPRINTABLE.sub("", question).strip():
        raise RequestError("the question is empty", value=repr(question), remedy="say what to ask")
    if len(question) > max_chars:
        raise RequestError(
            f"the question is longer than {max_chars} characters",
            value=f"{len(question)} characters",
            remedy="shorten it",
        )


@lru_cache(maxsize=64)
def _shortest_first(control_strings: tuple[str, ...]) -> tuple[str, ...]:
    """The control strings without blank ones. A model's are the same at every question."""
    return tuple(sorted({string for string in control_strings if string.strip()}, key=len))


def neutralise(text: str, control_strings: Iterable[str]) -> str:
    """Return the text with no control string in it, and otherwise as it was.

    A space breaks each one open: behind its first character when that is a bracket (`< image>`),
    else before its last one (`USER :`). Invisible characters, which a tokenizer may drop and so
    join the halves of a control string, become spaces; broken Unicode becomes `?`.
    """
    text = _UNPRINTABLE.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    forbidden = _shortest_first(tuple(control_strings))
    # Breaking one open may make another one, but every round leaves shorter pieces between spaces.
    for _ in range(len(text) + 1):
        found = next((string for string in forbidden if string in text), None)
        if found is None:
            return text
        text = text.replace(found, _broken(found))
    return ""


def _broken(control: str) -> str:
    if len(control) == 1:
        return " "
    cut = 1 if control[0] in _OPENERS else len(control) - 1
    return f"{control[:cut]} {control[cut:]}"


def _with_task(
    text: str,
    task: str,
    style: PromptStyle,
    skills: tuple[str, ...],
    states: Mapping[str, Sequence[str]],
) -> str:
    if style is PromptStyle.TAGS:
        return f"{TAGS[task]} {text}"
    if task == "plan":
        verbs = f" Use only these actions: {', '.join(skills)}." if skills else ""
        return (
            f'{text}\nAnswer only with the steps, each "action target", separated by ";", or with '
            f'"nothing to do".{verbs}'
        )
    if task == "state" and states:
        said = "; ".join(f"{name} ({', '.join(values)})" for name, values in states.items())
        return f"{text}\n{_WORDS[task]} Say those of these attributes that it has: {said}."
    return f"{text}\n{_WORDS[task]}"
