"""Wordings by strangers: how people who never saw the project's own wordings ask.

`stranger_wordings.yaml` holds them by kind. The first two thirds of each kind teach, the last third
measures. Some ask the other way round than the project's own ("is it shut?"): `sense` says how.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from chatspot_sim.wording_patterns import Wordings

FILE = Path(__file__).with_name("stranger_wordings.yaml")
NO_QUESTIONS = ("smalltalk", "command", "unsupported")
# What a wording is about -> the values of states that it fits.
ABOUT: dict[str, frozenset[str]] = {
    "open": frozenset({"open", "closed"}),
    "on": frozenset({"on", "off", "running"}),
    "full": frozenset({"full", "empty"}),
    "in": frozenset({"in", "out"}),
}


@dataclass(frozen=True)
class Sense:
    """How a wording asks.

    `opposite`: yes means the other value. `either`: it offers both values, so that the answer is
    the value. `swapped`: of two regions it asks for the place of the second. `values`: it fits only
    things with one of these states; empty: all things.
    """

    opposite: bool = False
    either: bool = False
    swapped: bool = False
    values: frozenset[str] = frozenset()


_PLAIN = Sense()
_SENSES = {
    "opposite": Sense(opposite=True), "either": Sense(either=True), "swapped": Sense(swapped=True),
}  # fmt: skip


def taught() -> Wordings:
    """Return the first two thirds of each kind, without those that have no true answer."""
    found = _load()
    out = found["not_taught"]
    return {
        kind: tuple(text for text in texts[: -_last_third(texts)] if text not in out.get(kind, ()))
        for kind, texts in found["wordings"].items()
    }


def measured() -> Wordings:
    """Return the last third of each kind, all of it."""
    return {
        kind: tuple(texts[-_last_third(texts) :]) for kind, texts in _load()["wordings"].items()
    }


def sense(kind: str, wording: str) -> Sense:
    """Return how a wording of this kind asks; the project's own wordings ask plainly."""
    return _senses().get((kind, wording), _PLAIN)


def fitting(kind: str, wordings: tuple[str, ...], values: Collection[str]) -> tuple[str, ...]:
    """Return the wordings that fit a thing in a state of these values; all without values."""
    if not values:
        return wordings
    about = {one: sense(kind, one).values for one in set(wordings)}
    return tuple(
        one for one in wordings if not about[one] or not about[one].isdisjoint(values)
    )  # fmt: skip


def half_and_half(first: Wordings, second: Wordings) -> Wordings:
    """Return the wordings of both, repeated so that each gives half of a uniform draw; kinds of
    only one of them are drawn from that one."""
    return {
        kind: first.get(kind, ()) * max(1, len(second.get(kind, ())))
        + second.get(kind, ()) * max(1, len(first.get(kind, ())))
        for kind in {**first, **second}
    }


def _last_third(texts: list[str]) -> int:
    return len(texts) // 3


@lru_cache(maxsize=1)
def _load() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), loader)
    return found


@lru_cache(maxsize=1)
def _senses() -> dict[tuple[str, str], Sense]:
    found = _load()
    senses = {
        (kind, text): meant
        for how, meant in _SENSES.items()
        for kind, texts in found[how].items() for text in texts
    }  # fmt: skip
    for about, texts in found["about"].items():
        senses |= {("state", text): Sense(values=ABOUT[about]) for text in texts}
    return senses
