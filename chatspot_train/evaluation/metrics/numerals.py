"""English number words as digits."""

from __future__ import annotations

import re

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = {"thousand": 1_000, "million": 1_000_000}
_VALUES = {word: k for k, word in enumerate(_SMALL)} | {
    word: 10 * k for k, word in enumerate(_TENS, start=2)
}
_GAP, _AND = r"[-‐\s]\s*", r"(?:\s+and)?\s+"
_HUNDRED = (
    rf"(?:{'|'.join(_TENS)})(?:{_GAP}(?:{'|'.join(_SMALL[1:10])}))?\b|(?:{'|'.join(_SMALL[::-1])})"
)
_THOUSAND = rf"(?:(?:a|{_HUNDRED})\s+hundred(?:{_AND}(?:{_HUNDRED}))?|{_HUNDRED})"
_MILLION = rf"(?:(?:a|{_THOUSAND})\s+thousand(?:{_AND}{_THOUSAND})?|{_THOUSAND})"
_NUMBER = re.compile(
    rf"\b(?:(?:a|{_THOUSAND})\s+million(?:{_AND}{_MILLION})?|{_MILLION})\b"
    # Ordinals and fractions stay words.
    r"(?![-‐](?:first|second|third|half|quarter|\w+th)s?\b)"
    r"(?!\s+(?:thirds|halves|quarters|(?:four|fif|six|seven|eigh|nin|ten)ths)\b)"
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")


def with_digits(text: str) -> str:
    """Return a normal text with its number words as digits, and digits without grouping commas."""
    plain = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    return _NUMBER.sub(lambda match: str(_value(match[0])), plain)


def _value(words: str) -> int:
    total = current = 0
    for word in re.findall(r"[a-z]+", words):
        if word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
        else:
            current += _VALUES.get(word, 0)
    return total + current
