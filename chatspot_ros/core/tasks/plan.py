"""Steps for a robot, as `open fridge; pick cola`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chatspot_ros.core.answer_grammars import LEAD, WORDS, choice, literal
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks.base import Parsed, Step, Task, TaskContext, inline

_NUMBERING = re.compile(r"^\s*(?:step\s*)?(?:\d+\s*[.):]|[-*•])\s*", re.IGNORECASE)
_CALL = re.compile(r"(\w[\w -]*?)\s*\(\s*([^()]*?)\s*\)")
_NOTHING_TO_DO = re.compile(r"\W*(nothing (needs|has|is) to be done|nothing to do|no steps?)\W*",
                            re.IGNORECASE)  # fmt: skip


def _instruction(context: TaskContext) -> str:
    skills = context.skills
    verbs = f" Use only these actions: {', '.join(skills)}." if skills else ""
    return (
        'Answer only with the steps, each "action target", separated by ";", or with '
        f'"nothing to do".{verbs}'
    )


def _grammar(context: TaskContext) -> str:
    return plan_grammar(context.skills)


def _parse(text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext) -> Parsed:
    steps, readable = read_steps(text, context.skills, truncated)
    return Parsed(steps=steps, readable=readable and not truncated)


def _write(text: str, regions: Sequence[Region], fit: Fit, context: TaskContext) -> str:
    steps, readable = read_steps(text, context.skills)
    if not readable or regions:
        return inline(text, regions, fit, context)
    if not steps:
        return "nothing to do"
    return "; ".join(f"{step.action} {step.target}" if step.action else step.text
                     for step in steps)  # fmt: skip


def plan_grammar(skills: Iterable[str]) -> str:
    """`nothing to do`, or `action target(; action target)*`, the actions being `skills`.

    An action of several words may be written with spaces. Without `skills` a step is any words.
    """
    spelled = dict.fromkeys(way for name in skills for way in (name, re.sub(r"[_-]+", " ", name)))
    step = f"({choice(spelled)}) {literal(' ')} phrase" if spelled else "phrase"
    return f'root ::= {LEAD} ("nothing to do" | step ("; " step)*)\nstep ::= {step}\n{WORDS}'


def read_steps(
    text: str, skills: tuple[str, ...], truncated: bool = False
) -> tuple[tuple[Step, ...], bool]:
    """Read `open fridge; pick cola`, numbered lists, lines and `open(fridge)`.

    Return the steps, and True if every part of the text was a step. `nothing to do` has no steps
    and is readable. Steps with another action than a skill are left out, and so is the last step of
    a truncated text.
    """
    if _NOTHING_TO_DO.fullmatch(text) and not truncated:
        return (), True
    parts = _split_steps(text, skills)
    parts = parts[:-1] if truncated else parts
    pieces = [_NUMBERING.sub("", piece).strip(" .") for piece in parts]
    pieces = [piece for piece in pieces if piece]
    if not skills:
        return tuple(Step("", "", piece) for piece in pieces), bool(pieces)
    steps = [_read_step(piece, skills) for piece in pieces]
    kept = tuple(step for step in steps if step is not None)
    return kept, bool(kept) and len(kept) == len(pieces)


def _split_steps(text: str, skills: tuple[str, ...]) -> list[str]:
    pieces = re.split(r"[;\n]", re.sub(r"(?<=\s)(?=\d+[.)]\s)", "\n", text))
    if len(pieces) == 1 and skills:
        by_comma = re.split(r",\s*(?:and\s+|then\s+)*", text)
        if all(_read_step(_NUMBERING.sub("", piece).strip(" ."), skills) for piece in by_comma):
            return by_comma
    return pieces


def _read_step(piece: str, skills: tuple[str, ...]) -> Step | None:
    """Read one step; its action is the longest skill at its beginning."""
    call = _CALL.fullmatch(piece)
    words = f"{call[1]} {call[2]}" if call else piece
    for skill in sorted(skills, key=len, reverse=True):
        spelled = r"[\s_-]+".join(re.escape(part) for part in re.split(r"[\s_-]+", skill))
        match = re.match(rf"{spelled}(?:\s+(.*))?$", words.strip(), re.IGNORECASE | re.DOTALL)
        if match:
            return Step(skill, (match[1] or "").strip(" \"'"), piece)
    return None


PLAN = Task(
    name="plan",
    tag="[plan]",
    instruction=_instruction,
    grammar=_grammar,
    parse=_parse,
    write=_write,
)
