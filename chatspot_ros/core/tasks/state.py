"""The state of a thing, as `door: open, plug: in`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatspot_ros.core.answer_grammars import LEAD, WORDS, choice, literal
from chatspot_ros.core.geometry import Fit
from chatspot_ros.core.regions import Region
from chatspot_ros.core.tasks.base import (
    Parsed,
    States,
    Task,
    TaskContext,
    inline,
)

# Up to here the grammar knows which attributes were said; it has 2^n rules.
MAX_DISTINCT_ATTRIBUTES = 8
_PAIR = re.compile(r"\s*([^:,;\n]{1,60}?)\s*[:=]\s*([^:,;\n]{1,60}?)\s*\.?\s*")


def _instruction(context: TaskContext) -> str:
    words = 'Answer only with "attribute: value" pairs separated by commas, as "door: open".'
    if not context.states:
        return words
    said = "; ".join(f"{name} ({', '.join(values)})" for name, values in context.states.items())
    return f"{words} Say those of these attributes that it has: {said}."


def _grammar(context: TaskContext) -> str:
    return state_grammar(context.states)


def _parse(text: str, grounded: Sequence[Region], truncated: bool, context: TaskContext) -> Parsed:
    state, readable = read_state(text, truncated)
    return Parsed(state=state, readable=readable and not truncated)


def _write(text: str, regions: Sequence[Region], fit: Fit, context: TaskContext) -> str:
    state, readable = read_state(text)
    if not readable:
        return inline(text, regions, fit, context)
    return ", ".join(f"{name}: {value}" for name, value in state.items())


def state_grammar(states: States) -> str:
    """`name: value(, name: value)*` with each attribute at most once; without `states` any words.

    Beyond MAX_DISTINCT_ATTRIBUTES an attribute may come twice; the parser leaves it out.
    """
    if not states:
        pair = 'pair ::= phrase ": " phrase\n'
        return f'root ::= {LEAD} pair (", " pair)*\n{pair}{WORDS}'
    pairs = "".join(
        f"pair_{k} ::= {literal(f'{name}: ')} ({choice(values)})\n"
        for k, (name, values) in enumerate(states.items())
    )
    if len(states) > MAX_DISTINCT_ATTRIBUTES:
        anyone = " | ".join(f"pair_{k}" for k in range(len(states)))
        return f'root ::= {LEAD} pair (", " pair)*\npair ::= {anyone}\n{pairs}'
    rules = [f"root ::= {LEAD} after_0\n"]
    # Rule after_B: what may come when the attributes whose bits are set in B were said.
    for said in range(2 ** len(states) - 1):
        ways = [
            f"pair_{k}" + ("" if more == 2 ** len(states) - 1 else f' ("" | ", " after_{more})')
            for k in range(len(states))
            if (more := said | 1 << k) != said
        ]
        rules.append(f"after_{said} ::= {' | '.join(ways)}\n")
    return "".join(rules) + pairs


def read_state(text: str, truncated: bool = False) -> tuple[dict[str, str], bool]:
    """Read `door: open, plug: in`; return the pairs, and True if the text has nothing else.

    Attributes are lower case. An attribute with two values is left out and makes the text
    unreadable. The last pair of a truncated text is left out: it may be cut (`plug: in|side`).
    """
    state: dict[str, str] = {}
    contradicted: set[str] = set()
    readable = True
    pieces = re.split(r"[,;\n]", text)
    for piece in pieces[:-1] if truncated else pieces:
        if not piece.strip(" ."):
            continue
        pair = _PAIR.fullmatch(piece)
        if pair is None:
            readable = False
            continue
        key, value = pair[1].strip("-*\" '").lower(), pair[2].strip("\" '")
        if not key or not value:
            readable = False
        elif state.setdefault(key, value) != value:
            contradicted.add(key)
    kept = {key: value for key, value in state.items() if key not in contradicted}
    return kept, readable and bool(kept) and not contradicted


STATE = Task(
    name="state",
    tag="[state]",
    instruction=_instruction,
    question="What is the state of this?",
    grammar=_grammar,
    parse=_parse,
    write=_write,
)
