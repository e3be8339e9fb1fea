"""Pieces of the grammars that answers keep to.

A task owns its grammar (`tasks`), a dialect that of its boxes (`dialects`). They are written in the
EBNF that xgrammar reads (GBNF with ranges of repetition, https://xgrammar.mlc.ai). Every grammar
allows one space in front, which many tokenizers write and no answer keeps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

LEAD = '" "?'
# Words as people write names: no mark that parts pairs, steps, regions or sentences. One class of
# letters and no rule within a rule: xgrammar then knows nearly all tokens beforehand, where it had
# to try each of them at every step (seen with 151,000 tokens in the phrases of places).
LETTERS = r"a-zA-Z0-9_\u00C0-\u024F\u0370-\u1FFF\u3040-\uD7FF"
WORDS = f"\nphrase ::= [{LETTERS}] [{LETTERS}' -]*\n"
# A name between quotation marks or tags, which may hold marks as `no. 2 (left)`.
NAME = f"name ::= [{LETTERS}(] [{LETTERS}' .,:()/&+#-]*\n"


def absent(none: Iterable[str] = ()) -> str:
    """Return the rule `absent` of answers for a thing that is not there, `none` among them."""
    ways = ['[Tt] "here " ("is" | "are") " no " phrase "."?', *(literal(one) for one in none)]
    return f"absent ::= {' | '.join(ways)}\n"


def absent_alone(none: Iterable[str] = ()) -> str:
    """Return the grammar of an answer that a thing is not there, and of no other."""
    return f"root ::= {LEAD} absent\n{absent(none)}{WORDS}"


def locate_in_words(box: str, none: Iterable[str] = (), tags: tuple[str, str] | None = None) -> str:
    """Return the grammar of places: an optional phrase and its box, several parted by commas.

    The phrase may stand between `tags`; `none` are further answers for a thing that is not there.
    """
    named = f"{literal(tags[0])} name {literal(tags[1])} | phrase" if tags else "phrase"
    return (
        f"root ::= {LEAD} (absent | place ({literal(', ')} place)*)\n"
        f'place ::= (({named}) " "?)? box\nbox ::= {box}\n'
        f"{NAME if tags else ''}{absent(none)}{WORDS}"
    )


def between(opening: str, separator: str, closing: str, parts: Sequence[str]) -> str:
    """Return an expression of parts with a separator, between two texts."""
    inner = f" {literal(separator)} ".join(parts)
    return f"{literal(opening)} {inner} {literal(closing)}"


def choice(texts: Iterable[str]) -> str:
    """Return an expression for one of some texts."""
    return " | ".join(literal(text) for text in texts)


def literal(text: str) -> str:
    """Return a text as a literal of the grammar."""
    return json.dumps(text, ensure_ascii=False) if text else '""'
