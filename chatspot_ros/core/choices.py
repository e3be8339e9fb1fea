"""Questions with given choices: what a choice may be, and from scores to probabilities.

docs/adr/0029 says why choices are scored so.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from chatspot_ros.core.tasks import States
from chatspot_ros.errors import RequestError

MIN_CHOICES, MAX_CHOICES, MAX_CHOICE_CHARS = 2, 64, 64
# Answers of which all choices together are less than this share are other ones.
LEAST_SHARE = 0.01
HARDLY_SAID = "the model would hardly answer with any of the choices: it may be none of them"
# What is left of a choice that continues into longer ones, at least: a millionth of it.
_LEAST_LEFT = 1e-6


def check_choices(choices: Sequence[str], task: str) -> None:
    """Raise RequestError unless these can be the only answers to a question of this task."""
    if not choices:
        return
    if task:
        raise RequestError(
            "choices are for questions without a task", value=task, remedy="leave the task empty"
        )
    if not MIN_CHOICES <= len(choices) <= MAX_CHOICES:
        raise RequestError(
            f"there are not {MIN_CHOICES} to {MAX_CHOICES} choices", value=len(choices),
            remedy="give more, or fewer",
        )  # fmt: skip
    seen: dict[str, str] = {}
    for choice in choices:
        if len(choice) > MAX_CHOICE_CHARS:
            raise RequestError(
                f"a choice is longer than {MAX_CHOICE_CHARS} characters", value=choice,
                remedy="shorten it, and explain it in the question",
            )  # fmt: skip
        if not choice.strip() or not choice.isprintable():
            raise RequestError(
                "a choice has no visible character, or one that is none", value=repr(choice),
                remedy="give words",
            )  # fmt: skip
        name = " ".join(unicodedata.normalize("NFKC", choice).casefold().split())
        if name in seen:
            raise RequestError(
                "two choices are the same words", value=f"{seen[name]!r} and {choice!r}",
                remedy="give each choice once",
            )  # fmt: skip
        seen[name] = choice


def ways_to_say(choices: Sequence[str], states: States) -> list[list[str]]:
    """Return the texts by which a model says each choice: as given, in small letters, capitalised.

    Where a model says `states` as `door: open`, a choice that is the value of an attribute, as
    another choice is too, has that text besides.
    """
    said = [one.strip() for one in choices]
    ways = [
        list(dict.fromkeys((one, one.lower(), one[:1].upper() + one[1:].lower()))) for one in said
    ]
    for attribute, values in states.items():
        known = {value.casefold(): value for value in values}
        mine = [known.get(one.casefold()) for one in said]
        if len([one for one in mine if one is not None]) >= MIN_CHOICES:
            for texts, value in zip(ways, mine, strict=True):
                texts += [] if value is None else [f"{attribute}: {value}"]
    return ways


def without_longer(
    ids: Sequence[Sequence[int]], logs: Sequence[float], ends: Sequence[Sequence[bool]]
) -> list[float]:
    """Return the log-probability of each text itself, without the longer ones that it begins.

    `ids` are the texts' tokens, `logs` the log-probability that an answer begins with a text as
    whole words, `ends` whether each of its tokens may follow a whole word. So "no" has not what
    belongs to "no door".
    """
    found = list(logs)
    for k, mine in enumerate(ids):
        longer = [
            j for j, other in enumerate(ids)
            if len(other) > len(mine) and list(other[: len(mine)]) == list(mine)
            and ends[j][len(mine)]
        ]  # fmt: skip
        # Those that begin with another longer one are a part of it.
        direct = [
            j for j in longer
            if not any(i != j and len(ids[i]) < len(ids[j])
                       and list(ids[j][: len(ids[i])]) == list(ids[i])
                       and ends[j][len(ids[i])] for i in longer)
        ]  # fmt: skip
        if direct and logs[k] > -math.inf:
            taken = sum(math.exp(min(0.0, logs[j] - logs[k])) for j in direct)
            found[k] = logs[k] + math.log(max(_LEAST_LEFT, 1.0 - taken))
    return found


def log_sum(logs: Sequence[float]) -> float:
    """Return the logarithm of the sum of some probabilities, from their logarithms."""
    most = max(logs, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(one - most) for one in logs))


def probabilities(scores: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """Return the probability of each choice, together 1, from their log-probabilities.

    A temperature above 1 makes them less sure, below 1 surer (Guo et al. 2017); the order stays.
    """
    softened = [max(one, -1e4) / temperature for one in scores]
    total = log_sum(softened)
    return tuple(math.exp(one - total) for one in softened)


def hardly_said(scores: Sequence[float], task: str) -> bool:
    """Return whether the model would answer in other words, by the choices' log-probabilities.

    Not of states: a model says several in a row, and only the first can begin an answer.
    """
    return task != "state" and log_sum(scores) < math.log(LEAST_SHARE)
