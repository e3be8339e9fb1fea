"""A circuit breaker: a server that fails again and again is left alone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from chatspot_ros.engine.remote.errors import OpenCircuitError, RemoteError

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half open"


class Breaker:
    """Opens after `failures` failures in a row, for `open_s` seconds; thread-safe.

    Then it is half open: one request goes through, as a probe. Its success closes the breaker, its
    failure opens it again.
    """

    def __init__(
        self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` returns monotonic seconds."""
        self._most, self._open_s, self._clock = failures, open_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._opened_s: float | None = None
        self._probing = False
        self._why = ""

    @property
    def state(self) -> str:
        """CLOSED, OPEN or HALF_OPEN."""
        with self._lock:
            return self._state()

    @property
    def why(self) -> str:
        """The last failure since the last success; empty: none."""
        return self._why

    def _state(self) -> str:
        if self._opened_s is None:
            return CLOSED
        return OPEN if self._clock() < self._opened_s + self._open_s else HALF_OPEN

    def enter(self) -> bool:
        """Begin a request; return whether it is the probe. Raises OpenCircuitError."""
        with self._lock:
            state = self._state()
            if state == CLOSED:
                return False
            if state == HALF_OPEN and not self._probing:
                self._probing = True
                return True
            left_s = 0.0
            if self._opened_s is not None:
                left_s = max(0.0, self._opened_s + self._open_s - self._clock())
        raise OpenCircuitError(
            f"the server is not asked, it failed {self._failed} times in a row, last: {self._why}",
            value=f"next try in {left_s:.1f} s", remedy="mend the server, or ask later",
        )  # fmt: skip

    def succeeded(self) -> None:
        """Count an answer."""
        with self._lock:
            self._failed, self._opened_s, self._probing, self._why = 0, None, False, ""

    def failed(self, error: RemoteError, was_probe: bool) -> None:
        """Count a failure of the server; one that is the request's own fault closes the breaker."""
        if not error.counts:
            # It answered, if only with a refusal.
            if was_probe:
                self.succeeded()
            return
        with self._lock:
            self._failed += 1
            self._why = error.problem
            if was_probe or self._failed >= self._most:
                self._opened_s = self._clock()
            if was_probe:
                self._probing = False

    def left(self, was_probe: bool) -> None:
        """Count a request that was given up without a result: another one may be the probe."""
        if was_probe:
            with self._lock:
                self._probing = False
