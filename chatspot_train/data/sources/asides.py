"""Turns that are no question about the picture: small talk, commands, what no picture can tell.

They teach that such words want a short polite answer, no box and no plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatspot_ros.core.regions import Region
from chatspot_sim.stranger_wordings import NO_QUESTIONS, taught
from chatspot_train.data.records import RecordTurn
from chatspot_train.data.sources.base import draw, draw_number

ONE_TURN_IN = 25

ANSWERS: dict[str, tuple[str, ...]] = {
    "smalltalk": (
        "That is kind of you. Ask me anything about the picture.",
        "Good to hear from you. I can answer questions about the picture.",
        "Thank you. What would you like to know about the picture?",
        "I am here to help with the picture.",
        "Nice to talk to you. Shall we look at the picture?",
        "Thanks for telling me. Do you have a question about the picture?",
        "I am only a program that looks at pictures, but thank you.",
        "I see. Ask me about anything in the picture.",
        "All right. I am ready for a question about the picture.",
        "I am glad to be of use. What shall I look at?",
        "I have no more to say on that, but I can look at the picture.",
        "Fine. Mark something in the picture and ask me about it.",
        "You are welcome to ask about the picture at any time.",
        "Let us get back to the picture: what would you like to know?",
    ),
    "command": (
        "I cannot act myself; I answer questions about the picture.",
        "I only look at the picture and cannot do that.",
        "I cannot move anything. I can tell you what is in the picture.",
        "That is not in my power: I answer questions about what the picture shows.",
        "I have no control over the robot. Ask me about the picture instead.",
        "Sorry, I cannot do that; I only answer questions about the picture.",
        "I cannot carry out commands, but I can say what I see.",
        "I can look and answer, but not act.",
        "Please use the robot's own controls; I answer questions about the picture.",
        "I am not able to move or stop the robot. I describe what the picture shows.",
        "Acting is not my part: I tell you about the picture.",
        "I cannot do things, only answer questions about this picture.",
        "Sorry, no command reaches the robot through me. I answer questions about the picture.",
    ),
    "unsupported": (
        "I cannot know that from the picture.",
        "The picture does not show that.",
        "That cannot be seen in the picture.",
        "I do not know: the picture does not tell.",
        "Sorry, I cannot tell that from the picture.",
        "The picture gives no answer to that.",
        "I cannot say; I only see the picture.",
        "Nothing in the picture tells me that.",
        "I have no way to know that from this picture.",
        "That is beyond what the picture shows.",
        "I only see the picture, and it does not say.",
        "I am afraid that the picture does not tell.",
        "It is not possible to tell that from the picture.",
    ),
}  # fmt: skip


def aside(*key: object, regions: Sequence[Region] = ()) -> RecordTurn:
    """Return a turn drawn by the hash of the key; in half of the cases about one of the regions."""
    kind = draw(NO_QUESTIONS, *key, "aside")
    question = draw(taught()[kind], *key, "asked")
    marked: tuple[Region, ...] = ()
    if regions and draw_number(2, *key, "marked") == 0:
        marked = (regions[draw_number(len(regions), *key, "region")],)
    return RecordTurn(question, draw(ANSWERS[kind], *key, "answer"), marked)


def wants_aside(turns: int, *key: object) -> bool:
    """Return True for records so chosen that one turn in ONE_TURN_IN is an aside."""
    return draw_number(ONE_TURN_IN * 1000, *key, "aside?") < turns * 1000
