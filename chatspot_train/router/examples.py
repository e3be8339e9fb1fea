"""What the router learns from: wordings with their intents, from every list that teaches.

The last third of the strangers' wordings and config/evaluation/intents_held_out.yaml are for
measuring; nothing here reads them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from chatspot_ros.core.intents import COMMAND, FOLLOW_UP, SHORT, SMALL_TALK, UNSUPPORTED
from chatspot_ros.util.bounded_yaml import load_yaml
from chatspot_sim import stranger_wordings, wordings
from chatspot_sim.kitchen import THING_KINDS, plural
from chatspot_sim.wording_patterns import spelled_out
from chatspot_train.data.sources import (
    cc595k,
    class_folders,
    coco_objects,
    objects365,
    refcoco,
    region_reading,
    visual_genome,
)
from chatspot_train.data.sources.base import draw, draw_number

HERE = Path(__file__).parent
# The intents of the kinds of kitchen wordings; what is not named here wants a short answer.
INTENT_OF_KIND = {
    "state": "state", "read": "read", "read_number": "read", "scene": "describe",
    "describe": "describe", "locate": "locate", "and_this": FOLLOW_UP, "smalltalk": SMALL_TALK,
    "command": COMMAND, "unsupported": UNSUPPORTED,
}  # fmt: skip
NAMES_A_WORDING = 3  # how many names of things are put into a wording that has room for one
MAX_OF_PATTERN = 16  # how many of a pattern's wordings teach, drawn by their hash


@dataclass(frozen=True)
class Example:
    """A wording and its intent. Examples of one `pattern` stay on one side of a split; each counts
    `weight` in the fit."""

    text: str
    intent: str
    pattern: str
    weight: float = 1.0


def teaching() -> list[Example]:
    """Return every example to learn from, each text once.

    The wordings that the bundled models learned count fully, whatever their pattern; those of a
    pattern by hand share its weight, so that one with many ways to say it does not outweigh others.
    """
    found: dict[str, Example] = {}
    for one in (*_kitchen(), *_by_hand(), *_strangers(), *_sources()):
        found.setdefault(one.text, one)
    sizes = Counter(one.pattern for one in found.values())
    learnt = {*_kitchen(), *_sources()}
    return [one if one in learnt else replace(one, weight=sizes[one.pattern] ** -0.5)
            for one in found.values()]  # fmt: skip


def stranger_intent(kind: str, wording: str) -> str:
    """Return the intent of a stranger's wording of a kind; `short` for a short answer."""
    for intent, texts in _stranger_labels().get(kind, {}).items():
        if wording in texts:
            return str(intent)
    return intent_of_kind(kind)


def intent_of_kind(kind: str) -> str:
    """Return the usual intent of a kind of kitchen wordings."""
    return "plan" if kind.startswith("plan") else INTENT_OF_KIND.get(kind, SHORT)


def named(wording: str, *key: object) -> str:
    """Return a wording with names of things, drawn by the hash of the key, in its places."""
    text = wording
    for number in range(text.count("{")):
        name = draw(_names(), wording, number, *key)
        text = re.sub(r"\{thing\}|\{content\}", name, text, count=1)
        text = text.replace("{things}", plural(name), 1)
    return text


def _with_names(wording: str, intent: str, pattern: str) -> Iterator[Example]:
    for number in range(NAMES_A_WORDING if "{" in wording else 1):
        yield Example(named(wording, number), intent, pattern)


def _by_hand() -> Iterator[Example]:
    for intent, patterns in _yaml("wordings.yaml")["wordings"].items():
        for pattern in patterns:
            texts = sorted(spelled_out(pattern), key=lambda text: draw_number(1 << 32, text))
            for wording in texts[:MAX_OF_PATTERN]:
                yield from _with_names(wording.strip(), intent, pattern)
    for intent, texts in _yaml("operator_wordings.yaml").items():
        yield from (Example(text, intent, text) for text in texts)


def _kitchen() -> Iterator[Example]:
    for kind, texts in wordings.TRAIN.items():
        for wording in texts:
            # Wordings that begin alike come from one pattern more often than not.
            pattern = f"{kind} {' '.join(wording.split()[:2])}"
            yield from _with_names(wording, intent_of_kind(kind), pattern)


def _strangers() -> Iterator[Example]:
    for kind, texts in stranger_wordings.taught().items():
        for text in texts:
            yield from _with_names(text, stranger_intent(kind, text), text)


def _sources() -> Iterator[Example]:
    """Yield the questions of the data sources, which models are trained on."""
    asked: dict[str, Iterable[str]] = {
        SHORT: (*refcoco.NAME_QUESTIONS, *coco_objects.NAME_QUESTIONS,
                *coco_objects.THERE_QUESTIONS, *objects365.REGION_QUESTIONS,
                *objects365.LIST_QUESTIONS, *objects365.COUNT_QUESTIONS, *cc595k.QUESTIONS,
                *class_folders.QUESTIONS, *visual_genome.QUESTIONS),
        "read": region_reading.QUESTIONS,
        "locate": (*refcoco.LOCATE_QUESTIONS, *coco_objects.LOCATE_QUESTIONS),
    }  # fmt: skip
    for intent, texts in asked.items():
        for text in texts:
            yield from _with_names(text, intent, text)


@cache
def _names() -> tuple[str, ...]:
    return (*_yaml("wordings.yaml")["things"], *THING_KINDS)


@cache
def _stranger_labels() -> Mapping[str, Mapping[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = _yaml("stranger_labels.yaml")
    return found


@cache
def _yaml(name: str) -> Any:
    return load_yaml(HERE / name)
