"""Wordings of questions for tests only: training never sees these.

`<region>`, `{thing}` and `{things}` as in `wordings.py`.
"""

from __future__ import annotations

from chatspot_sim.wordings import Wordings

TEST: Wordings = {
    "name": (
        "What is the thing in this region?",
        "Which thing can you see here? <region>",
        "Tell me what is in <region>.",
    ),
    "and_this": ("And that one?", "How about <region>?"),
    "part": ("Which part is this?", "What part can you see in <region>?"),
    "colour": ("Which colour is this?", "Tell me what colour <region> is."),
    "state": ("Tell me the state of this.", "In which state is <region>?"),
    "door_open": ("Is this {thing} open?", "Tell me: is <region> open?"),
    "drawer_open": ("Is this {thing} open?", "Tell me: is <region> open?"),
    "plug_in": ("Is this {thing} plugged in?", "Tell me: is <region> plugged in?"),
    "burner_on": ("Is this on?", "Is one burner of <region> on?"),
    "water_running": ("Is water running here?", "Is this {thing} running?"),
    "contents_full": ("Is this {thing} full?", "Tell me: is <region> full?"),
    "read": ("What text is written here? <region>", "Read what it says."),
    "read_number": ("What number does it show? <region>", "Read the number here."),
    "count": ("How many {things} do you see?", "Tell me how many {things} are in the picture."),
    "relation": ("Where does <region> stand relative to <region>?",),
    "scene": ("Describe what you can see in the picture.", "Tell me what is in this kitchen."),
    "describe": ("Describe what is in <region> in detail.", "Tell me in detail about this."),
    "is_there": ("Can you see a {thing} here?", "Is a {thing} in <region>?"),
    "is_there_scene": ("Can you see a {thing} in the picture?",),
    "locate": ("Where can you see the {thing}?", "Give me the box of the {thing}."),
    "plan_open": ("What steps open this?",),
    "plan_close": ("What steps close this?",),
    "plan_power": ("What steps make this {thing} run?",),
    "plan_off": ("What steps make this safe?",),
    "plan_fetch": ("What steps take the {content} out of <region>?",),
    "plan_fill": ("What steps fill this?",),
}
