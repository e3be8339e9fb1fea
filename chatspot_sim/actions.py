"""Apply a robot's skills to a kitchen. A skill fails, with a reason, where a real one would."""

from __future__ import annotations

from chatspot_sim.kitchen import COUNTER_HEIGHT, SMALL_KINDS, Item, Kitchen

OUT_OF_SIGHT = (0.0, -6.0, -3.0)
PICKABLE = (*SMALL_KINDS, "kettle")

# action -> (attribute, value it sets)
SETS: dict[str, tuple[tuple[str, str], ...]] = {
    "open": (("door", "open"), ("drawer", "open")),
    "close": (("door", "closed"), ("drawer", "closed")),
    "plug_in": (("plug", "in"),),
    "unplug": (("plug", "out"),),
    "turn_on": (("burner", "on"), ("water", "running")),
    "turn_off": (("burner", "off"), ("water", "off")),
    "fill": (("contents", "full"),),
    "empty": (("contents", "empty"),),
}
ACTIONS = (*SETS, "pick", "place")


def act_on(kitchen: Kitchen, action: str, target: str) -> tuple[bool, str]:
    """Apply `action` to the thing with id, kind, printed word or "colour kind" `target`.

    Change the kitchen in place; return whether that worked, and the effect or the reason.
    """
    if action not in ACTIONS:
        return False, f"no skill {action!r}; there are {', '.join(ACTIONS)}"
    item = find(kitchen, target)
    if item is None:
        there = ", ".join(item.id for item in kitchen.items)
        return False, f"there is no {target!r} in this kitchen; there are {there}"
    if action == "pick":
        return _pick(kitchen, item)
    if action == "place":
        return _place(kitchen, item)
    for attribute, value in SETS[action]:
        if attribute in item.state:
            return _set(kitchen, item, action, attribute, value)
    return False, f"{item.id} cannot be acted on with {action!r}, only with {_skills_for(item)}"


def _skills_for(item: Item) -> str:
    """Return the skills that the thing takes."""
    skills = [
        name for name, sets in SETS.items() if any(attribute in item.state for attribute, _ in sets)
    ]
    return ", ".join([*skills, *(["pick", "place"] if item.kind in PICKABLE else [])]) or "none"


def find(kitchen: Kitchen, target: str) -> Item | None:
    """Return the thing named `target`; of several, the first that is not in the hand."""
    return next(iter(find_all(kitchen, target)), None)


def find_all(kitchen: Kitchen, target: str) -> list[Item]:
    """Return the things named `target`, those in the hand last."""
    words = target.lower().strip()
    if not words:
        return []  # it would match every thing without text
    free = sorted(kitchen.items, key=lambda item: item.inside == "hand")
    return [
        item
        for item in free
        if words in (item.id, item.kind, item.text.lower(), f"{item.colour} {item.kind}")
    ]


def _set(kitchen: Kitchen, item: Item, action: str, attribute: str, value: str) -> tuple[bool, str]:
    if item.state[attribute] == value:
        return True, f"{item.id} was already {value}"
    if action == "fill" and not any(
        i.kind == "tap" and i.state["water"] == "running" for i in kitchen.items
    ):
        return False, f"{item.id} cannot be filled: no tap is running"
    item.state[attribute] = value
    if attribute in ("door", "drawer"):
        item.opening = float(item.look["open_to"]) if value == "open" else 0.0
    return True, f"{item.id} {attribute}: {value}"


def _pick(kitchen: Kitchen, item: Item) -> tuple[bool, str]:
    if item.kind not in PICKABLE:
        return False, f"{item.id} cannot be picked up"
    held = [i.id for i in kitchen.items if i.inside == "hand"]
    if held:
        return False, f"the hand already holds {held[0]}"
    if item.inside:
        holder = kitchen.item(item.inside)
        if "open" not in holder.state.values():
            return False, f"{item.id} is behind the closed door of {holder.id}"
    item.look["stood_at"] = item.place
    item.look["was_inside"] = item.inside
    item.inside, item.place = "hand", OUT_OF_SIGHT
    return True, f"picked {item.id}"


def _place(kitchen: Kitchen, item: Item) -> tuple[bool, str]:
    if item.inside != "hand":
        return False, f"{item.id} is not in the hand"
    x, y, z = item.look["stood_at"]
    if item.look["was_inside"]:
        counters = [
            i for i in kitchen.items if not i.inside and abs(i.place[2] - COUNTER_HEIGHT) < 0.01
        ]
        x = counters[0].place[0] + 0.1 if counters else x + 0.6
        y, z = -0.5, COUNTER_HEIGHT
    item.place, item.inside = (x, y, z), ""
    return True, f"placed {item.id}"
