"""Scores of an answer's text: contained, equal, edit distance, VQA accuracy, denial.

Comparisons ignore case, width forms (NFKC) and runs of white space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

from chatspot_train.evaluation.metrics.intervals import Row
from chatspot_train.evaluation.metrics.numerals import with_digits

# Scripts without spaces between words: Thai to Lao, Burmese, Khmer, kana, Chinese characters.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_DENIAL = re.compile(
    r"^\W*(no|nope|none|nothing)\b"
    r"|\b(there|it|that|this|they)( is|'s| are| was| were) (no|not|none)\b"
    r"|\b(isn|aren|wasn|weren|doesn)'?t\b|\b(don|can)'?t (see|find)\b"
    r"|\b(cannot|can not|do not|does not) (see|find|contain|show|have)\b"
    r"|\bnot (there|here|visible|present|shown|seen|in)\b|\b(contains?|shows?|sees?|finds?) no\b"
    r"|\babsent\b|\bno such\b",
    re.IGNORECASE,
)
_AFFIRMATION = re.compile(r"\W*(yes|yeah|yep)\b", re.IGNORECASE)
_QUOTES = "\"'`“”‘’«»„"


def normal(text: str) -> str:
    """Return the text case-folded, in NFKC, on one line."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def contains(answer: str, truth: str, whole_words: bool = True, numbers: bool = False) -> bool:
    """True if the answer contains the truth; never for an empty truth.

    With `whole_words` it is no part of a longer word or number (`3` is not in `13` or `3.5`),
    except in scripts without spaces. With `numbers`, `two` equals `2`.
    """
    said, wanted = normal(answer), normal(truth)
    if numbers:
        said, wanted = with_digits(said), with_digits(wanted)
    if not wanted:
        return False
    if not whole_words:
        return wanted in said
    before = _edge(wanted[0], r"(?<!\w)", r"(?<!\d[.,])")
    after = _edge(wanted[-1], r"(?!\w)", r"(?![.,]\d)")
    return re.search(before + re.escape(wanted) + after, said) is not None


def _edge(char: str, word: str, number: str) -> str:
    if not char.isalnum() or _SPACELESS.match(char):
        return ""
    return word + number if char.isdigit() else word


def equal(answer: str, truth: str) -> bool:
    """True if both texts are equal without quotes and a final full stop."""
    return _bare(answer) == _bare(truth) != ""


def _bare(text: str) -> str:
    """Return the normal text without quotes and full stop, unless nothing else is left."""
    stripped = normal(text).strip(_QUOTES + " ")
    return stripped.rstrip(".").strip(_QUOTES + " ") or stripped


def denies(text: str) -> bool:
    """True if the first sentence of an answer denies the thing's presence; False for one that
    begins with yes, or an empty one."""
    first = re.split(r"(?<=[.!?])\s", text.replace("’", "'").strip(), maxsplit=1)[0]
    return not _AFFIRMATION.match(first) and bool(_DENIAL.search(first))


def normalised_edit_distance(answer: str, truth: str) -> float:
    """Return the Levenshtein distance of the normal texts over the longer length, in [0, 1]."""
    return float(Levenshtein.normalized_distance(normal(answer), normal(truth)))


def vqa_normal(text: str) -> str:
    """Return a text as the VQA challenge compares it: no case, articles, punctuation; digits.

    A point between digits stays; others go, as in the challenge's own script: "3 a.m." is "3 am".
    Apostrophes go, as contractions are written with or without.
    """
    plain = re.sub(r"['’`]", "", normal(text))
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain)
    plain = re.sub(r"\.(?!\d)", "", plain)
    plain = re.sub(r"(?<!\d)\.|[^\w\s.]", " ", plain)
    return " ".join(_ARTICLE.sub(" ", with_digits(plain)).split())


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Return the mean, over human answers left out once, of min(1, equal others / 3).

    An empty answer has 0. Raises ValueError for fewer than two human answers.
    """
    if len(answers) < 2:
        raise ValueError(f"{len(answers)} answers cannot be left out one by one")
    # An answer may be nothing but an article: the letter A.
    said = vqa_normal(answer) or normal(answer)
    same = [said != "" and (vqa_normal(one) or normal(one)) == said for one in answers]
    return float(np.mean([min(1.0, (sum(same) - one) / 3) for one in same]))


def percent(value: Row | float | None) -> str:
    """Return a row or a share in percent with one decimal, as the paper's tables; `-` for None."""
    if value is None:
        return "-"
    return f"{100 * (value if isinstance(value, float) else value['value']):.1f}"
