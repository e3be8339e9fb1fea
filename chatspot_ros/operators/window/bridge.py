"""A client's calls, which come from its own thread, as signals in the window's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from chatspot_ros.operators.client import AskedQuestion, Frame, OperatorClient, Reply
from chatspot_ros.operators.exchange import Exchange
from chatspot_ros.operators.window.qt import Qt, QtCore, Signal


class Bridge(QtCore.QObject):
    """Asks a client and tells its news as signals; of frames the newest only."""

    framed = Signal()
    texted = Signal(object, int, str)  # Exchange, index of the answer, more text
    replied = Signal(object, object)  # Exchange, Reply
    rated = Signal(str, str)  # answer_id, problem
    _has_frame = Signal()

    def __init__(self, client: OperatorClient) -> None:
        """Speak for `client`; `close` closes it."""
        super().__init__()
        self._client = client
        self._lock = threading.Lock()
        self._newest: Frame | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._watched = 0
        self._is_open = True
        self._has_frame.connect(self.framed, Qt.ConnectionType.QueuedConnection)

    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras that are known by now."""
        return tuple(self._client.cameras())

    def problem(self) -> str:
        """Return what is wrong with the node now; or nothing."""
        return self._client.problem()

    def watch(self, camera: str) -> None:
        """Get the frames of this camera, and of no other; `framed` tells of a new one."""
        self._stop_watching()
        self._watched += 1
        with self._lock:
            self._newest = None
        self._stop_watching = self._client.watch(camera, partial(self._take_frame, self._watched))

    def take_frame(self) -> Frame | None:
        """Return the newest frame that was not taken yet."""
        with self._lock:
            newest, self._newest = self._newest, None
        return newest

    def _take_frame(self, watched: int, frame: Frame) -> None:
        with self._lock:
            is_told = self._newest is not None
            if watched != self._watched:  # of the camera before
                return
            self._newest = frame
        if not is_told:
            self._has_frame.emit()

    def ask(self, exchange: Exchange) -> AskedQuestion:
        """Ask; `texted` and `replied` tell of the answers."""
        return self._client.ask(
            exchange.ask,
            lambda index, text: self._tell(self.texted, exchange, index, text),
            lambda reply: self._tell_reply(exchange, reply),
        )

    def rate(self, answer_id: str, rating: int, comment: str) -> None:
        """Rate an answer; `rated` tells when that is done."""
        self._client.rate(
            answer_id, rating, comment, lambda problem: self._tell(self.rated, answer_id, problem)
        )

    def _tell_reply(self, exchange: Exchange, reply: Reply) -> None:
        self._tell(self.replied, exchange, reply)

    def _tell(self, signal: QtCore.SignalInstance, *news: object) -> None:
        if self._is_open:
            signal.emit(*news)

    def close(self) -> None:
        """End the client; no signal comes afterwards."""
        if self._is_open:
            self._is_open = False
            self._stop_watching()
            self._client.close()
