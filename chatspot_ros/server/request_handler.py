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
from chatspot_ros.engine.scheduling.job import Priority, StepwiseJob
from chatspot_ros.errors import (
    CancelledError,
    ChatspotError,
    DeadlineError,
    ModelError,
    NoImageError,
    NotActiveError,
)
from chatspot_ros.server import request_validation
from chatspot_ros.server.cameras import Feeds
from chatspot_ros.server.frame_buffer import NS
from chatspot_ros.server.inflight_request import OnReply, OnText, Pending
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
        job: Callable[[Any], StepwiseJob[None]],
        *,
        deadline_s: float,
        on_done: Callable[[None, ChatspotError | None], None],
        priority: Priority,
        frame: Hashable,
        session_key: Hashable,
    ) -> Any:
        """Queue a job, which gets the engine and goes on in steps; see `worker.InferenceWorker`.

        Raises BusyError, NotActiveError.
        """


class Answerer(Protocol):
    """What a job does with the engine: see `answering.Answerer`."""

    def answer(self, engine: Any, pending: Pending) -> StepwiseJob[RgbImage]:
        """Answer all of the query's asks, in the worker's thread; return the picture's pixels."""


class QueryService:
    """Takes queries, and calls each one's `on_reply` exactly once, in whichever thread it ended."""

    def __init__(
        self,
        settings: Settings,
        feeds: Feeds,
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
        self._feeds = feeds
        self._sessions = sessions
        self._answerer = answerer
        self._now_ns = now_ns
        self._on_seen = on_seen
        self._worker: Worker | None = None
        self._inactive_because = "the model is loading"
        self._lock = threading.Lock()
        self._pending: dict[str, Pending] = {}
        self._waiting: list[Pending] = []
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
            pending = list(self._pending.values())
        # Those that wait first: the worker would begin one when the running one ends.
        for one in reversed(pending):
            self._end(one, self._not_active())

    @property
    def inactive_because(self) -> str:
        """Why queries are not answered now; empty while they are."""
        return self._inactive_because if self._worker is None else ""

    @property
    def pending_count(self) -> int:
        """How many queries wait or are being answered."""
        with self._lock:
            return len(self._pending)

    def submit(self, query: Query, on_reply: OnReply, on_text: OnText | None = None) -> Pending:
        """Take a query. `on_text(answer index, added text)` is called in the worker's thread."""
        now_s = time.monotonic()
        limit_s = query.timeout_s if query.timeout_s > 0 else self.settings.default_timeout
        pending = Pending(
            id=f"q{next(self._numbers)}",
            query=query,
            on_reply=on_reply,
            on_text=on_text,
            arrived_s=now_s,
            deadline_s=now_s + limit_s,
            frame_deadline_s=now_s + min(self.settings.frame_wait, limit_s),
        )
        with self._lock:
            self._pending[pending.id] = pending
        self._start(pending)
        # Behind the work, which begins the sooner: writing takes a thread's turn.
        self._log_asked(pending)
        return pending

    def cancel(self, pending: Pending, reason: str = "the caller cancelled the query") -> None:
        """End a query; nothing happens when it has ended already."""
        self._end(
            pending,
            CancelledError(reason, value=pending.id, remedy="ask again if the answer is wanted"),
        )

    def frame_arrived(self) -> None:
        """Start the queries that waited for a frame or its detections, as far as they have come."""
        waiting, self._waiting = self._waiting, []
        for pending in waiting:
            if not pending.replied:
                self._start(pending)

    def tick(self) -> None:
        """End the queries whose time ran out.

        Call it some twenty times a second while queries are pending.
        """
        now_s = time.monotonic()
        if any(now_s >= pending.frame_deadline_s for pending in self._waiting):
            self.frame_arrived()
        with self._lock:
            late = [pending for pending in self._pending.values() if now_s >= pending.deadline_s]
        for pending in late:
            self._end(pending, pending.out_of_time())

    def _not_active(self) -> NotActiveError:
        reason = self._inactive_because
        if len(reason) > _REASON_CHARS:
            reason = f"{reason[:_REASON_CHARS]}... (cut; the node's log has all of it)"
        return NotActiveError(
            "the node does not answer now",
            value=reason,
            remedy="ask again when it says ready",
        )

    def _start(self, pending: Pending) -> None:
        """Begin a query, or end it with what is wrong with it."""
        try:
            self._hand_over(pending)
        except ChatspotError as error:
            self._end(pending, error)
            pending.let_go()
        except Exception as error:
            # A fault of ours: this caller gets an answer too, and the others are served on.
            failure = ModelError(
                "the node failed", value=repr(error), remedy="see its log and report this"
            )
            failure.__cause__ = error
            self._end(pending, failure)
            pending.let_go()

    def _hand_over(self, pending: Pending) -> None:
        """Choose the frame and hand the query to the worker, or let it wait for its frame."""
        worker = self._worker
        if worker is None:
            raise self._not_active()
        query, settings = pending.query, self.settings
        text = request_validation.check(query, settings)
        try:
            picture, detections = self._feeds.choose(
                query,
                in_session=self._sessions.frame_of(query.session) if query.session else None,
                now_ns=self._now_ns,
                max_age_s=settings.max_image_age,
            )
        except NoImageError:
            if not self._may_come(pending):
                raise
            self._waiting.append(pending)
            return
        pending.picture = picture
        size_wh = picture.size(settings.max_pixels)
        pending.asks = request_validation.compose(query, text, detections, size_wh, settings)
        if not pending.asks:
            pending.notes.append("the detector found nothing on this frame")
            self._end(pending, None)
            pending.let_go()
            return
        if query.session:
            note = self._sessions.enter(query.session, picture.key, picture)
            pending.notes += [note] if note else []

        def work(engine: Any) -> StepwiseJob[None]:
            return self._work(engine, pending)

        def on_done(_: None, error: ChatspotError | None) -> None:
            self._end(pending, pending.out_of_time() if isinstance(error, DeadlineError) else error)
            pending.let_go()

        handle = worker.submit(
            work,
            deadline_s=pending.deadline_s,
            on_done=on_done,
            priority=pending.priority,
            frame=picture.key,
            session_key=query.session or None,
        )
        if not pending.over:
            pending.handle = handle

    def _work(self, engine: Any, pending: Pending) -> StepwiseJob[None]:
        """Answer a query and reply, in the worker's thread."""
        image_rgb = yield from self._answerer.answer(engine, pending)
        reply = self._end(pending, None)
        if reply is not None and reply.picture is not None:
            self._on_seen(reply.picture, image_rgb, reply)

    def _may_come(self, pending: Pending) -> bool:
        """Whether the frame that is missing was named and may still be on its way."""
        query = pending.query
        wait_s = pending.frame_deadline_s - time.monotonic()
        if wait_s <= 0 or not (query.stamp_ns or query.use_detections):
            return False
        return query.stamp_ns <= self._now_ns() + wait_s * NS

    def _end(self, pending: Pending, error: ChatspotError | None) -> QueryReply | None:
        """Reply, once.

        `error` None means that all went well. Return the reply; None when it was given before.
        """
        with self._lock:
            if pending.replied:
                if isinstance(error, ModelError):
                    _log.error("%s failed after its reply: %s", pending.id, error, exc_info=error)
                return None
            pending.replied = True
            pending.stopped_by = error
            self._pending.pop(pending.id, None)
            answers = list(pending.answers)
            # The worker lets go of them when its job ends, which may be in between.
            on_reply, picture, handle = pending.on_reply, pending.picture, pending.handle
        query, now_s = pending.query, time.monotonic()
        if error is not None and query.session and picture is not None:
            self._sessions.drop_if_silent(query.session, picture.key)
        waited_until_s = now_s if pending.started_s is None else pending.started_s
        reply = QueryReply(
            query=query,
            id=pending.id,
            status=OK if error is None else error.status,
            message="; ".join(pending.notes) if error is None else str(error),
            picture=picture,
            answers=answers,
            model=self.model,
            queued_s=waited_until_s - pending.arrived_s,
            seeing_s=pending.seeing_s,
            answering_s=pending.answering_s,
        )
        # The caller first: what is written comes off its time.
        try:
            on_reply(reply)
        except Exception:
            _log.exception("%s: the reply could not be handed on", pending.id)
        if error is not None and handle is not None:
            handle.cancel()
        self._log_end(pending, reply, error)
        return reply

    def _log_asked(self, pending: Pending) -> None:
        """Write that the query came, if that is not written yet."""
        with self._lock:
            logged, pending.logged = pending.logged, True
        if not logged:
            query = pending.query
            _log.info(
                "%s asked: %r, %d regions", pending.id, query.question[:80], len(query.regions)
            )

    def _log_end(self, pending: Pending, reply: QueryReply, error: ChatspotError | None) -> None:
        self._log_asked(pending)
        total_s = time.monotonic() - pending.arrived_s
        said = "; ".join(answer.text for answer in reply.answers)
        line = f"{pending.id} {reply.status} after {total_s:.2f} s: {reply.message or said}"
        if isinstance(error, ModelError):
            _log.error(line, exc_info=error)
        else:
            _log.info(line[:_LOG_CHARS])
