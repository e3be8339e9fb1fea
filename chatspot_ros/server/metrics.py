"""Counts of replies and errors, and the speed of answers. No ROS."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from chatspot_ros.server.no_questions import STATUSES
from chatspot_ros.server.request import OK, QueryReply

_RECENT = 50
_MODEL_ERROR = "MODEL_ERROR"
# Statuses that a caller or an operator has caused on purpose.
_NO_ERRORS = ("CANCELLED", "NOT_ACTIVE", *STATUSES)


class Metrics:
    """Counts replies and errors, and measures answers. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._replies: Counter[str] = Counter()
        self._first_token_s: deque[float] = deque(maxlen=_RECENT)
        self._token_rates: deque[float] = deque(maxlen=_RECENT)
        self._last_error: tuple[str, float] | None = None
        self._failing = ""
        self._drawn = 0

    def note_reply(self, reply: QueryReply) -> None:
        """Count a reply. After MODEL_ERROR the model counts as failing until the next OK."""
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
        """Store an error that belongs to no reply."""
        with self._lock:
            self._last_error = (text, self._clock())

    def note_drawn(self) -> None:
        """Count an annotated picture."""
        with self._lock:
            self._drawn += 1

    def first_token_timer(self) -> Callable[[], None]:
        """Start timing a question; return a function to call at each word of its answer."""
        began_s: float | None = self._clock()

        def note() -> None:
            nonlocal began_s
            if began_s is not None:
                with self._lock:
                    self._first_token_s.append(self._clock() - began_s)
                began_s = None

        return note

    def note_answer(self, tokens: int, seconds: float) -> None:
        """Store the speed of an answer."""
        if tokens > 0 and seconds > 0:
            with self._lock:
                self._token_rates.append(tokens / seconds)

    @property
    def failing(self) -> str:
        """Why the model counts as failing; empty if it does not."""
        return self._failing

    @property
    def answered(self) -> int:
        """The number of requests with status OK."""
        return self._replies[OK]

    def values(self) -> dict[str, object]:
        """Return the values for /diagnostics; medians are of the newest 50."""
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
