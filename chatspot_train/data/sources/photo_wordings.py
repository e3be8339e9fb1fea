"""Wordings of questions about photographs: the project's own and strangers', half and half.

They are the kitchen's wordings without those that speak of a kitchen.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from chatspot_sim.stranger_wordings import Sense, fitting, half_and_half, measured, sense, taught
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wording_patterns import Wordings
from chatspot_sim.wordings import TRAIN

_KITCHEN_ONLY = re.compile(r"kitchen|worktop|cook|utensil|appliance|chef|coffee", re.IGNORECASE)
_VOWELS = tuple("aeiou")
_OWN: Wordings = {
    "on": (
        "Is it on?",
        "Is the {thing} on?",
        "Is <region> switched on?",
        "is this thing on",
        "Has the {thing} been turned on?",
        "Tell me if this is on.",
        "{thing} on?",
        "is it running or not",
    ),
    "room": (
        "Which room is this?",
        "What kind of room is it?",
        "what room is that",
        "Where was this picture taken?",
        "Which sort of place is this?",
        "what place am i looking at",
        "Name the room, please.",
        "Indoors or outdoors, and which room?",
        "In one word, which room does the picture show?",
        "so which part of the house is this",
    ),
    "listing": (
        "Which things are in the picture?",
        "List the things in the picture.",
        "Name the objects you see.",
        "list everything you can see",
        "What objects are there?",
        "just name the things, no sentences",
        "Make a list of what is in the photo.",
        "which objects are visible here",
    ),
    "place": (
        "Where in the picture is the {thing}? Answer in words.",
        "In words, where is the {thing}?",
        "Describe the place of the {thing}.",
        "say in words where the {thing} is",
        "Whereabouts is the {thing}? No box, just tell me.",
        "how would you describe where the {thing} is",
    ),
    "text": (
        "What is written in the picture?",
        "Read the text in the picture.",
        "What can be read here?",
        "which words are in the photo",
        "Is there anything to read? What?",
        "read me all the writing you can see",
        "What do the signs and labels say?",
    ),
    "exact": (
        "What exactly is this?",
        "Which sort of {thing} is this?",
        "What kind of {thing} is <region>?",
        "Which {thing} is it exactly?",
        "be precise, which {thing} is that",
        "what variety or brand is this {thing}",
        "Tell me exactly what is in <region>.",
        "Give the exact name of this product.",
        "which type of {thing} did i mark",
        "exact product name please",
        "What {thing} is that, precisely?",
        "Which kind of {thing} do you see in <region>?",
    ),
}  # fmt: skip


_OWN_TEST: Wordings = {
    "on": ("Is this {thing} on?", "is it switched on at the moment"),
    "exact": (
        "Which product is this exactly?",
        "tell me precisely what this {thing} is",
        "What is the full name of this?",
        "which one of the {thing} kinds is it",
    ),
}


@lru_cache(maxsize=1)
def photo_wordings() -> Wordings:
    """Return the wordings that teach, by kind."""
    return {**half_and_half(_general(TRAIN), _general(taught())), **_OWN}


@lru_cache(maxsize=1)
def measuring_wordings() -> Wordings:
    """Return the wordings that measure, by kind: none of them teaches."""
    return {**half_and_half(_general(TEST), _general(measured())), **_OWN_TEST}


def _general(wordings: Wordings) -> Wordings:
    return {
        kind: tuple(one for one in some if not _KITCHEN_ONLY.search(one))
        for kind, some in wordings.items()
    }


def ask(
    kind: str,
    rng: np.random.Generator,
    values: Collection[str] = (),
    wordings: Wordings | None = None,
    **names: str,
) -> tuple[str, Sense]:
    """Draw a wording that fits a thing in a state of these values, its names filled in; by default
    one that teaches."""
    choices = fitting(kind, (wordings or photo_wordings())[kind], values)
    wording = choices[int(rng.integers(len(choices)))]
    text = wording
    for key, value in names.items():
        if value[:1].lower() in _VOWELS:
            text = re.sub(r"\b([Aa]) \{" + key, r"\1n {" + key, text)
        text = text.replace("{" + key + "}", value)
    return text, sense(kind, wording)


def plural(name: str) -> str:
    """Return the plural of a name in English: people, knives, boxes, cherries, cabinet doors."""
    rest, _, last = name.rpartition(" ")
    start = f"{rest} " if rest else ""
    if last in _PLURALS:
        return start + _PLURALS[last]
    for singular, many in _IRREGULAR.items():
        if last.endswith(singular):
            return start + last.removesuffix(singular) + many
    if re.search(r"[^aeiou]y$", last):
        return f"{start}{last[:-1]}ies"
    return f"{start}{last}{'es' if re.search(r'(s|x|z|ch|sh)$', last) else 's'}"


_PLURALS = {
    "person": "people",
    "human": "humans",
    "sheep": "sheep",
    "child": "children",
    "foot": "feet",
}
_IRREGULAR = {
    "man": "men", "shelf": "shelves", "knife": "knives", "leaf": "leaves", "loaf": "loaves",
    "mouse": "mice", "tomato": "tomatoes", "potato": "potatoes",
}  # fmt: skip


def there_text(name: str, there: bool) -> str:
    """Return the answer to "is there a ...?": `yes, there is a door here`."""
    article = "an" if name[:1].lower() in _VOWELS else "a"
    return f"yes, there is {article} {name} here" if there else f"no, there is no {name} here"
