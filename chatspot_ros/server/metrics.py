"""What the node counts about itself: replies, errors, how fast answers come. No ROS."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from chatspot_ros.engine.api import OnReplyOf, OnTextOf, Reply, ShouldStop
from chatspot_ros.server.request import OK, QueryReply

_RECENT = 50
_MODEL_ERROR = "MODEL_ERROR"
# What a caller or a person wanted.
_NO_ERRORS = ("CANCELLED", "NOT_ACTIVE")


class Health:
    """Counts from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._replies: Counter[str] = Counter()
        self._first_token_s: deque[float] = deque(maxlen=_RECENT)
        self._token_rates: deque[float] = deque(maxlen=_RECENT)
        self._last_error: tuple[str, float] | None = None
        self._failing = ""
        self._drawn = 0

    def note_reply(self, reply: QueryReply) -> None:
        """Count a reply. One of the model's own failures lasts until it answers again."""
        with self._lock:
            self._replies[reply.status] += 1
            if reply.status == OK:
                self._failing = ""
                return
            if reply.status not in _NO_ERRORS:
                text = f"{reply.id} {reply.status}: {reply.message}"
                self._last_error = (text, self._clock())
            if reply.status == _MODEL_ERROR:
                self._failing = f"the model fails: {reply.message}"

    def note_error(self, text: str) -> None:
        """Note what went wrong beside the queries."""
        with self._lock:
            self._last_error = (text, self._clock())

    def note_drawn(self) -> None:
        """Count an annotated picture."""
        with self._lock:
            self._drawn += 1

    def first_token_timer(self) -> Callable[[], None]:
        """Return what is to be called at each word of an answer whose question has just come."""
        began_s: float | None = self._clock()

        def note() -> None:
            nonlocal began_s
            if began_s is not None:
                with self._lock:
                    self._first_token_s.append(self._clock() - began_s)
                began_s = None

        return note

    def note_answer(self, tokens: int, seconds: float) -> None:
        """Note how many tokens an answer took, and how long."""
        if tokens > 0 and seconds > 0:
            with self._lock:
                self._token_rates.append(tokens / seconds)

    @property
    def failing(self) -> str:
        """Why the model is taken to be broken; empty when its newest answer was one."""
        return self._failing

    @property
    def answered(self) -> int:
        """How many questions were answered."""
        return self._replies[OK]

    def values(self) -> dict[str, object]:
        """Return the figures for /diagnostics; medians are of the newest 50."""
        with self._lock:
            found: dict[str, object] = {
                "time to first token, s (median)": _median(self._first_token_s, ".3g"),
                "tokens a second (median)": _median(self._token_rates, ".1f"),
                "pictures drawn": self._drawn,
            }
            found |= {f"replies {name}": count for name, count in sorted(self._replies.items())}
            if self._last_error is not None:
                text, when_s = self._last_error
                found["last error"] = text
                found["last error, s ago"] = f"{self._clock() - when_s:.0f}"
            return found


def _median(values: Sequence[float], form: str) -> str:
    return format(statistics.median(values), form) if values else ""


class MeasuredEngine:
    """An engine whose answers are noted; everything else is the engine's own."""

    def __init__(self, engine: Any, health: Health) -> None:
        self._engine = engine
        self._health = health

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open(self, scene: Any) -> Any:
        """Begin to answer questions about a scene; see `BatchingEngine.open`."""
        return _MeasuredBatch(self._engine.open(scene), self._health)


class _MeasuredBatch:
    """A batch of the engine whose answers are noted."""

    def __init__(self, batch: Any, health: Health) -> None:
        self._batch = batch
        self._health = health

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def admit(
        self,
        questions: Sequence[Any],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        **rest: Any,
    ) -> Any:
        """Take questions in; see `Batch.admit`."""
        noting = _noting(on_reply, self._health)
        return self._batch.admit(questions, on_text, should_stop, noting, **rest)


def _noting(on_reply: OnReplyOf | None, health: Health) -> OnReplyOf:
    def note(index: int, reply: Reply) -> None:
        health.note_answer(reply.tokens, reply.seconds)
        if on_reply is not None:
            on_reply(index, reply)

    return note
