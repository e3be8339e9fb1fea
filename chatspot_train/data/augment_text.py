"""Augmentation of texts without a change of meaning: synonyms, order of turns, left and right.

Rules on the wording decide. In doubt, a turn counts as a follow-up of the one before it, as one
about the whole image, or as one that must not be mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from chatspot_ros.core.regions import REGION_MARK, RegionKind
from chatspot_ros.core.task_router import route
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_train.data.records import Record, RecordTurn

SYNONYM_CHANCE = 0.5


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# Quoted words, and `<region>` and its like.
_UNTOUCHED = re.compile(r"\"[^\"]*\"|“[^”]*”|‘[^’]*’|«[^»]*»|(?<!\w)'[^']*'(?!\w)|<[^<>]*>")
_QUOTES = re.compile(r"[\"“”«»]|(?<!\w)['‘][^'’]*['’](?!\w)")

_OPENS_ON = _words(r"^(and|but|then|so|also|now|ok(ay)?|what about|how about)\b")
_POINTS_BACK = _words(
    r"\b(too|as well|also|else|again|instead|same|both|others?|another|likewise|previous|earlier"
    r"|former|latter|before|(this|that|which|next|last|first|second) one|you (said|mentioned))\b"
)
_PERSON = r"it|its|they|them|theirs?|he|him|his|she|hers?"
_PRONOUN = _words(rf"\b({_PERSON})\b")
_BARE_PRONOUN = _words(
    rf"\b({_PERSON}|that|these|those|this(?! (picture|image|photo|scene|room|kitchen|view)))\b"
    r"|^(why|how so|how come)\b"
)

_READS = _words(
    r"\b(read|reads|text|texts|word|words|letters?|digits?|written|writing|spell(s|ed)?|says?"
    r"|label(l?ed|s)?|sign|title|plate|page|clock|time is it|what number|which number)\b"
)
_SIDE = _words(r"\b(left|right)(?=(?:most|hand|wards?)?\b)")
# `left` and `right` that mean no side, and other words for sides.
_NO_SIDE = _words(
    r"\bright (now|away|here|there|behind|above|below|beneath|under|next|in front|on top|by|at"
    r"|beside|after|before|angles?|answer|thing|way)\b|\b(all|is|that's|just|not) right\b(?! of\b)"
    r"|, right\?|\b(has|have|had|having|been|be|was|were|are|is|being|nothing|anything|what's) left"
    r"\b(?! of\b)|\bleft(over| over| behind| alone| open| on\b| out| unattended| to\b)"
    r"|_(left|right)\b|\b(left|right)_|clockwise|\b(east|west)(ern)?\b"
)

_WHOLE = _words(
    r"\b(how many|count|number of|others?|another|all|only|else|any|anything|everything|whole"
    r"|entire|nearest|closest|farthest|furthest|(larg|bigg|small|tall|short|high|low)est|\w+most)\b"
)
_PLACES = _words(
    r"\b(left|right|top|bottom|upper|lower|middle|cent(er|re)|corner|edge|side|background"
    r"|foreground|first|second|third|last)\b"
)


def follows_up(turn: RecordTurn) -> bool:
    """Return True if a turn may depend on the one before it, as "And this one?" does."""
    question = turn.question.strip()
    if _OPENS_ON.search(question) or _POINTS_BACK.search(question):
        return True
    if _POINTS_BACK.search(turn.answer):
        return True
    head, mark, _ = question.partition(REGION_MARK)
    if mark:
        return _PRONOUN.search(head) is not None
    return not turn.regions and _BARE_PRONOUN.search(question) is not None


def chains(turns: Sequence[RecordTurn]) -> list[list[RecordTurn]]:
    """Split turns, in order, into independent ones, each with its follow-ups."""
    found: list[list[RecordTurn]] = []
    for turn in turns:
        if found and follows_up(turn):
            found[-1].append(turn)
        else:
            found.append([turn])
    return found


def reordered(record: Record, rng: np.random.Generator) -> Record:
    """Return the record with its turns in random order; follow-ups stay after their turn."""
    found = chains(record.turns)
    turns = tuple(turn for k in rng.permutation(len(found)) for turn in found[k])
    return replace(record, turns=turns)


def reads_text(turn: RecordTurn) -> bool:
    """Return True if a turn is about text in the image."""
    task = turn.task or route(turn.question)
    said = f"{turn.question}\n{turn.answer}"
    # "say where each thing is" asks for places.
    reads = not turn.answer_regions and _READS.search(turn.question)
    return task == "read" or bool(reads or _QUOTES.search(said))


def about_whole(turn: RecordTurn) -> bool:
    """Return True if a crop of the image may change the answer.

    That is so without a region, for the whole image as region, for plans and counts, and where the
    text names the place of a single region in the image.
    """
    regions = (*turn.regions, *turn.answer_regions)
    if not regions or any(region.kind is RegionKind.IMAGE for region in regions):
        return True
    said = f"{turn.question}\n{turn.answer}"
    if (turn.task or route(turn.question)) == "plan" or _WHOLE.search(said):
        return True
    return len(regions) < 2 and _PLACES.search(said) is not None


def can_mirror(record: Record) -> bool:
    """Return True if the image may be mirrored: no text is read, and all sides are clear.

    The mirrored record may be mirrored back, so neither side is favoured.
    """
    if any("text" in tag.lower().split() for tag in record.tags):
        return False
    said = [text for turn in record.turns for text in (turn.question, turn.answer)]
    unclear = any(_NO_SIDE.search(text) or _NO_SIDE.search(mirrored(text)) for text in said)
    return not unclear and not any(map(reads_text, record.turns))


def mirrored(text: str) -> str:
    """Return the text with left and right exchanged, also in `leftmost` and `Right-hand`."""
    return _SIDE.sub(lambda found: _cased_like(found[0], _OPPOSITE[found[0].lower()]), text)


_OPPOSITE = {"left": "right", "right": "left"}


def _cased_like(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if model[0].isupper() else word


class Synonyms(BaseModel):
    """Groups of phrases with the same meaning in a question; lower case, each phrase once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: tuple[tuple[str, ...], ...] = Field(min_length=1)

    @field_validator("groups")
    @classmethod
    def _are_distinct(cls, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        seen: set[str] = set()
        for group in groups:
            if len(group) < 2:
                raise ValueError(f"{list(group)} has nothing to choose from: give two phrases")
            for phrase in group:
                if phrase in seen or phrase != " ".join(phrase.lower().split()) or not phrase:
                    raise ValueError(f"{phrase!r} is there twice, empty or not in lower case")
                seen.add(phrase)
        return groups

    @classmethod
    def read(cls, file: Path) -> Synonyms:
        """Read a YAML file. Raises pydantic.ValidationError, which names what is wrong."""
        return cls.model_validate(load_yaml(file))

    @cached_property
    def _group_of(self) -> dict[str, tuple[str, ...]]:
        return {phrase: group for group in self.groups for phrase in group}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._group_of, key=len, reverse=True)
        return _words(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)")

    def vary(self, question: str, rng: np.random.Generator) -> str:
        """Replace phrases of the question at random; quoted words and `<region>` stay."""

        def exchange(found: re.Match[str]) -> str:
            if rng.random() >= SYNONYM_CHANCE:
                return found[0]
            others = [p for p in self._group_of[found[0].lower()] if p != found[0].lower()]
            return _cased_like(found[0], others[int(rng.integers(len(others)))])

        text, end = "", 0
        for untouched in _UNTOUCHED.finditer(question):
            text += self._pattern.sub(exchange, question[end : untouched.start()]) + untouched[0]
            end = untouched.end()
        return text + self._pattern.sub(exchange, question[end:])


def vary_text(record: Record, rng: np.random.Generator, synonyms: Synonyms) -> Record:
    """Return the record with reworded questions in another order; answers stay.

    A wording that would change the task (`chatspot_ros.core.task_router.route`) is not used.
    """

    def reworded(turn: RecordTurn) -> RecordTurn:
        question = synonyms.vary(turn.question, rng)
        varied = replace(turn, question=question)
        same = turn.task or route(question) == route(turn.question)
        return varied if same and follows_up(varied) == follows_up(turn) else turn

    return reordered(replace(record, turns=tuple(map(reworded, record.turns))), rng)
