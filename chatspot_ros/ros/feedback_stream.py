"""Feedback of one goal in few messages: a client's queue holds ten, so a message a word would lose
words. The texts sent add up to the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_GAP_S = 0.02
# Messages at a time: fewer than the default depth of a client's queue.
_AT_ONCE = 8


class FeedbackStream:
    """Gathers the text of each answer and publishes it, at most 8 messages every 20 ms."""

    def __init__(self, publish: Callable[[int, str], None]) -> None:
        """`publish(answer index, added text)` sends one message. Safe from any thread."""
        self._publish = publish
        self._lock = threading.Lock()
        self._gathered: dict[int, str] = {}
        self._next_s = 0.0

    def add(self, index: int, text: str) -> None:
        """Take a piece of an answer's text; publish it at once if none was published just now."""
        with self._lock:
            self._gathered[index] = self._gathered.get(index, "") + text
        self.flush()

    def flush(self, *, at_end: bool = False) -> bool:
        """Publish what is gathered, if it is time; return True once all is sent and settled.

        Settled is 20 ms after the last message: a client that has the result listens no longer,
        though messages wait. `at_end`: at once, if the rest fits into one turn.
        """
        with self._lock:
            now_s = time.monotonic()
            due = now_s >= self._next_s
            if due or (at_end and len(self._gathered) <= _AT_ONCE):
                due = due and not self._gathered
                for index in list(self._gathered)[:_AT_ONCE]:
                    self._publish(index, self._gathered.pop(index))
                    self._next_s = now_s + _GAP_S
            return due
