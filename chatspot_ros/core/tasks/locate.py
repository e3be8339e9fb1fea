"""The places of things, as boxes, or that there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatspot_ros.core.answer_grammars import LETTERS
from chatspot_ros.core.dialects import phrase_before
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import REGION_MARK, Region
from chatspot_ros.core.tasks.base import Parsed, Task, TaskContext, inline

_ABSENT = re.compile(
    r"\b(there (is|are) no|there (isn't|aren't)|no such|not (there|here|visible|present)"
    r"|(cannot|can't|can not|do not|don't) (see|find))\b",
    re.IGNORECASE,
)
_NO_NAME = re.compile(rf"^[^{LETTERS}]+|[^{LETTERS}' -]|\s+$")
_AND = re.compile(r"^\s*(?:and|or)\b\s*", re.IGNORECASE)


def _instruction(context: TaskContext) -> str:
    absent = context.none[0] if context.none else "there is no ... here."
    return f"Answer only with its {context.dialect.place}. If it is not there, say: {absent}"


def _grammar(context: TaskContext) -> str | None:
    return context.dialect.locate_grammar(context.none)


def _parse(text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext) -> Parsed:
    # Either a place or none: an answer with both is contradictory.
    return Parsed(readable=bool(grounded) != says_none(text, context) and not truncated)


def says_none(text: str, context: TaskContext) -> bool:
    """Return whether an answer says that the thing is not there."""
    said = _plain(text)
    own = any(_plain(one) == said for one in context.none)
    return own or context.dialect.says_none(text) or bool(_ABSENT.search(text))


def _plain(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _write(text: str, regions: Sequence[Region], fit: Fit, context: TaskContext) -> str:
    if not regions:
        return inline(text, regions, fit, context)
    pieces = text.split(REGION_MARK)[:-1]
    phrases = (_NO_NAME.sub("", _AND.sub("", phrase_before(piece))) for piece in pieces)
    return context.dialect.say_places(list(zip(phrases, regions, strict=True)), fit)


LOCATE = Task(
    name="locate",
    tag="[locate]",
    instruction=_instruction,
    grammar=_grammar,
    parse=_parse,
    write=_write,
)
