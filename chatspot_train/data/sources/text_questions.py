"""Answers of data sets that ask one question about text in each entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import clean


def first_answer(question: str, answers: Sequence[str]) -> RecordTurn:
    """Return the question with the first of its right answers. Raises SkipError without any."""
    if not answers:
        raise SkipError("the question has no answers", question)
    return RecordTurn(clean(question), clean(answers[0]))


def majority(answers: Sequence[str]) -> str:
    """Return the most frequent answer in its most frequent spelling.

    Case and outer spaces are ignored; among equally frequent answers the first one is returned.
    Raises SkipError where all answers are empty.
    """
    spellings: dict[str, Counter[str]] = {}
    for answer in answers:
        words = " ".join(answer.split())
        if words:
            spellings.setdefault(words.casefold(), Counter())[words] += 1
    if not spellings:
        raise SkipError("the question has no answers", list(answers))
    most = max(spellings.values(), key=lambda counted: counted.total())
    return most.most_common(1)[0][0]
