"""Hashed n-grams of a question: the features of the router, in training and on the robot."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import REGION_MARK

BUCKETS = 1 << 16
CHARS = range(2, 6)  # lengths of the n-grams of characters, within a padded word
WORDS = range(1, 4)  # lengths of the n-grams of words
MAX_CHARS = 400  # what is longer is no question that more words would decide
_REGION = "\ue000"  # one character of Unicode's private use, no word of anybody's
_TOKEN = re.compile(rf"{_REGION}|[^\W_]+(?:'[^\W_]+)*|[^\w\s]")
_DIGITS = re.compile(r"\d+")
_DRAWN_OUT = re.compile(r"(.)\1{2,}")
_QUOTES = str.maketrans("’‘`´", "''''")


def tokens(question: str) -> list[str]:
    """Return the lower-case words and marks of a question; numbers are `0`."""
    text = question.replace(REGION_MARK, f" {_REGION} ")[:MAX_CHARS]
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold()
    return _TOKEN.findall(_DRAWN_OUT.sub(r"\1\1", _DIGITS.sub("0", text)))


def hashed(question: str) -> NDArray[np.int64]:
    """Return the buckets of a question's n-grams, each once, in [0, BUCKETS)."""
    spelled = (gram.encode(errors="replace") for gram in _grams(tokens(question)))
    return np.fromiter({crc32(one) % BUCKETS for one in spelled}, np.int64)


def _grams(words: list[str]) -> Iterator[str]:
    padded = ["^", *words, "$"]
    for length in WORDS:
        for start in range(len(padded) - length + 1):
            yield "w" + " ".join(padded[start : start + length])
    for word in words:
        spelled = f" {word} "
        for length in CHARS:
            for start in range(len(spelled) - length + 1):
                yield spelled[start : start + length]
