"""Steps for a robot, as `open fridge; pick cola`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chatspot_ros.core.answer_grammars import LEAD, WORDS, choice, literal
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks.base import Parsed, Step, Task, TaskContext, inline, wording

_NUMBERING = re.compile(r"^\s*(?:step\s*)?(?:\d+\s*[.):]|[-*•])\s*", re.IGNORECASE)
_CALL = re.compile(r"(\w[\w -]*?)\s*\(\s*([^()]*?)\s*\)")
_NOTHING_TO_DO = re.compile(r"\W*(nothing (needs|has|is) to be done|nothing to do|no steps?)\W*",
                            re.IGNORECASE)  # fmt: skip
_ACTIONS = (
    r"(open|close|shut|turn|switch|fill|empty|bring|take(?! (a look|me through))|fetch|make|plug"
    r"|unplug|pick(?! out)|put|place|pour|get|press|push|pull|move|carry|hand|pass|clean|clear|tidy"
    r"|wipe|wash|rinse|dry|sweep|swap|exchange|replace|sort|stack|grab|grasp|grip|hold|lift|raise"
    r"|lower|drop|throw|remove|insert|unlock|lock|start|stop|prepare|load|unload|pack|unpack|set"
    r"|cook|boil|cut|slice|stir|mix|hang|tighten|loosen|screw|unscrew|connect|disconnect|drive|come"
    r"|go(?! (over|through|into))|lay|rotate|slide|store|serve|feed|fold|attach|detach|assemble"
    r"|install|heat|cool|charge|flip|shake|squeeze|scoop|align|wrap|water|fix|repair"
    r"|let(?! (me|us)\b))"
)
# First words of a sentence that are no action of a robot, though a thing follows them.
_NO_ACTIONS = (
    r"(name|identify|tell|say|give|refer|sum|list|count|answer|guess|compare|classify|recogni[sz]e"
    r"|label|specify|estimate|judge|decide|choose|call|know|see|is|are|was|were|be|has|have|had|do"
    r"|does|did|what|which|who|whose|whom|when|why|how|all|both|any|each|every|some|in|on|at|of|for"
    r"|with|from|by|to|or|but|if|as|than|about|like|beside|behind|under|over|near|not|no|yes|only"
    r"|also|still|even|inside|outside|between|among|around|same|such|that|this|these|those|there"
    r"|here|it|he|she|they|we|i|you|the|a|an)"
)
_WORDINGS = (
    wording(
        10,
        r"\bstep by step\b|\b(which|what|the|all) (next )?(steps|actions)\b"
        r"|\bsequence of (steps|actions)\b|\b(steps|actions|plan)\b.*\bto\b|^plan\b"
        r"|\b(procedure|instructions) (for|to)\b|\bhow to\b"
        r"|\b(best|right|proper|safest|easiest|quickest) way to\b"
        r"|\bif (i|we|you) (want|wanted|need|wish) to\b",
    ),
    wording(50, rf"^{_ACTIONS}\b(?!.*\?$)|^tell the (robot|arm|gripper)\b"),
    wording(
        120,
        r"\bme through \w+ing\b"
        r"|^((show|tell|teach|explain)( to)?( me| us)? )?how (do|does|can|could|would"
        r"|should|must)? ?(i|you|we|one|somebody|someone|the (robot|gripper|arm))\b"
        r"(?! (describe|say))"
        r"|^how (can|could|should|must) [\w<> ]+ be \w+(ed|en|t)\b",
    ),
    wording(
        140,
        r"\bwhat (should|must) the robot do\b|^what (would|does|will) it take\b"
        r"|^what (should|shall|must|can|could|do|does) (i|you|we|one)"
        r" ((have|need) to )?do\b"
        r"|^what (must|has to|needs to) (be done|happen)\b"
        r"|^(?!what|which|how)[\w<> ]+ (should|must|ought to|has to|have to|needs to)"
        r" (?!.*\?$)",
    ),
    wording(
        240,
        r"^(i|we)('d| would)? (like|want|need)\b(?! to (know|see|read|hear))"
        r"|^(let us|let's)\b(?! (see|hear))"
        rf"|^(?!{_NO_ACTIONS}\b)\w+ (the|a|an|this|that|these|those|it|them|all|both|every"
        r"|each|<region>)(?!\w)(?!.*\?$)",
    ),
)


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
    wordings=_WORDINGS,
    grammar=_grammar,
    parse=_parse,
    write=_write,
)
