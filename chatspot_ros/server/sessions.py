"""Conversations of several turns, each about one frame.

A question about another frame starts the conversation anew, because a model that reads earlier
turns about another picture would mix the two up. Thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chatspot_ros.errors import shorten

FrameT = TypeVar("FrameT")
TurnT = TypeVar("TurnT")


@dataclass
class Session(Generic[FrameT, TurnT]):
    """One conversation, about one frame."""

    name: str
    frame: FrameT
    turns: list[TurnT] = field(default_factory=list)
    last_used_s: float = 0.0


class SessionStore(Generic[FrameT, TurnT]):
    """The current conversations, bounded in number, idle time and turns.

    Equal frames are the same frame.
    """

    def __init__(
        self,
        *,
        max_sessions: int,
        max_idle_s: float,
        max_turns: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` returns monotonic seconds."""
        self._max_sessions = max_sessions
        self._max_idle_s = max_idle_s
        self._max_turns = max_turns
        self._clock = clock
        self._lock = threading.Lock()
        # The least recently used session comes first.
        self._sessions: OrderedDict[str, Session[FrameT, TurnT]] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            self._drop_idle()
            return len(self._sessions)

    def configure(self, *, max_sessions: int, max_idle_s: float, max_turns: int) -> None:
        """Set new bounds; conversations beyond them end at the next use of the store."""
        with self._lock:
            self._max_sessions = max_sessions
            self._max_idle_s = max_idle_s
            self._max_turns = max_turns

    def clear(self) -> None:
        """End all conversations."""
        with self._lock:
            self._sessions.clear()

    def frame_of(self, name: str) -> FrameT | None:
        """Return the frame of a conversation; None if there is no such conversation."""
        with self._lock:
            self._drop_idle()
            session = self._sessions.get(name)
            return None if session is None else session.frame

    def enter(self, name: str, frame: FrameT) -> str:
        """Continue a conversation or start it; return a note for the caller, empty if it continues.

        If there are too many conversations, the least recently used one ends.
        """
        with self._lock:
            self._drop_idle()
            session = self._sessions.get(name)
            note = ""
            if session is None:
                note = f"session '{shorten(name)}' is new"
            elif session.frame != frame:
                turns = len(session.turns)
                note = (
                    f"session '{shorten(name)}' starts anew on another frame, "
                    f"without its {turns} turns"
                )
                session = None
            if session is None:
                session = Session(name, frame)
                self._sessions[name] = session
            session.last_used_s = self._clock()
            self._sessions.move_to_end(name)
            while len(self._sessions) > self._max_sessions:
                self._sessions.popitem(last=False)
            return note

    def turns(self, name: str, frame: FrameT) -> tuple[TurnT, ...]:
        """Return the turns of a conversation about this frame, oldest first."""
        with self._lock:
            session = self._sessions.get(name)
            if session is None or session.frame != frame:
                return ()
            return tuple(session.turns)

    def add_turns(self, name: str, frame: FrameT, turns: list[TurnT]) -> None:
        """Append turns, unless the conversation has ended or moved to another frame."""
        with self._lock:
            session = self._sessions.get(name)
            if session is None or session.frame != frame:
                return
            session.turns = [*session.turns, *turns][-self._max_turns :]
            session.last_used_s = self._clock()
            self._sessions.move_to_end(name)

    def drop_if_silent(self, name: str, frame: FrameT) -> None:
        """End a conversation without turns: a failed first question leaves no trace."""
        with self._lock:
            session = self._sessions.get(name)
            if session is not None and session.frame == frame and not session.turns:
                del self._sessions[name]

    def _drop_idle(self) -> None:
        oldest_s = self._clock() - self._max_idle_s
        for name in [n for n, session in self._sessions.items() if session.last_used_s < oldest_s]:
            del self._sessions[name]
