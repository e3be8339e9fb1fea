"""Content words: what a question and a note must share to be about the same thing."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import lru_cache

import Stemmer

MAX_WORD_CHARS = 40
_WORD = re.compile(r"[^\W_]+")
# Words without a thing or a deed of their own.
_EMPTY_WORDS = (
    "a about above after again all am an and any are as at away be because been before being below"
    " between both but by can could did do does doing done down during each every few for from"
    " further get give go had has have having he her here him his how i if in into is it its just"
    " let like make may me might more most must my need no nor not now of off on once one only or"
    " other our out over own please put region same shall she should so some such tell than that"
    " the their them then there these they thing this those through to too under until up us very"
    " want was way we were what when where which while who why will with would you your step steps"
    " note notes say says"
)
_stemmer = Stemmer.Stemmer("english")
_lock = threading.Lock()


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    with _lock:  # a stemmer serves one thread at a time
        return str(_stemmer.stemWord(word))


def all_words(text: str) -> list[str]:
    """Return the stems of all words of a text, in order; `turn_on` is two words."""
    return [_stem(word[:MAX_WORD_CHARS]) for word in _WORD.findall(text.lower())]


_EMPTY_STEMS = frozenset(_stem(word) for word in _EMPTY_WORDS.split())


def content_words(*texts: str) -> frozenset[str]:
    """Return the stems of the words that name things and deeds."""
    return frozenset(word for text in texts for word in all_words(text)) - _EMPTY_STEMS


def ranking_words(text: str) -> list[str]:
    """Return the stems by which passages are ranked, repeated as often as they occur."""
    return [word for word in all_words(text) if word not in _EMPTY_STEMS]


def share_of(words: Iterable[str], others: frozenset[str]) -> float:
    """Return the share of different `words` that are among `others`, in [0, 1]; 0 without words."""
    wanted = frozenset(words)
    return len(wanted & others) / len(wanted) if wanted else 0.0
