"""Rules in notes: sentences that are a robot's plan, add steps to it or forbid one.

`To descale the kettle: fill the kettle; turn on the stove` is a plan for a goal, `To open the
fridge: ...` stands in place of a step, `Before open fridge: unplug fridge` and `After ...` add
steps, `Never open the microwave` forbids one. Steps are in the form of the task `plan`, parted by
`;` up to a full stop, or the list below a line that ends in a colon. Articles and "you" do not
matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chatspot_ros.core.tasks import Step
from chatspot_ros.core.tasks.plan import read_steps
from chatspot_ros.knowledge.passages import Passage
from chatspot_ros.knowledge.words import all_words

MAX_STEPS = 32  # of one rule


class RuleKind(StrEnum):
    """What a rule does: `to` is a plan, or what replaces a step; the others add or forbid."""

    TO = "to"
    BEFORE = "before"
    AFTER = "after"
    NEVER = "never"


@dataclass(frozen=True)
class Rule:
    """A rule as written: what it is about, its steps, and its place (`fridge.md:12`).

    `cut`: it has more steps than were read, and must not be followed.
    """

    kind: RuleKind
    about: str
    steps: tuple[str, ...]
    source: str
    passage: Passage
    cut: bool = False


_ITEM = r"(?:[-*•+]|\d{1,3}[.)])\s+"
_START = rf"(?:\A|(?<=[.!?]\s)|(?<=\n))[ \t>]*(?:{_ITEM})?[*_]{{0,3}}"
_RULE = re.compile(rf"{_START}(to|before|after)\s+([^:;.!?]{{1,120}}?)[*_ ]*:[*_]*", re.IGNORECASE)
_NEVER = re.compile(
    rf"{_START}(?:never|do not|don't)\b[*_]*\s*:?[*_]*\s*([^:;.!]{{1,120}})", re.IGNORECASE
)
# Where the steps behind a colon end.
_END = re.compile(
    rf"\.(?=\s|$)|\n\s*\n|\n\s*{_ITEM}|\n[ \t*_]*(?:to|before|after|never|do not)\b", re.IGNORECASE
)
_LIST_LINE = re.compile(rf"\s*{_ITEM}(.*)$")
_SPOKEN = re.compile(r"\b(?:you|the robot|the|a|an|its|this|please|first|then|always)\b\s*", re.I)


def rules_of(passage: Passage) -> Iterator[Rule]:
    """Yield the rules of a passage."""
    text = passage.text
    for found in _RULE.finditer(text):
        rest = text[found.end() :]
        end = _END.search(rest)
        inline = rest[: end.start()] if end else rest
        written = [inline] if inline.strip(" *_\n") else list(_list_below(rest))
        pieces = [_plain(piece) for one in written for piece in one.split(";")]
        steps = tuple(piece for piece in pieces if piece)
        if steps:
            kind, about = RuleKind(found[1].lower()), _plain(found[2])
            reaches_end = _plain(text).endswith(_plain(written[-1]))
            cut = len(steps) > MAX_STEPS or (passage.goes_on and reaches_end)
            place = _place(passage, found.start(1))
            yield Rule(kind, about, steps[:MAX_STEPS], place, passage, cut)
    for found in _NEVER.finditer(text):
        yield Rule(RuleKind.NEVER, _plain(found[1]), (), _place(passage, found.start(1)), passage)


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .*_`")


def _place(passage: Passage, position: int) -> str:
    return passage.place(passage.text.count("\n", 0, position))


def _list_below(text: str) -> Iterator[str]:
    """Yield the items of the list at the beginning of a text, with their indented lines."""
    item = ""
    for line in text.strip("\n").split("\n"):
        found = _LIST_LINE.match(line)
        if found:
            if item:
                yield item
            item = found[1]
        elif item and line[:1].isspace() and line.strip():
            item += f" {line.strip()}"
        else:
            break
    if item:
        yield item


def step_of(text: str, skills: tuple[str, ...]) -> Step | None:
    """Return a rule's words as a step of the robot: `you open the fridge` is `open fridge`.

    None: they begin with no skill.
    """
    plain = " ".join(_SPOKEN.sub("", text).split())
    steps, readable = read_steps(plain, skills)
    return steps[0] if readable and len(steps) == 1 and steps[0].action else None


def is_about(kind: RuleKind, about: Step, step: Step) -> bool:
    """Return whether a rule of a kind about one step means another: the same skill and thing.

    A rule without a thing means any. `to`, which replaces a step, must name its thing in the step's
    words; the others may say more of it: `never open the microwave until it is mended`.
    """
    wanted, named = set(all_words(about.target)), set(all_words(step.target))
    says_more = kind is not RuleKind.TO and bool(named) and named <= wanted
    return about.action == step.action and (wanted <= named or says_more)
