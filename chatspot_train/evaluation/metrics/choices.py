"""The letter of a choice in an answer, in the forms in which models write it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_LETTER = r"(?<![A-Za-z0-9])([A-Da-d])(?![A-Za-z0-9'’])"
# LaTeX commands, tags, Markdown and quotes around a letter.
_MARKUP = re.compile(r"\\[A-Za-z]+|</?[A-Za-z]{2,}>|[$*_`#\"“”「」『』【】]")
_DENIED = re.compile(
    r"(?i:\b(?:not|never|neither|nor)|n['’]t)\s+(?:(?:option|choice)\s+)?"
    r"\(?[A-D]\)?(?![A-Za-z0-9'’])(?:,?\s+but\b)?"
)
_JUDGED = r"\s+(?:because|as|since|is|was|which)\b"
# "A" is a letter and an article: other words may not follow it.
_ENDS = rf"(?=\s*(?:$|[\n.):;!\]}}>,。、,]|[-–—]\s|是|正|对|對|で|だ)|{_JUDGED})"
_MORE = r"(?!\s*,?\s*(?:(?:or|and)\s+)?\(?(?-i:[A-D])\b(?!\.))"
_LEADING = re.compile(rf"\W*{_LETTER}{_ENDS}{_MORE}")
_GAP = r"[^\w\n]*\s*(?:(?:is|are|was|would be|should be|must be|是|为|為|は|が)\W*)?"
_KIND = r"(?:(?:option|choice|letter)\W*)?"
_ANSWER = re.compile(
    rf"(?:\banswer\b|答案|答え|正解){_GAP}{_KIND}{_LETTER}{_ENDS}{_MORE}", re.IGNORECASE
)
_CHOICE = re.compile(
    rf"(?:\b(?:choice|option|choose|pick|select)\b|选项|選項|选择|選擇|选|選)"
    rf"{_GAP}{_KIND}{_LETTER}{_ENDS}{_MORE}",
    re.IGNORECASE,
)
_SAID = re.compile(
    rf"(?:\b[Ii]t(?: is|['’]s)|\b(?:say|think|believe))\s+\(?{_LETTER}{_ENDS}{_MORE}"
)


def chosen_letter(text: str, choices: Mapping[str, str]) -> str:
    """Return the letter of the choice in an answer; empty for none or several.

    In this order: the only letter; a letter at the beginning (`B. a mug`, `A is right`); after
    "answer"; after "choice" or "option"; after "it is"; the only choice whose words are in the
    answer. Markdown, LaTeX, width forms and quotes do not count, nor a letter behind "not".
    """
    plain = _MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).strip()
    only = "" if "?" in plain else re.sub(r"\W", "", plain).upper()
    if only in choices:
        return only
    plain = _DENIED.sub(" ", plain).strip()
    leading = _LEADING.match(plain)
    if leading and leading[1] in choices:
        return leading[1]
    for pattern in (_ANSWER, _CHOICE, _SAID):
        letters = {match[1].upper() for match in pattern.finditer(plain)} & choices.keys()
        if letters:
            return letters.pop() if len(letters) == 1 else ""
    return _named(text, choices)


def _named(text: str, choices: Mapping[str, str]) -> str:
    said = f" {_words(text)} "
    named = [k for k, choice in choices.items() if _words(choice) and f" {_words(choice)} " in said]
    # "left hand" contains the words of "left".
    longest = [
        k for k in named
        if not any(_words(choices[k]) in _words(choices[j]) for j in named if j != k)
    ]  # fmt: skip
    return longest[0] if len(longest) == 1 else ""


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
