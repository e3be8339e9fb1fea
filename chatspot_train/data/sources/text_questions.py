"""What the data sets of questions about text in a picture have in common: one question an entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.conversion_report import SkipError
from chatspot_train.data.sources.json_reader import clean


def first_answer(question: str, answers: Sequence[str]) -> RecordTurn:
    """Return the question with the first of its equally right answers. Raises SkipError."""
    if not answers:
        raise SkipError("the question has no answers", question)
    return RecordTurn(clean(question), clean(answers[0]))


def majority(answers: Sequence[str]) -> str:
    """Return what most people answered, in the spelling most of them used.

    Case and outer spaces make no difference; of answers given equally often the earliest counts.
    Raises SkipError where nobody said anything.
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
