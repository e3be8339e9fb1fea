"""A request between its arrival and its reply. No ROS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.scheduling.job import Priority
from chatspot_ros.errors import ChatspotError, DeadlineError
from chatspot_ros.server.request import Picture, Query, QueryReply

# Called with the index of the answer and the text added to it.
OnText = Callable[[int, str], None]
OnReply = Callable[[QueryReply], None]


def _ignore(reply: QueryReply) -> None:
    """Replace the callback of a request that is over."""


@dataclass(eq=False)
class InflightRequest:
    """A request in progress. Times are monotonic seconds."""

    id: str
    query: Query
    on_reply: OnReply
    on_text: OnText | None
    arrived_s: float
    deadline_s: float
    frame_deadline_s: float
    picture: Picture | None = None
    asks: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    # The models that answered, where the engine has several.
    models: list[str] = field(default_factory=list)
    started_s: float | None = None
    seeing_s: float = 0.0
    answering_s: float = 0.0
    replied: bool = False
    # Why the request ended before its last answer; None while it goes on.
    stopped_by: ChatspotError | None = None
    handle: Any = None
    # True once no thread works on it any more; True once the log has its question.
    over: bool = False
    logged: bool = False

    @property
    def priority(self) -> Priority:
        """The job's priority: background also for all detections of a frame."""
        background = self.query.background or self.query.use_detections
        return Priority.BACKGROUND if background else Priority.INTERACTIVE

    def should_stop(self) -> bool:
        """Raise the error that ended the request, if any; the engine calls it between tokens."""
        if self.stopped_by is not None:
            raise self.stopped_by
        if time.monotonic() >= self.deadline_s:
            raise self.out_of_time()
        return False

    def let_go(self) -> None:
        """Drop references that are not needed after the end, when no thread works on it any more.

        Its job, its error's traceback and its callbacks all refer back to it. In such a reference
        cycle the picture (6 MB at 1080p) would stay until the garbage collector runs, which is
        timed by the number of objects and not by their size.
        """
        self.over = True
        self.handle = self.picture = self.on_text = None
        self.query = replace(self.query, picture=None)
        self.on_reply = _ignore
        if self.stopped_by is not None:
            self.stopped_by.__traceback__ = self.stopped_by.__cause__ = None

    def out_of_time(self) -> DeadlineError:
        """Return the error of a request whose time ran out."""
        progress = f"{len(self.answers)} of {len(self.asks)} answers were finished"
        return DeadlineError(
            f"the time ran out; {progress if self.asks else 'nothing was asked yet'}",
            value=f"{self.deadline_s - self.arrived_s:g} s",
            remedy="allow more time, ask about fewer regions, or ask when fewer queries wait",
        )
