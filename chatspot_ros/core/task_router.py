"""The task that a question asks for, by its wording alone.

A form of the answer ("step by step") ranks before the first words of a question. Relations of two
regions, counts, and questions for yes or no want a short answer. The wordings were written with
config/evaluation/intents.yaml in view; the suite `intent` of chatspot_train.evaluate measures them
on that list and on a held-out one.
"""

from __future__ import annotations

import re

from chatspot_ros.core.tasks import TASKS

# Polite words and fillers before or behind a request.
_POLITE = re.compile(
    r"^((please|kindly|now|so|ok|okay|hey|and|then|next|first|well|robot|just|simply"
    r"|(can|could|would|will) (you|the robot)( please| kindly)?(?! see\b)|let the robot"
    r"|i (would|'d) like you to|i'd like you to|i (want|need) you to|help me( to)?)\b[,:]? )+"
    r"|,? (please|thanks|thank you|(can|could|would|will) you)(?=[?.!]*$)",
    re.IGNORECASE,
)


def route(question: str) -> str:
    """Return the name of the task that a question asks for by its wording."""
    words, polite = _POLITE.subn("", " ".join(question.split()))
    if polite:
        words = words.removesuffix("?")
    found = [(one.rank, task.name) for task in TASKS.values() for one in task.wordings
             if one.pattern.search(words)]  # fmt: skip
    return min(found, default=(0, ""))[1]
