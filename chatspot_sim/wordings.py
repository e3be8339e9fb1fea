"""How questions are worded in training; test wordings: `unseen_wordings.py`.

`<region>` stands for the asked region, `{thing}` for a thing's name, `{things}` for its plural.
The first wording of each kind in TRAIN is the one a person would most likely type.
"""

from __future__ import annotations

Wordings = dict[str, tuple[str, ...]]

TRAIN: Wordings = {
    "name": (
        "What is this?",
        "What is this? <region>",
        "What can you see in this region? <region>",
        "Name the thing in <region>.",
        "Which object is at <region>?",
        "What is the object here?",
        "What do you see here? <region>",
        "What is in this region?",
        "Identify the object <region>.",
        "What kind of thing is <region>?",
    ),
    "and_this": (
        "And this?",
        "What about this? <region>",
        "And this one? <region>",
        "And <region>?",
    ),
    "part": (
        "What part is this?",
        "Which part is in this region? <region>",
        "Name this part. <region>",
        "What part of the object is at <region>?",
    ),
    "colour": (
        "What colour is this?",
        "What colour is the {thing}? <region>",
        "Tell me the colour of <region>.",
        "Which colour does this {thing} have?",
        "What is the colour of the thing in <region>?",
        "What color is this?",
    ),
    "state": (
        "What is the state of this?",
        "What is the state of <region>?",
        "What state is this {thing} in?",
        "Give the state of the {thing}. <region>",
        "Which state is <region> in?",
        "Report its state.",
    ),
    "door_open": (
        "Is it open?",
        "Is this open? <region>",
        "Is the {thing} open?",
        "Is the door of <region> open?",
        "Does the {thing} stand open?",
    ),
    "drawer_open": (
        "Is it open?",
        "Is this open? <region>",
        "Is the {thing} open?",
        "Is <region> pulled out?",
    ),
    "plug_in": (
        "Is this plugged in?",
        "Is the {thing} plugged in? <region>",
        "Is it plugged in?",
        "Is the plug of <region> in the socket?",
        "Does this {thing} have power?",
    ),
    "burner_on": (
        "Is it on?",
        "Is a burner on? <region>",
        "Is the {thing} on?",
        "Is <region> hot?",
        "Is this {thing} switched on?",
    ),
    "water_running": (
        "Is the water running?",
        "Is it running?",
        "Does water run here? <region>",
        "Is the {thing} on?",
        "Is <region> running?",
    ),
    "contents_full": (
        "Is it full?",
        "Is this full? <region>",
        "Is the {thing} full?",
        "Is there something in <region>?",
        "Is there coffee in this {thing}?",
    ),
    "read": (
        "What does it say?",
        "What text can you see in this region? <region>",
        "Read the text in <region>.",
        "Read this.",
        "What is written here?",
        "What does the {thing} say? <region>",
    ),
    "read_number": (
        "Which number is shown?",
        "What number can you see in this region? <region>",
        "Read the number in <region>.",
        "Read this.",
        "What number is shown here?",
        "What does the {thing} show? <region>",
    ),
    "count": (
        "How many {things} are there?",
        "How many {things} can you see?",
        "Count the {things}.",
        "How many {things} are in the picture?",
        "What is the number of {things}?",
    ),
    "relation": (
        "Where is <region> relative to <region>?",
        "What is <region> to <region>?",
        "How does <region> stand to <region>?",
        "Is <region> left or right of <region>?",
    ),
    "scene": (
        "Describe the whole image in detail.",
        "What is in this picture?",
        "Describe the kitchen.",
        "What can you see?",
        "Describe the picture.",
        "Tell me what is here.",
    ),
    "describe": (
        "Describe this in detail.",
        "Describe the thing in <region>.",
        "Describe <region> in detail.",
        "Tell me about this. <region>",
        "What can you tell me about <region>?",
    ),
    "is_there": (
        "Is there a {thing} here?",
        "Is there a {thing} in this region? <region>",
        "Is this a {thing}?",
        "Is the thing in <region> a {thing}?",
        "Do you see a {thing} here? <region>",
    ),
    "is_there_scene": (
        "Is there a {thing} in the picture?",
        "Is there a {thing}?",
        "Do you see a {thing}?",
        "Can you see a {thing} in this kitchen?",
    ),
    "locate": (
        "Where is the {thing}?",
        "Find the {thing}.",
        "Locate the {thing}.",
        "Point at the {thing}.",
        "Give the box of the {thing}.",
    ),
    "plan_open": (
        "How do I open this?",
        "Open <region>.",
        "Which steps open the {thing}? <region>",
        "Open the {thing}.",
    ),
    "plan_close": (
        "How do I close this?",
        "Close <region>.",
        "Which steps close the {thing}? <region>",
        "Close the {thing}.",
    ),
    "plan_power": (
        "How do I make this {thing} run?",
        "Which steps give <region> power?",
        "Make the {thing} cold.",
        "Get the {thing} running. <region>",
    ),
    "plan_off": (
        "How do I make this safe?",
        "Which steps make <region> safe?",
        "Turn this off.",
        "Switch <region> off.",
    ),
    "plan_fetch": (
        "How do I take the {content} out of this?",
        "Which steps take the {content} from <region>?",
        "Bring me the {content} from <region>.",
        "Take the {content} out of the {thing}. <region>",
    ),
    "plan_fill": (
        "How do I fill this?",
        "Which steps fill <region>?",
        "Fill the {thing}. <region>",
        "Fill this.",
    ),
}
