"""Send queries to an engine as the node does: through its thread, queue and caches."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import BatchingEngine, Question, Turn
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.errors import ChatspotError
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.request import Picture, Query
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

OnEnd = Callable[[InflightRequest, ChatspotError | None], None]


class Frame(Picture):
    """A picture made from pixels, without a message."""

    def __init__(self, image_rgb: RgbImage) -> None:
        super().__init__(lambda: None)
        self._image_rgb = image_rgb

    def rgb(self, max_pixels: int) -> RgbImage:
        """Return the pixels, uint8 H x W x 3, RGB."""
        return self._image_rgb


def noise(seed: int, width: int, height: int) -> Frame:
    """Return a frame of noise."""
    rng = np.random.default_rng(seed)
    return Frame(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


class Desk:
    """Engines, each in its thread, with sessions and answerers; without ROS."""

    def __init__(self, *engines: BatchingEngine, settings: Settings) -> None:
        self.sessions: SessionStore[Picture, Turn] = SessionStore(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )
        self._answerers = {id(one): Answerer(settings, self.sessions) for one in engines}
        self.worker = InferenceWorker(*engines, queue_size=settings.queue_size)
        self._ids = itertools.count()

    def ask(
        self,
        frame: Frame,
        asks: Sequence[Question],
        on_end: OnEnd,
        *,
        sweep: bool = False,
        session: str = "",
        task: str = "",
        camera: str = "",
        timeout_s: float = 3600.0,
    ) -> Any:
        """Submit a query; return its handle. Raises BusyError."""
        query = Query(asks[0].text, use_detections=sweep, session=session, task=task)
        now_s = time.monotonic()
        pending = InflightRequest(
            id=f"q{next(self._ids)}", query=query, on_reply=lambda reply: None, on_text=None,
            arrived_s=now_s, deadline_s=now_s + timeout_s, frame_deadline_s=now_s,
            picture=frame, asks=[replace(one, task=task) for one in asks],
        )  # fmt: skip
        if session:
            self.sessions.enter(session, frame)

        def on_done(result: object, error: ChatspotError | None) -> None:
            on_end(pending, error)

        return self.worker.submit(
            lambda engine: self._answerers[id(engine)].answer(engine, pending),
            deadline_s=pending.deadline_s,
            on_done=on_done,
            priority=pending.priority,
            frame=frame.id,
            session_key=session or None,
            camera=camera,
        )

    def ask_and_wait(self, frame: Frame, asks: Sequence[Question]) -> InflightRequest:
        """Submit a query and wait for its answers. Raises the query's error."""
        ended = threading.Event()
        found: list[tuple[InflightRequest, ChatspotError | None]] = []

        def on_end(pending: InflightRequest, error: ChatspotError | None) -> None:
            found.append((pending, error))
            ended.set()

        self.ask(frame, asks, on_end)
        ended.wait()
        pending, error = found[0]
        if error is not None:
            raise error
        return pending
