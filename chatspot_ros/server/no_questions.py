"""The replies to words that are no question about a picture. No ROS, no torch.

A robot's planner acts on the status; the text is for the person who spoke. No model is asked, and
nothing that a command says is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.intents import COMMAND, SMALL_TALK, STOP, UNSUPPORTED
from chatspot_ros.core.regions import REGION_MARK
from chatspot_ros.core.task_router import intent_of
from chatspot_ros.errors import (
    CommandError,
    NoQuestionError,
    SmallTalkError,
    StopCommandError,
    UnsupportedError,
)
from chatspot_ros.server.request import Query

_TYPED = re.compile(r"<box>.*?</box>", re.DOTALL)
_ANYWAY = "to have the model asked anyway, give a task or set the parameter screen_questions to off"


@dataclass(frozen=True)
class _Reply:
    """The error that ends the request, what the person is told, and what a caller may do."""

    error: type[NoQuestionError]
    text: str
    problem: str
    remedy: str


_REPLIES = {
    SMALL_TALK: _Reply(
        SmallTalkError,
        "I answer questions about what the camera shows. What shall I look at?",
        "the words are small talk, no question about the picture",
        "ask about the picture",
    ),
    UNSUPPORTED: _Reply(
        UnsupportedError,
        "I cannot know that: I only see what the camera shows.",
        "no picture can tell this",
        "ask about what the picture shows",
    ),
    COMMAND: _Reply(
        CommandError,
        "I only look at pictures, and move nothing.",
        "the words command the robot itself; nothing was done",
        "let the planner act on this status",
    ),
    STOP: _Reply(
        StopCommandError,
        "I understood that the robot shall stop. I cannot stop it: use its own stop.",
        "the words command the robot to stop; nothing was stopped",
        "let the planner act on this status, and stop the robot by its own means",
    ),
}
STATUSES = tuple(reply.error.status for reply in _REPLIES.values())


def check_is_question(query: Query, text: str) -> None:
    """Raise NoQuestionError where the text of a query wants no answer about a picture.

    A query with a task or with choices is a question, and so is what the node asks by itself in the
    background.
    """
    if query.task or query.choices or query.background:
        return
    found = intent_of(_TYPED.sub(REGION_MARK, text))
    if not found.is_question:
        reply = _REPLIES[found.name]
        raise reply.error(reply.problem, value=text, remedy=f"{reply.remedy}; {_ANYWAY}")


def answer_to(error: NoQuestionError) -> Answer:
    """Return the polite answer to words that are no question."""
    texts = {reply.error: reply.text for reply in _REPLIES.values()}
    return Answer(texts[type(error)])
