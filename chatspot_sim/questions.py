"""Questions about a kitchen picture with their true answers, in the paper's instruction format.

A dialogue is a list of questions on one picture, each asked after the ones before it. Regions
are in pixels of the truth's picture. Answer texts are chatspot-tiny's training targets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chatspot_sim.asking import Asker, KitchenQuestion
from chatspot_sim.goals import goals
from chatspot_sim.kitchen import PART_NAMES, THING_KINDS, plural
from chatspot_sim.stranger_wordings import Sense
from chatspot_sim.truth import Thing, Truth
from chatspot_sim.wordings import TRAIN, Wordings

YES_NO: dict[str, tuple[str, str]] = {
    # attribute: (wording, the value that means yes)
    "door": ("door_open", "open"),
    "drawer": ("drawer_open", "open"),
    "plug": ("plug_in", "in"),
    "burner": ("burner_on", "on"),
    "water": ("water_running", "running"),
    "contents": ("contents_full", "full"),
}


Dialogue = list[KitchenQuestion]


def _name(ask: Asker) -> Dialogue | None:
    thing = ask.pick(ask.asked_things())
    if thing is None:
        return None
    return [KitchenQuestion("name", ask.word("name"), "", (ask.region(thing),), thing.name,
                            thing=thing.id)]  # fmt: skip


def _follow_up(ask: Asker) -> Dialogue | None:
    """Name one thing, then ask "and this?" of another."""
    things = ask.asked_things()
    if len(things) < 2:
        return None
    a, b = (things[int(k)] for k in ask.rng.permutation(len(things))[:2])
    second = KitchenQuestion("follow_up", ask.word("and_this"), "", (ask.region(b),), b.name,
                             thing=b.id)  # fmt: skip
    first = KitchenQuestion("name", ask.word("name"), "", (ask.region(a),), a.name, thing=a.id)
    if a.colour and b.colour and ask.rng.random() < 0.5:
        first = KitchenQuestion("colour", ask.word("colour", thing=a.name), "", (ask.region(a),),
                                a.colour, thing=a.id)  # fmt: skip
        second = KitchenQuestion("follow_up", second.question, "", second.regions, b.colour,
                                 thing=b.id)  # fmt: skip
    return [first, second]


def _part(ask: Asker) -> Dialogue | None:
    options = [
        (thing, part) for thing in ask.asked_things() for part in thing.parts
        if part.name in PART_NAMES and min(
            (part.box_xyxy_px[2] - part.box_xyxy_px[0]) / ask.truth.width,
            (part.box_xyxy_px[3] - part.box_xyxy_px[1]) / ask.truth.height) > 0.02
    ]  # fmt: skip
    if not options:
        return None
    thing, part = options[int(ask.rng.integers(len(options)))]
    return [KitchenQuestion("part", ask.word("part"), "", (ask.box_region(part.box_xyxy_px),),
                            part.name, thing=thing.id)]  # fmt: skip


def _colour(ask: Asker) -> Dialogue | None:
    thing = ask.pick([t for t in ask.asked_things() if t.colour])
    if thing is None:
        return None
    return [KitchenQuestion("colour", ask.word("colour", thing=thing.name), "",
                            (ask.region(thing),), thing.colour, thing=thing.id)]  # fmt: skip


def state_text(state: dict[str, str]) -> str:
    """Return `door: open, plug: in`."""
    return ", ".join(f"{name}: {value}" for name, value in state.items())


def _state(ask: Asker) -> Dialogue | None:
    thing = ask.pick([t for t in ask.asked_things() if t.state])
    if thing is None:
        return None
    text, _ = ask.worded("state", tuple(thing.state.values()), thing=thing.name)
    answer = state_text(thing.state)
    return [KitchenQuestion("state", text, "state", (ask.region(thing),), answer, thing=thing.id)]


def _yes_no(ask: Asker) -> Dialogue | None:
    thing = ask.pick([t for t in ask.asked_things() if t.state])
    if thing is None:
        return None
    attribute = str(ask.rng.choice(list(thing.state)))
    wording, yes = YES_NO[attribute]
    text, asked = ask.worded(wording, thing=thing.name)
    answer = yes_no_text(attribute, thing.state[attribute], yes, asked)
    return [KitchenQuestion("yes_no", text, "", (ask.region(thing),), answer,
                            thing=thing.id)]  # fmt: skip


def yes_no_text(attribute: str, value: str, yes: str, asked: Sense) -> str:
    """Return `yes, door: open`, or `door: open` where the question offers both values.

    `yes` is the value that means yes to a plain question.
    """
    fact = f"{attribute}: {value}"
    if asked.either:
        return fact
    return f"{'yes' if (value == yes) != asked.opposite else 'no'}, {fact}"


def _read(ask: Asker) -> Dialogue | None:
    thing = ask.pick([t for t in ask.asked_things() if t.text])
    if thing is None:
        return None
    wording = "read_number" if thing.text.isdigit() else "read"
    region = ask.region(thing)
    labels = [p for p in thing.parts if p.name in ("display", "number", "label")]
    if labels and ask.rng.random() < 0.4:
        region = ask.box_region(labels[0].box_xyxy_px)
    return [KitchenQuestion("read", ask.word(wording, thing=thing.name), "read", (region,),
                            thing.text, thing=thing.id)]  # fmt: skip


def _count(ask: Asker) -> Dialogue | None:
    clear = {t.id for t in ask.asked_things()}
    present = list(dict.fromkeys(t.name for t in ask.truth.things))
    kind = str(ask.rng.choice(present if present and ask.rng.random() < 0.8 else list(THING_KINDS)))
    if any(t.id not in clear for t in ask.truth.of_kind(kind)):
        return None  # one of them is too small to ask a fair question
    return [KitchenQuestion("count", ask.word("count", things=plural(kind)), "", (),
                            str(len(ask.truth.of_kind(kind))))]  # fmt: skip


def _relation(ask: Asker) -> Dialogue | None:
    things = ask.asked_things()
    for _ in range(8):
        if len(things) < 2:
            return None
        a, b = (things[int(k)] for k in ask.rng.permutation(len(things))[:2])
        answer = relation_text(a, b, ask.truth.width)
        if answer:
            regions = (ask.region(a), ask.region(b))
            text, asked = ask.worded("relation")
            if asked.swapped:
                regions = (regions[1], regions[0])
            return [KitchenQuestion("relation", text, "", regions, answer, thing=a.id)]
    return None


def relation_text(a: Thing, b: Thing, width: int) -> str:
    """Return the relation of a to b as seen: `inside`, `left of`, `right of`; empty if unclear."""
    if a.inside == b.id:
        return "inside"
    if b.inside == a.id:
        return ""
    middle = [(t.box_xyxy_px[0] + t.box_xyxy_px[2]) / 2 for t in (a, b)]
    if abs(middle[0] - middle[1]) < 0.06 * width:
        return ""
    return "left of" if middle[0] < middle[1] else "right of"


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def describe_text(thing: Thing) -> str:
    """Return `a red mug, contents: full` or `a blue bottle, it says COLA`."""
    words = f"{thing.colour} {thing.name}".strip()
    extras = [f"{name}: {value}" for name, value in thing.state.items()]
    if thing.text:
        extras.append(f"it says {thing.text}")
    return ", ".join([_article(words), *extras])


def _describe(ask: Asker) -> Dialogue | None:
    thing = ask.pick(ask.asked_things())
    if thing is None:
        return None
    return [KitchenQuestion("describe", ask.word("describe"), "describe", (ask.region(thing),),
                            describe_text(thing), thing=thing.id)]  # fmt: skip


def _scene(ask: Asker) -> Dialogue | None:
    names = [t.name for t in ask.asked_things()]
    if not names:
        return None
    counted = []
    for kind in THING_KINDS:  # a fixed order, so that one answer is right
        n = names.count(kind)
        if n:
            counted.append(_article(kind) if n == 1 else f"{n} {plural(kind)}")
    return [KitchenQuestion("scene", ask.word("scene"), "describe", (),
                            "a kitchen with " + ", ".join(counted))]  # fmt: skip


def _is_there(ask: Asker) -> Dialogue | None:
    if ask.rng.random() < 0.35:
        return _is_there_in_picture(ask)
    thing = ask.pick(ask.asked_things())
    if thing is None:
        return None
    name = thing.name if ask.rng.random() < 0.5 else str(ask.rng.choice(THING_KINDS))
    inside = {t.name for t in ask.truth.things if t.inside == thing.id}
    if name in inside:
        return None
    return [KitchenQuestion("is_there", ask.word("is_there", thing=name), "",
                            (ask.region(thing),), _there(name, name == thing.name),
                            thing=thing.id)]  # fmt: skip


def _is_there_in_picture(ask: Asker) -> Dialogue | None:
    clear = [t.name for t in ask.asked_things()]
    present = {t.name for t in ask.truth.things}
    name = str(ask.rng.choice(clear if clear and ask.rng.random() < 0.5 else list(THING_KINDS)))
    if name in present and name not in clear:
        return None
    return [KitchenQuestion("is_there", ask.word("is_there_scene", thing=name), "", (),
                            _there(name, name in present))]  # fmt: skip


def _there(name: str, there: bool) -> str:
    return f"yes, there is {_article(name)} here" if there else f"no, there is no {name} here"


def _locate(ask: Asker) -> Dialogue | None:
    """Ask for a thing that occurs once (so that one box is right) or not at all."""
    names = [t.name for t in ask.truth.things]
    single = [t for t in ask.asked_things() if names.count(t.name) == 1]
    if single and ask.rng.random() < 0.85:
        thing = single[int(ask.rng.integers(len(single)))]
        called = thing.name
        if thing.colour and ask.rng.random() < 0.3:
            called = f"{thing.colour} {thing.name}"
        return [KitchenQuestion("locate", ask.word("locate", thing=called), "locate", (), "",
                                thing.box_xyxy_px, thing.id, phrase=called)]  # fmt: skip
    missing = [kind for kind in THING_KINDS if kind not in names]
    name = str(ask.rng.choice(missing))
    return [KitchenQuestion("locate", ask.word("locate", thing=name), "locate", (),
                            f"there is no {name} here")]  # fmt: skip


def _plan(ask: Asker) -> Dialogue | None:
    options = [(thing, *goal) for thing in ask.asked_things() for goal in goals(thing, ask.truth)]
    if not options:
        return None
    thing, wording, content, steps = options[int(ask.rng.integers(len(options)))]
    text = ask.word(wording, thing=thing.name, content=content)
    return [KitchenQuestion("plan", text, "plan", (ask.region(thing),),
                            "; ".join(steps) or "nothing to do", thing=thing.id)]  # fmt: skip


_DRAW: dict[str, Callable[[Asker], Dialogue | None]] = {
    "name": _name, "follow_up": _follow_up, "part": _part, "colour": _colour, "state": _state,
    "yes_no": _yes_no, "read": _read, "count": _count, "relation": _relation,
    "describe": _describe, "scene": _scene, "is_there": _is_there, "locate": _locate,
    "plan": _plan,
}  # fmt: skip
KINDS = tuple(_DRAW)


def draw_dialogue(
    truth: Truth,
    kind: str,
    rng: np.random.Generator,
    wordings: Wordings = TRAIN,
    *,
    labels: NDArray[np.integer] | None = None,
    noise: float = 1.0,
    shape: str = "",
) -> Dialogue | None:
    """Draw a dialogue of one of KINDS; return None if the picture does not allow it.

    Raises KeyError for an unknown kind.
    """
    return _DRAW[kind](Asker(truth, rng, wordings, labels, noise, shape))
