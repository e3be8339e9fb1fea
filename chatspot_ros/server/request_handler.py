"""The one path of every query, by service, action or click: check, choose the frame, ask the
engine, reply.

Free of ROS. Its methods are quick and called in the executor's thread; the engine's work is done by
the inference worker in its own. Every query gets exactly one reply, whatever happens.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.scheduling.job import Priority, Stepwise
from chatspot_ros.errors import (
    CancelledError,
    ChatspotError,
    DeadlineError,
    ModelError,
    NoImageError,
    NotActiveError,
)
from chatspot_ros.server import request_validation
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.frame_buffer import NS
from chatspot_ros.server.inflight_request import InflightRequest, OnReply, OnText
from chatspot_ros.server.request import OK, Picture, Query, QueryReply
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

OnSeen = Callable[[Picture, RgbImage, QueryReply], None]
_log = logging.getLogger(__name__)
_LOG_CHARS = 300
# Of why the node does not answer.
_REASON_CHARS = 1000


class Worker(Protocol):
    """The thread that owns the engine, as far as this module needs it."""

    def submit(
        self,
        job: Callable[[Any], Stepwise[None]],
        *,
        deadline_s: float,
        on_done: Callable[[None, ChatspotError | None], None],
        priority: Priority,
        frame: Hashable,
        line: Hashable,
    ) -> Any:
        """Queue a job, which gets the engine and goes on in steps; see `worker.InferenceWorker`.

        Raises BusyError, NotActiveError.
        """


class Answerer(Protocol):
    """What a job does with the engine: see `answering.Answerer`."""

    def answer(self, engine: Any, inflight: InflightRequest) -> Stepwise[RgbImage]:
        """Answer all of the query's asks, in the worker's thread; return the picture's pixels."""


class RequestHandler:
    """Takes queries, and calls each one's `on_reply` exactly once, in whichever thread it ended."""

    def __init__(
        self,
        settings: Settings,
        cameras: Cameras,
        sessions: SessionStore[Picture, Any],
        answerer: Answerer,
        now_ns: Callable[[], int],
        on_seen: OnSeen,
    ) -> None:
        """`now_ns` is the clock of the cameras' stamps; `on_seen` is called in the worker's thread
        after each reply
        that is OK, with the picture, its pixels (uint8 H x W x 3, RGB) and the reply."""
        self.settings = settings
        self.model = ""
        self._cameras = cameras
        self._sessions = sessions
        self._answerer = answerer
        self._now_ns = now_ns
        self._on_seen = on_seen
        self._worker: Worker | None = None
        self._inactive_because = "the model is loading"
        self._lock = threading.Lock()
        self._inflight: dict[str, InflightRequest] = {}
        self._waiting: list[InflightRequest] = []
        self._numbers = itertools.count(1)

    def activate(self, worker: Worker, model: str) -> None:
        """Begin to take queries."""
        self.model = model
        self._worker = worker

    def stop(self, reason: str) -> None:
        """Answer everything pending with NOT_ACTIVE, and whatever comes after it too."""
        self._worker = None
        self._inactive_because = reason
        with self._lock:
            inflight = list(self._inflight.values())
        # Those that wait first: the worker would begin one when the running one ends.
        for one in reversed(inflight):
            self._end(one, self._not_active())

    @property
    def inactive_because(self) -> str:
        """Why queries are not answered now; empty while they are."""
        return self._inactive_because if self._worker is None else ""

    @property
    def inflight_count(self) -> int:
        """How many queries wait or are being answered."""
        with self._lock:
            return len(self._inflight)

    def submit(
        self, query: Query, on_reply: OnReply, on_text: OnText | None = None
    ) -> InflightRequest:
        """Take a query. `on_text(answer index, added text)` is called in the worker's thread."""
        now_s = time.monotonic()
        limit_s = query.timeout_s if query.timeout_s > 0 else self.settings.default_timeout
        inflight = InflightRequest(
            id=f"q{next(self._numbers)}",
            query=query,
            on_reply=on_reply,
            on_text=on_text,
            arrived_s=now_s,
            deadline_s=now_s + limit_s,
            frame_deadline_s=now_s + min(self.settings.frame_wait, limit_s),
        )
        with self._lock:
            self._inflight[inflight.id] = inflight
        self._start(inflight)
        # Behind the work, which begins the sooner: writing takes a thread's turn.
        self._log_asked(inflight)
        return inflight

    def cancel(
        self, inflight: InflightRequest, reason: str = "the caller cancelled the query"
    ) -> None:
        """End a query; nothing happens when it has ended already."""
        self._end(
            inflight,
            CancelledError(reason, value=inflight.id, remedy="ask again if the answer is wanted"),
        )

    def frame_arrived(self) -> None:
        """Start the queries that waited for a frame or its detections, as far as they have come."""
        waiting, self._waiting = self._waiting, []
        for inflight in waiting:
            if not inflight.replied:
                self._start(inflight)

    def tick(self) -> None:
        """End the queries whose time ran out.

        Call it some twenty times a second while queries are inflight.
        """
        now_s = time.monotonic()
        if any(now_s >= inflight.frame_deadline_s for inflight in self._waiting):
            self.frame_arrived()
        with self._lock:
            late = [
                inflight for inflight in self._inflight.values() if now_s >= inflight.deadline_s
            ]
        for inflight in late:
            self._end(inflight, inflight.out_of_time())

    def _not_active(self) -> NotActiveError:
        reason = self._inactive_because
        if len(reason) > _REASON_CHARS:
            reason = f"{reason[:_REASON_CHARS]}... (cut; the node's log has all of it)"
        return NotActiveError(
            "the node does not answer now",
            value=reason,
            remedy="ask again when it says ready",
        )

    def _start(self, inflight: InflightRequest) -> None:
        """Begin a query, or end it with what is wrong with it."""
        try:
            self._hand_over(inflight)
        except ChatspotError as error:
            self._end(inflight, error)
            inflight.let_go()
        except Exception as error:
            # A fault of ours: this caller gets an answer too, and the others are served on.
            failure = ModelError(
                "the node failed", value=repr(error), remedy="see its log and report this"
            )
            failure.__cause__ = error
            self._end(inflight, failure)
            inflight.let_go()

    def _hand_over(self, inflight: InflightRequest) -> None:
        """Choose the frame and hand the query to the worker, or let it wait for its frame."""
        worker = self._worker
        if worker is None:
            raise self._not_active()
        query, settings = inflight.query, self.settings
        text = request_validation.check(query, settings)
        try:
            picture, detections = self._cameras.choose(
                query,
                in_session=self._sessions.frame_of(query.session) if query.session else None,
                now_ns=self._now_ns,
                max_age_s=settings.max_image_age,
            )
        except NoImageError:
            if not self._may_come(inflight):
                raise
            self._waiting.append(inflight)
            return
        inflight.picture = picture
        size_wh = picture.size(settings.max_pixels)
        inflight.asks = request_validation.compose(query, text, detections, size_wh, settings)
        if not inflight.asks:
            inflight.notes.append("the detector found nothing on this frame")
            self._end(inflight, None)
            inflight.let_go()
            return
        if query.session:
            note = self._sessions.enter(query.session, picture.key, picture)
            inflight.notes += [note] if note else []

        def work(engine: Any) -> Stepwise[None]:
            return self._work(engine, inflight)

        def on_done(_: None, error: ChatspotError | None) -> None:
            self._end(
                inflight, inflight.out_of_time() if isinstance(error, DeadlineError) else error
            )
            inflight.let_go()

        handle = worker.submit(
            work,
            deadline_s=inflight.deadline_s,
            on_done=on_done,
            priority=inflight.priority,
            frame=picture.key,
            line=query.session or None,
        )
        if not inflight.over:
            inflight.handle = handle

    def _work(self, engine: Any, inflight: InflightRequest) -> Stepwise[None]:
        """Answer a query and reply, in the worker's thread."""
        image_rgb = yield from self._answerer.answer(engine, inflight)
        reply = self._end(inflight, None)
        if reply is not None and reply.picture is not None:
            self._on_seen(reply.picture, image_rgb, reply)

    def _may_come(self, inflight: InflightRequest) -> bool:
        """Whether the frame that is missing was named and may still be on its way."""
        query = inflight.query
        wait_s = inflight.frame_deadline_s - time.monotonic()
        if wait_s <= 0 or not (query.stamp_ns or query.use_detections):
            return False
        return query.stamp_ns <= self._now_ns() + wait_s * NS

    def _end(self, inflight: InflightRequest, error: ChatspotError | None) -> QueryReply | None:
        """Reply, once.

        `error` None means that all went well. Return the reply; None when it was given before.
        """
        with self._lock:
            if inflight.replied:
                if isinstance(error, ModelError):
                    _log.error("%s failed after its reply: %s", inflight.id, error, exc_info=error)
                return None
            inflight.replied = True
            inflight.stopped_by = error
            self._inflight.pop(inflight.id, None)
            answers = list(inflight.answers)
            # The worker lets go of them when its job ends, which may be in between.
            on_reply, picture, handle = inflight.on_reply, inflight.picture, inflight.handle
        query, now_s = inflight.query, time.monotonic()
        if error is not None and query.session and picture is not None:
            self._sessions.drop_if_silent(query.session, picture.key)
        waited_until_s = now_s if inflight.started_s is None else inflight.started_s
        reply = QueryReply(
            query=query,
            id=inflight.id,
            status=OK if error is None else error.status,
            message="; ".join(inflight.notes) if error is None else str(error),
            picture=picture,
            answers=answers,
            model=self.model,
            queued_s=waited_until_s - inflight.arrived_s,
            seeing_s=inflight.seeing_s,
            answering_s=inflight.answering_s,
        )
        # The caller first: what is written comes off its time.
        try:
            on_reply(reply)
        except Exception:
            _log.exception("%s: the reply could not be handed on", inflight.id)
        if error is not None and handle is not None:
            handle.cancel()
        self._log_end(inflight, reply, error)
        return reply

    def _log_asked(self, inflight: InflightRequest) -> None:
        """Write that the query came, if that is not written yet."""
        with self._lock:
            logged, inflight.logged = inflight.logged, True
        if not logged:
            query = inflight.query
            _log.info(
                "%s asked: %r, %d regions", inflight.id, query.question[:80], len(query.regions)
            )

    def _log_end(
        self, inflight: InflightRequest, reply: QueryReply, error: ChatspotError | None
    ) -> None:
        self._log_asked(inflight)
        total_s = time.monotonic() - inflight.arrived_s
        said = "; ".join(answer.text for answer in reply.answers)
        line = f"{inflight.id} {reply.status} after {total_s:.2f} s: {reply.message or said}"
        if isinstance(error, ModelError):
            _log.error(line, exc_info=error)
        else:
            _log.info(line[:_LOG_CHARS])
