"""A query on its way through the node. Free of ROS."""

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

# Index of the answer, and the text added to it.
OnText = Callable[[int, str], None]
OnReply = Callable[[QueryReply], None]


def _nobody(reply: QueryReply) -> None:
    """Stand in for the listener of a query that is over."""


@dataclass(eq=False)
class Pending:
    """A query on its way. Times are of the monotonic clock, in seconds."""

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
    started_s: float | None = None
    seeing_s: float = 0.0
    answering_s: float = 0.0
    replied: bool = False
    # Why the query ended before its last answer; None while it goes on.
    stopped_by: ChatspotError | None = None
    handle: Any = None
    # Whether nobody works on it any more, and whether the log tells of it.
    over: bool = False
    logged: bool = False

    @property
    def priority(self) -> Priority:
        """All detections of a frame can wait for a question that somebody asks."""
        background = self.query.background or self.query.use_detections
        return Priority.BACKGROUND if background else Priority.INTERACTIVE

    def should_stop(self) -> bool:
        """Raise why the query has ended; the engine asks between tokens."""
        if self.stopped_by is not None:
            raise self.stopped_by
        if time.monotonic() >= self.deadline_s:
            raise self.out_of_time()
        return False

    def let_go(self) -> None:
        """Forget what was only needed on the way, when nobody works on it any more.

        Its job, its error's traceback and its listeners all lead back to it: the picture would
        stay, 6 MB at 1080p, until Python looks for such circles, which it does by the number of
        objects and not by their size.
        """
        self.over = True
        self.handle = self.picture = self.on_text = None
        self.query = replace(self.query, picture=None)
        self.on_reply = _nobody
        if self.stopped_by is not None:
            self.stopped_by.__traceback__ = self.stopped_by.__cause__ = None

    def out_of_time(self) -> DeadlineError:
        """Return the error of a query whose time ran out."""
        progress = f"{len(self.answers)} of {len(self.asks)} answers were finished"
        return DeadlineError(
            f"the time ran out; {progress if self.asks else 'nothing was asked yet'}",
            value=f"{self.deadline_s - self.arrived_s:g} s",
            remedy="allow more time, ask about fewer regions, or ask when fewer queries wait",
        )
