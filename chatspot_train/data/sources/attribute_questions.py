"""Questions about the attributes of things, as annotation tools export them: `{"door": "open"}`."""

from __future__ import annotations

from typing import Any

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_sim.questions import state_text, yes_no_text
from chatspot_sim.stranger_wordings import Sense
from chatspot_sim.wording_patterns import Wordings
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.photo_wordings import ask, photo_wordings

# A pair of values, the one that means yes first -> the kind of wordings.
YES_NO: dict[tuple[str, str], str] = {
    ("open", "closed"): "door_open",
    ("on", "off"): "on",
    ("full", "empty"): "contents_full",
}
TRIES = 50


def text_attributes(raw: Any) -> dict[str, str]:
    """Return the attributes whose values are words; not the ticks and numbers of a tool."""
    if not isinstance(raw, dict):
        return {}
    return {
        name.strip(): value.strip() for name, value in raw.items()
        if isinstance(name, str) and isinstance(value, str) and name.strip() and value.strip()
    }  # fmt: skip


def state_turn(
    name: str,
    attributes: dict[str, str],
    region: Region,
    rng: np.random.Generator,
    wordings: Wordings | None = None,
) -> RecordTurn:
    """Return a question for the state of a thing, or in half of the cases one that wants yes or no
    where an attribute's value allows it; by default in a wording that teaches."""
    wordings = wordings or photo_wordings()
    answerable = [
        (attribute, value, pair) for attribute, value in sorted(attributes.items())
        for pair in YES_NO if value.casefold() in pair
    ]  # fmt: skip
    if not answerable or rng.random() < 0.5:
        values = [value.casefold() for value in attributes.values()]
        question, _ = ask("state", rng, values, wordings, thing=_called(name, attributes, rng))
        return RecordTurn(question, state_text(attributes), (region,), "state")
    attribute, value, pair = answerable[int(rng.integers(len(answerable)))]
    question, asked = _yes_no(name, attribute, YES_NO[pair], rng, wordings)
    return RecordTurn(question, yes_no_text(attribute, value, _spelled(value, pair), asked),
                      (region,))  # fmt: skip


def _spelled(value: str, pair: tuple[str, str]) -> str:
    """Return the value that means yes, spelled as the file spells its values."""
    return value if value.casefold() == pair[0] else pair[0]


def _yes_no(
    name: str, attribute: str, kind: str, rng: np.random.Generator, wordings: Wordings
) -> tuple[str, Sense]:
    """Draw a wording; one that speaks of a door only for a door."""
    speaks = attribute.casefold() == "door" or "door" in name.casefold()
    for _ in range(TRIES):
        called = _called(name, {attribute: ""}, rng)
        question, asked = ask(kind, rng, (), wordings, thing="{thing}")
        about_door = "door" in question
        if about_door and not speaks:
            continue
        if about_door and called.casefold().endswith("door"):
            called = _short(name, attribute)
        return question.replace("{thing}", called), asked
    first = wordings[kind][0]
    return first.replace("{thing}", name), Sense()


def _called(name: str, attributes: dict[str, str], rng: np.random.Generator) -> str:
    """Return the name, or in half of the cases without the part that the attribute is about: the
    `refrigerator` of a `refrigerator door`."""
    short = [_short(name, one) for one in attributes if _short(name, one) != name]
    return short[0] if short and rng.random() < 0.5 else name


def _short(name: str, attribute: str) -> str:
    end = f" {attribute}"
    return name[: -len(end)] if name.casefold().endswith(end.casefold()) else name
