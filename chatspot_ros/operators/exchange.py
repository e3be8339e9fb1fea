"""One question and what came of it, as a window or a page shows it while the answers come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import Region
from chatspot_ros.images.annotate import Colour, Note, annotate
from chatspot_ros.operators.client import OK, UNREACHABLE, Answer, Ask, Frame, Reply
from chatspot_ros.operators.drawing import colour_of, in_words

# What each status means for a person, before the node's own message.
STATUS_WORDS = {
    OK: "Answered",
    "BAD_REQUEST": "The question cannot be asked so",
    "BAD_REGION": "A region cannot be used",
    "BAD_IMAGE": "The picture cannot be read",
    "NO_IMAGE": "The node has no picture of this camera yet",
    "STALE_IMAGE": "The camera has stopped",
    "FRAME_EXPIRED": "The node no longer holds this picture",
    "BUSY": "The node is busy",
    "TIMEOUT": "The time ran out",
    "CANCELLED": "Cancelled",
    "NOT_ACTIVE": "The node is not active",
    "MODEL_ERROR": "The model failed",
    "SMALL_TALK": "That is no question about the picture",
    "UNSUPPORTED": "No picture can tell that",
    "COMMAND": "That is a command to the robot; nothing was done",
    "STOP": "That is a command to stop; nothing was stopped",
    UNREACHABLE: "The node cannot be reached",
}


@dataclass(frozen=True)
class Shown:
    """One answer to show: its number, from 1, its colour, and the answer as far as it has come.

    `choices` are those of the question.
    """

    number: int
    answer: Answer
    is_complete: bool
    choices: tuple[str, ...] = ()

    @property
    def colour(self) -> Colour:
        """Its colour (RGB, 0 to 255): that of the region with its number."""
        return colour_of(self.number)

    @property
    def about(self) -> str:
        """The regions in words."""
        return ", ".join(in_words(region) for region in self.answer.regions) or "the whole picture"


@dataclass
class Exchange:
    """A question, the frame that a person saw, and the answers as they come."""

    ask: Ask
    frame: Frame | None = None
    texts: list[str] = field(default_factory=list)
    reply: Reply | None = None

    def add_text(self, index: int, text: str) -> None:
        """Take more of the text of answer `index`, from 0."""
        self.texts += [""] * (index + 1 - len(self.texts))
        self.texts[index] += text

    @property
    def shown(self) -> tuple[Shown, ...]:
        """The answers to show: the reply's, or as much as has come."""
        if self.reply is not None and self.reply.answers:
            answers = self.reply.answers
            choices = self.ask.choices
            return tuple(Shown(number, one, True, choices) for number, one in enumerate(answers, 1))
        return tuple(
            Shown(number, Answer(text.strip(), self._asked_about(number, len(self.texts))), False)
            for number, text in enumerate(self.texts, 1)
        )

    def _asked_about(self, number: int, count: int) -> tuple[Region, ...]:
        """Return what answer `number` is about: one answer a region, or one about all."""
        regions = self.ask.regions
        if len(regions) > 1 and count == 1 and "<region>" in self.ask.question:
            return regions
        return regions[number - 1 : number]

    @property
    def headline(self) -> str:
        """The end of the question in a line: times and model, or the problem and its remedy."""
        return "" if self.reply is None else headline(self.reply)

    @property
    def grounded(self) -> tuple[Region, ...]:
        """The places that the answers name."""
        return tuple(place for one in self.shown for place in one.answer.grounded)


def headline(reply: Reply) -> str:
    """Return the end of a question in a line: times and model, or the problem and its remedy."""
    words = STATUS_WORDS.get(reply.status, reply.status)
    if reply.status != OK:
        return f"{words}: {reply.message}" if reply.message else f"{words}."
    total_s = reply.queued_s + reply.seeing_s + reply.answering_s
    parts = [
        f"{name} {seconds:.2f} s"
        for name, seconds in (
            ("waited", reply.queued_s), ("saw", reply.seeing_s), ("answered", reply.answering_s),
        )
        if seconds >= 0.005
    ]  # fmt: skip
    line = f"{words} in {total_s:.2f} s"
    if len(parts) > 1:
        line += f" ({', '.join(parts)})"
    if reply.model:
        line += f" by {reply.model}"
    return f"{line}. {reply.message}" if reply.message else f"{line}."


def with_answers(
    image_rgb: NDArray[np.uint8], regions: Sequence[Region], shown: Sequence[Shown]
) -> NDArray[np.uint8]:
    """Return the picture (H x W x 3, RGB, 0 to 255) with the regions, numbered, and the answers.

    A region without an answer has its number only; an answer about several has its text once.
    """
    notes: list[Note] = []
    for number, region in enumerate(regions, 1):
        own = next((one for one in shown if one.number == number and _is_one(one)), None)
        text = f"{number} {own.answer.text}" if own else str(number)
        notes.append(Note((region,), text, own.answer.grounded if own else ()))
    for one in shown:
        if one.number > len(regions) or not _is_one(one):
            about = one.answer.regions if one.number > len(regions) else ()
            notes.append(Note(about, one.answer.text, one.answer.grounded))
    return annotate(image_rgb, notes)


def _is_one(shown: Shown) -> bool:
    return len(shown.answer.regions) <= 1
