"""Prompts in tags or words, and the removal of control strings from users' texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from chatspot_ros.core.dialects import Dialect
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.tasks import States, TaskContext, find_task, task_tags
from chatspot_ros.errors import RequestError

MAX_QUESTION_CHARS = 2000
# What a prompt shows of the print in a region.
MAX_PRINT_LINES, MAX_PRINT_CHARS = 8, 120
# What a prompt shows of the notes about it.
MAX_NOTES, MAX_NOTE_CHARS = 3, 400
# Forbidden to users, whatever the model: chat roles, turn ends, pictures, regions.
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
)
_OPENERS = "<[{|"
# What opens or closes a tag, a quotation or a list of coordinates.
_MARKS = re.compile(r"[<>\[\]{}|`\"\u201c-\u201f\u00ab\u00bb]+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]")


class PromptStyle(StrEnum):
    """How the user's turn names the task: by a trained tag, or in words."""

    TAGS = "tags"
    WORDS = "words"


def control_strings() -> tuple[str, ...]:
    """Return what users may not write, whatever the model: CONTROL_STRINGS and the tasks' tags."""
    return (*CONTROL_STRINGS, *task_tags())


def build(
    question: str,
    regions: Sequence[Region],
    task: str,
    fit: Fit,
    dialect: Dialect,
    style: PromptStyle,
    skills: Iterable[str] = (),
    *,
    states: States | None = None,
    none: Iterable[str] = (),
    control: Iterable[str] = (),
    choices: Iterable[str] = (),
    schema: str = "",
) -> str:
    """Return the user's turn as the model reads it.

    Each `<region>` of the question becomes the text of a region; a single region without a
    `<region>` is appended. `regions` are clipped to the image. The rest is neutralised: no string
    of `control`, of the dialect or of `control_strings()` remains. `skills` are the actions of a
    plan, `states` the attributes and values of a state, `none` the model's own answers for a thing
    that is not there, `choices` the only answers, `schema` that of JSON; only the style WORDS names
    them.

    Raises:
        RequestError: an empty question, an unknown task, or not as many `<region>` as regions.
    """
    check_question(question)
    record = find_task(task)
    pieces = question.strip().split(REGION_MARK)
    named = len(pieces) > 1
    if not named and len(regions) == 1:
        pieces = [*pieces, ""] if not regions[0].points_px else [f"{pieces[0]} ", ""]
    check_marks(question, pieces, regions)
    forbidden = (*control_strings(), *dialect.control_strings, *control)
    text = neutralise(pieces[0], forbidden)
    for region, piece in zip(regions, pieces[1:], strict=True):
        said = dialect.say(region, fit)
        text += said or ("the whole picture" if named else "")
        text += neutralise(piece, forbidden)
    if style is PromptStyle.TAGS:
        return f"{record.tag} {text}"
    context = TaskContext(
        dialect, tuple(skills), states or {}, tuple(none),
        choices=tuple(neutralise(one, forbidden) for one in choices),
        schema_shown=neutralise(schema, forbidden),
    )  # fmt: skip
    return f"{text}\n{record.instruction(context)}"


def check_question(question: str, max_chars: int | None = None) -> None:
    """Raise RequestError for a question without visible characters or of more than `max_chars`."""
    if not _UNPRINTABLE.sub("", question).strip():
        raise RequestError("the question is empty", value=repr(question), remedy="say what to ask")
    if max_chars is not None and len(question) > max_chars:
        raise RequestError(
            f"the question is longer than {max_chars} characters",
            value=f"{len(question)} characters",
            remedy="shorten it",
        )


def check_marks(question: str, pieces: Sequence[str], regions: Sequence[Region]) -> None:
    """Raise RequestError unless the question's pieces between `<region>` go with the regions."""
    if len(pieces) - 1 != len(regions):
        raise RequestError(
            f"the question has {len(pieces) - 1} {REGION_MARK} for {len(regions)} regions",
            value=question,
            remedy=f"write as many {REGION_MARK} as there are regions",
        )


def print_text(lines: Iterable[str], control: Iterable[str] = ()) -> str:
    """Return the line that says what is printed in a region, put before the question.

    For example `Print: "BRAVO" "APPLE JUICE"` and a line break; "" where nothing is printed. The
    print comes from the world, so brackets, quotes and line breaks leave it, and no string of
    `control` or of `control_strings()` remains. The same print is named once; at most
    MAX_PRINT_LINES lines and MAX_PRINT_CHARS characters are named.
    """
    forbidden = (*control_strings(), *control)
    said: dict[str, str] = {}
    left = MAX_PRINT_CHARS
    for line in lines:
        plain = " ".join(_MARKS.sub(" ", line).split())
        text = " ".join(neutralise(plain, forbidden).split())[:left].rstrip()
        if not text or text.casefold() in said:
            continue
        said[text.casefold()] = text
        left -= len(text)
        if len(said) == MAX_PRINT_LINES or left <= 0:
            break
    return "Print: " + " ".join(f'"{text}"' for text in said.values()) + "\n" if said else ""


def notes_text(notes: Iterable[str], control: Iterable[str] = ()) -> str:
    """Return the lines that tell a model what notes say, put before the question.

    At most MAX_NOTES notes of MAX_NOTE_CHARS characters, each in quotes on one line. Brackets and
    quotes leave them, and no string of `control` or of `control_strings()` remains.
    """
    forbidden = (*control_strings(), *control)
    said = []
    for note in notes:
        plain = " ".join(_MARKS.sub(" ", note).split())[:MAX_NOTE_CHARS]
        text = " ".join(neutralise(plain, forbidden).split())
        said += [f'"{text}"'] if text else []
    if not said:
        return ""
    return "Notes of this place, to follow where they fit:\n" + "\n".join(said[:MAX_NOTES]) + "\n"


@lru_cache(maxsize=64)
def _shortest_first(control_strings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the control strings by length, without blank ones."""
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
