"""What an answer may look like, as grammars: `door: open, plug: in`, `open fridge; pick cola`,
`red mug <box> 0.12 0.34 0.56 0.78</box>`.

Written in the EBNF that xgrammar reads (GBNF with ranges of repetition, https://xgrammar.mlc.ai).
Every grammar allows one space in front, which many tokenizers write and no answer keeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from chatspot_ros.core.dialects import (
    ChatSpotDialect,
    Dialect,
    InternVLDialect,
    PixelJsonDialect,
    QwenBoxDialect,
)

States = Mapping[str, Sequence[str]]

# Up to here a state's grammar knows which attributes were said; it has 2^n rules.
MAX_DISTINCT_ATTRIBUTES = 8
_LEAD = '" "?'
# Words as people write names: no mark that parts pairs, steps, regions or sentences. One class of
# letters and no rule within a rule: xgrammar then knows nearly all tokens beforehand, where it had
# to try each of them at every step (seen with 151,000 tokens in the phrases of places).
_LETTERS = r"a-zA-Z0-9_\u00C0-\u024F\u0370-\u1FFF\u3040-\uD7FF"
_WORDS = f"\nphrase ::= [{_LETTERS}] [{_LETTERS}' -]*\n"
_ABSENT = 'absent ::= [Tt] "here " ("is" | "are") " no " phrase "."?\n'
_THOUSANDTH = '([0-9] [0-9]? [0-9]? | "1000")'
_SPACE = r"ws ::= [ \t\n]{0,8}" + "\n"


def for_task(task: str, *, skills: Iterable[str], states: States, dialect: Dialect) -> str | None:
    """Return the grammar of a task's answers; None where they are free text.

    `skills` are the actions of a plan, `states` the attributes of a state with the values of each;
    empty: any words. A `locate` is free text in a dialect whose boxes have no grammar here.
    """
    if task == "state":
        return state_grammar(states)
    if task == "plan":
        return plan_grammar(skills)
    if task == "locate":
        return locate_grammar(dialect)
    return None


def state_grammar(states: States) -> str:
    """`name: value(, name: value)*` with each attribute at most once; without `states` any words.

    Beyond MAX_DISTINCT_ATTRIBUTES an attribute may come twice; who reads the answer takes care.
    """
    if not states:
        pair = 'pair ::= phrase ": " phrase\n'
        return f'root ::= {_LEAD} pair (", " pair)*\n{pair}{_WORDS}'
    pairs = "".join(
        f"pair_{k} ::= {_text(f'{name}: ')} ({_any(values)})\n"
        for k, (name, values) in enumerate(states.items())
    )
    if len(states) > MAX_DISTINCT_ATTRIBUTES:
        anyone = " | ".join(f"pair_{k}" for k in range(len(states)))
        return f'root ::= {_LEAD} pair (", " pair)*\npair ::= {anyone}\n{pairs}'
    rules = [f"root ::= {_LEAD} after_0\n"]
    # Rule after_B: what may come when the attributes whose bits are set in B were said.
    for said in range(2 ** len(states) - 1):
        ways = [
            f"pair_{k}" + ("" if more == 2 ** len(states) - 1 else f' ("" | ", " after_{more})')
            for k in range(len(states))
            if (more := said | 1 << k) != said
        ]
        rules.append(f"after_{said} ::= {' | '.join(ways)}\n")
    return "".join(rules) + pairs


def plan_grammar(skills: Iterable[str]) -> str:
    """`nothing to do`, or `action target(; action target)*`, the actions being `skills`.

    An action of several words may be written with spaces. Without `skills` a step is any words.
    """
    spelled = dict.fromkeys(way for name in skills for way in (name, re.sub(r"[_-]+", " ", name)))
    step = f"({_any(spelled)}) {_text(' ')} phrase" if spelled else "phrase"
    return f'root ::= {_LEAD} ("nothing to do" | step ("; " step)*)\nstep ::= {step}\n{_WORDS}'


def locate_grammar(dialect: Dialect) -> str | None:
    """Boxes as the dialect writes them, each with what it is, or `there is no mug here`.

    None in a dialect whose boxes have no grammar here: those of models that are asked in fixed
    phrases, which say what they find in ways of their own.
    """
    if isinstance(dialect, ChatSpotDialect):
        return _locate_in_words(_fraction_box(dialect))
    if isinstance(dialect, QwenBoxDialect):
        corner = _between("(", ",", ")", [_THOUSANDTH] * 2)
        box = f"{_text('<|box_start|>')} {corner} {_text(',')} {corner} {_text('<|box_end|>')}"
        return _locate_in_words(box, ("<|object_ref_start|>", "<|object_ref_end|>"))
    if isinstance(dialect, InternVLDialect):
        one = _between("[", ", ", "]", [_THOUSANDTH] * 4)
        box = f"{_text('<box>[')} {one} ({_text(', ')} {one})* {_text(']</box>')}"
        return _locate_in_words(box, ("<ref>", "</ref>"))
    if isinstance(dialect, PixelJsonDialect):
        return _locate_in_json()
    return None


def _locate_in_words(box: str, tags: tuple[str, str] | None = None) -> str:
    """A phrase, which may lack and may stand between `tags`, then its box; several with commas
    between them."""
    named = f"{_text(tags[0])} phrase {_text(tags[1])} | phrase" if tags else "phrase"
    return (
        f"root ::= {_LEAD} (absent | place ({_text(', ')} place)*)\n"
        f'place ::= (({named}) " "?)? box\nbox ::= {box}\n{_ABSENT}{_WORDS}'
    )


def _between(opening: str, separator: str, closing: str, parts: Sequence[str]) -> str:
    inner = f" {_text(separator)} ".join(parts)
    return f"{_text(opening)} {inner} {_text(closing)}"


def _fraction_box(dialect: ChatSpotDialect) -> str:
    """Four fractions with the dialect's decimals; a space behind its opening tag is free."""
    zeros, digits = "0" * dialect.decimals, f"[0-9]{{{dialect.decimals}}}"
    number = f'("0." {digits} | "1.{zeros}")'
    numbers = f" {_text(dialect.separator)} ".join([number] * 4)
    return f'{_text(dialect.opening)} " "? {numbers} {_text(dialect.closing)}'


def _locate_in_json() -> str:
    """Objects with `bbox_2d` and a `label`, alone or in a list, in a code block or not."""
    number = "[0-9]{1,5}"
    numbers = ' "," ws '.join([number] * 4)
    return (
        f'root ::= {_LEAD} (absent | answer | "```json" ws answer ws "```")\n'
        'answer ::= place | "[" ws place (ws "," ws place)* ws "]"\n'
        'place ::= "{" ws (box ("," ws label)? | label "," ws box) ws "}"\n'
        f'box ::= "\\"bbox_2d\\"" ws ":" ws "[" ws {numbers} ws "]"\n'
        'label ::= "\\"label\\"" ws ":" ws "\\"" phrase "\\""\n'
        f"{_SPACE}{_ABSENT}{_WORDS}"
    )


def _any(texts: Iterable[str]) -> str:
    return " | ".join(_text(text) for text in texts)


def _text(text: str) -> str:
    """A text as a literal of the grammar."""
    return json.dumps(text, ensure_ascii=False) if text else '""'
