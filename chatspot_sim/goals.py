"""Goals that a robot may have for a thing in the kitchen, with the correct steps."""

from __future__ import annotations

from chatspot_sim.truth import Thing, Truth


def goals(thing: Thing, truth: Truth) -> list[tuple[str, str, list[str]]]:
    """Return the goals for a thing: (wording, content, correct steps in the visible state)."""
    name, state = thing.name, thing.state
    found: list[tuple[str, str, list[str]]] = []
    for attribute in ("door", "drawer"):
        if attribute in state:
            shut = state[attribute] == "closed"
            found.append(("plan_open", "", [f"open {name}"] if shut else []))
            found.append(("plan_close", "", [] if shut else [f"close {name}"]))
    if "plug" in state and "door" in state:
        close = [f"close {name}"] if state["door"] == "open" else []
        plug = [f"plug_in {name}"] if state["plug"] == "out" else []
        found.append(("plan_power", "", close + plug))
    if name == "fridge" and "door" in state:
        content = next((t for t in truth.things if t.inside == thing.id), None)
        asked = content.name if content is not None else "bottle"
        if state["door"] == "closed" or content is not None:
            start = [f"open {name}"] if state["door"] == "closed" else []
            found.append(("plan_fetch", asked, [*start, f"pick {asked}", f"close {name}"]))
    for attribute, off in (("burner", "off"), ("water", "off")):
        if attribute in state:
            found.append(("plan_off", "", [] if state[attribute] == off else [f"turn_off {name}"]))
    if "contents" in state:
        full = state["contents"] == "full"
        found.append(
            ("plan_fill", "", [] if full else ["turn_on tap", f"fill {name}", "turn_off tap"])
        )
    return found
