"""Conditions of the watch list (`when`): their grammar, and when they become true.

    [ATTRIBUTE] changes [from VALUE] [to VALUE] [for TIME]     the word `changes` may be left out
    [ATTRIBUTE] stays VALUE for TIME                           before `from` and `to`

TIME is a number and s, min or h. ATTRIBUTE and VALUE are words of the model's states, in any case;
without an attribute every attribute counts. Times are seconds by the frames' stamps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEYWORDS = ("changes", "from", "to", "stays", "for")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h)")
_UNIT_S = {"s": 1, "min": 60, "h": 3600}
_LONGEST_S = 7 * 86_400
# A model that makes up attributes fills no memory.
_MAX_WAITS = 256
_FORMS = "`door changes to open for 2 s`, `to open`, `from open` or `door stays open for 60 s`"


@dataclass(frozen=True)
class Condition:
    """One condition. Names are in lower case; empty `attribute`, `old` and `new` match any.

    `stays`: true also without a change, once `new` has held for `for_s`.
    """

    text: str
    attribute: str = ""
    old: str = ""
    new: str = ""
    stays: bool = False
    for_s: float = 0.0

    def begins(self, attribute: str, old: str, new: str) -> bool:
        """Return True if a value `new` after `old` ("": none before) begins what is waited for."""
        if self.attribute not in ("", attribute.casefold()):
            return False
        if self.stays:
            return new.casefold() == self.new
        is_change = bool(old) and old.casefold() != new.casefold()
        return is_change and self.old in ("", old.casefold()) and self.new in ("", new.casefold())

    def holds(self, value: str, begun: str) -> bool:
        """Return True while `value` goes on with what began with the value `begun`."""
        if self.old and not self.new:
            return value.casefold() != self.old
        return value.casefold() == begun.casefold()


def parse_condition(text: str) -> Condition:
    """Read one condition. Raises ValueError, which names the words at fault and the forms."""
    words = text.split()
    keys = [word.casefold() for word in words]
    marks = [at for at, key in enumerate(keys) if key in _KEYWORDS]
    if not marks:
        raise _wrong(text, "has none of the words changes, from, to and stays")
    parts: dict[str, str] = {}
    for at, end in zip(marks, [*marks[1:], len(words)], strict=True):
        if keys[at] in parts or (parts and _order(keys[at]) <= max(map(_order, parts))):
            raise _wrong(text, f"has `{words[at]}` where it cannot stand")
        parts[keys[at]] = " ".join(keys[at + 1 : end])
    if parts.get("changes"):
        raise _wrong(text, f"has `{parts['changes']}` after `changes`: write from, to or for")
    for key in ("from", "to", "stays", "for"):
        if key in parts and not parts[key]:
            raise _wrong(text, f"has nothing after `{key}`")
    if "stays" in parts and set(parts) != {"stays", "for"}:
        raise _wrong(text, "says `stays`, which goes with `for` and with nothing else")
    if set(parts) == {"for"}:
        raise _wrong(text, "does not say what changes")
    if "from" in parts and parts["from"] == parts.get("to"):
        raise _wrong(text, "is from and to one value")
    return Condition(
        text=" ".join(words),
        attribute=" ".join(keys[: marks[0]]),
        old=parts.get("from", ""),
        new=parts.get("to", parts.get("stays", "")),
        stays="stays" in parts,
        for_s=_seconds(text, parts["for"]) if "for" in parts else 0.0,
    )


def check_states(condition: Condition, states: Mapping[str, tuple[str, ...]]) -> None:
    """Check the words of a condition against the possible states, attribute -> values.

    Without states any words are possible. Raises ValueError for a word that no answer can say: the
    condition could never become true.
    """
    if not states:
        return
    known = {
        attribute.casefold(): [value.casefold() for value in values]
        for attribute, values in states.items()
    }
    if condition.attribute and condition.attribute not in known:
        said = f"waits for `{condition.attribute}`; the states are of {', '.join(known)}"
        raise _wrong(condition.text, said)
    values = known.get(condition.attribute) or sorted({v for some in known.values() for v in some})
    for word in (condition.old, condition.new):
        if word and word not in values:
            raise _wrong(condition.text, f"waits for `{word}`; the values are {', '.join(values)}")


def _order(key: str) -> int:
    return ("changes", "stays", "from", "to", "for").index(key)


def _seconds(text: str, words: str) -> float:
    found = _TIME.fullmatch(words)
    seconds = float(found[1]) * _UNIT_S[found[2]] if found else math.nan
    if not 0 < seconds <= _LONGEST_S:
        raise _wrong(text, f"has `for {words}`: give a time up to 168 h, such as 2 s, 5 min or 1 h")
    return seconds


def _wrong(text: str, what: str) -> ValueError:
    return ValueError(f"the condition `{' '.join(text.split())}` {what}; write {_FORMS}")


@dataclass(frozen=True)
class Fulfilled:
    """A condition that has become true: which attribute, its value before ("": none) and now."""

    condition: Condition
    attribute: str
    old: str
    new: str
    confidence: float


@dataclass
class _Wait:
    """A value that has begun, and must hold until `condition.for_s` is over."""

    old: str
    begun: str
    since_s: float
    confidence: float
    told: bool = False


class Waiting:
    """The conditions of one entry about one thing."""

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        self._conditions = conditions
        # The last value of each attribute; those of the last answer alone.
        self._values: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._waits: dict[tuple[Condition, str], _Wait] = {}

    def answered(
        self, values: Mapping[str, str], confidence: float, now_s: float
    ) -> list[Fulfilled]:
        """Store the values (by attribute) after an answer about the frame of `now_s`.

        Values that are not confirmed yet are left out.
        """
        if not self._conditions:
            return []
        for attribute, value in values.items():
            old = self._values.pop(attribute, "")
            for condition in self._conditions:
                self._go_on(condition, attribute, old, value, confidence, now_s)
            self._values[attribute] = value
        self._said = dict(values)
        _drop_oldest(self._values)
        _drop_oldest(self._waits)
        return self.unchanged(now_s)

    def unchanged(self, now_s: float) -> list[Fulfilled]:
        """Store that the frame of `now_s` looks as that of the last answer, whose values hold."""
        found = []
        for (condition, attribute), wait in self._waits.items():
            is_due = not wait.told and now_s - wait.since_s >= condition.for_s
            if is_due and attribute in self._said:
                wait.told = True
                value = self._said[attribute]
                found.append(Fulfilled(condition, attribute, wait.old, value, wait.confidence))
        return found

    def is_due(self, now_s: float) -> bool:
        """Return True if a value has held for its time, should it still hold at `now_s`."""
        return any(
            not wait.told and now_s - wait.since_s >= condition.for_s
            for (condition, _), wait in self._waits.items()
        )

    def restart(self, now_s: float) -> None:
        """Count the times that have begun from `now_s` on: time was set back."""
        for wait in self._waits.values():
            wait.since_s = now_s

    def _go_on(
        self, condition: Condition, attribute: str, old: str, new: str, confidence: float,
        now_s: float,
    ) -> None:  # fmt: skip
        """Begin, go on with or end the wait of a condition."""
        key = condition, attribute
        is_change = old.casefold() != new.casefold()
        wait = self._waits.get(key)
        if wait is not None and condition.holds(new, wait.begun):
            wait.confidence = confidence
        elif wait is not None:
            del self._waits[key]
        if condition.begins(attribute, old, new) and (is_change or key not in self._waits):
            self._waits[key] = _Wait(old if is_change else "", new, now_s, confidence)


def _drop_oldest(memory: dict[Any, Any]) -> None:
    while len(memory) > _MAX_WAITS:
        del memory[next(iter(memory))]
