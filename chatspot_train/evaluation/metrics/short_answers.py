"""Is a short answer right by its words?

The rule, with two texts normalised alike (case, width forms, number words as digits, plural s, a
few synonyms; no articles and other small words):

1. A truth that begins with yes or no is matched by an answer that begins with the same; nothing
   else of either is compared.
2. Of any other truth the first clause counts, up to a punctuation mark or `with`. The answer is
   right if it has all words of this clause, in any order. A denial (none, nobody, nothing) is also
   matched by an answer that denies, or 0.
"""

from __future__ import annotations

import re

from chatspot_train.evaluation.metrics.numerals import with_digits
from chatspot_train.evaluation.metrics.text import denies, normal

_CLAUSE = re.compile(r"(?<!\d)[.,](?!\d)|[;!?()]|:(?!\d)|\s[-–—]\s|[.,](?=\s|$)|\bwith\b")
_WORD = re.compile(r"\w+(?:[.,:]\d+)*")
_THE_ONE = re.compile(r"\b((?:the|this|that|which)(?: \w+){0,3}) ones?\b")
_SMALL = frozenset({
    "a", "an", "the", "of", "in", "on", "at", "to", "by", "is", "are", "it", "its", "their", "his",
    "her", "they", "there", "this", "that", "these", "those", "some", "and", "or",
})  # fmt: skip
_YES, _NO = {"yes", "yeah", "yep", "yup"}, {"no", "nope", "nah"}
_NOBODY = {"none", "nobody", "nothing", "no"}
_SAME = {
    "fridge": "refrigerator", "gray": "grey", "cupboard": "cabinet", "tv": "television",
    "centre": "middle", "center": "middle", "central": "middle", "faucet": "tap", "sofa": "couch",
    "colored": "coloured", "color": "colour", "photograph": "photo", "lightbulb": "bulb",
    "men": "man", "women": "woman", "children": "child", "people": "person", "knives": "knife",
    "shelves": "shelf", "metallic": "metal", "wooden": "wood",
}  # fmt: skip


def right_by_words(answer: str, truth: str) -> bool:
    """Return True if the answer is right by the rule above; never for an empty truth."""
    said, wanted = _words(answer), _words(truth)
    if not said or not wanted:
        return False
    for same in (_YES, _NO):
        if wanted[0] in same and _begins(truth, same):
            return said[0] in same
    if wanted[0] in _NOBODY and (denies(answer) or said[0] in {"0", *_NOBODY}):
        return True
    clauses = (_content(clause) for clause in _CLAUSE.split(normal(truth)))
    first = next((clause for clause in clauses if clause), set())
    return bool(first) and first <= _content(normal(answer))


def says_yes(answer: str) -> bool | None:
    """Return True for an answer that begins with yes, False for no, None for neither."""
    first = next(iter(_words(answer)), "")
    return True if first in _YES else False if first in _NO else None


def _begins(truth: str, words: set[str]) -> bool:
    """True if the first word stands alone, as in `No, ...`; not `No person`."""
    return re.match(rf"\W*(?:{'|'.join(sorted(words))})\b\s*([,.;:!]|$)", normal(truth)) is not None


def _words(text: str) -> list[str]:
    found = _WORD.findall(with_digits(normal(text)))
    return [_SAME.get(word, _SAME.get(_singular(word), _singular(word))) for word in found]


def _content(text: str) -> set[str]:
    """Return the words that count; all of them where nothing else is left. `The left one` has no
    number."""
    words = set(_words(_THE_ONE.sub(r"\1", text)))
    return words - _SMALL or words


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us"))
    return word[:-1] if plural else word
