"""The path of every request, by service, action or click: check, choose the frame, ask, reply.

No ROS. The methods are quick and run in the executor's thread; the inference worker uses the engine
in its own thread. Every request gets exactly one reply, whatever happens.
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
    NoQuestionError,
    NotActiveError,
    one_line,
)
from chatspot_ros.server import no_questions, request_validation
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.frame_buffer import NS
from chatspot_ros.server.inflight_request import InflightRequest, OnReply, OnText
from chatspot_ros.server.request import OK, Picture, Query, QueryReply
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

OnSeen = Callable[[Picture, RgbImage, QueryReply], None]
_log = logging.getLogger(__name__)
_LOG_CHARS = 300
# Longest reason of a NOT_ACTIVE reply.
_REASON_CHARS = 1000


class Worker(Protocol):
    """The part of `worker.InferenceWorker` that this module needs."""

    def submit(
        self,
        job: Callable[[Any], StepwiseJob[None]],
        *,
        deadline_s: float,
        on_done: Callable[[None, ChatspotError | None], None],
        priority: Priority,
        frame: Hashable,
        session_key: Hashable,
        camera: Hashable,
    ) -> Any:
        """Queue a job in steps, called with an engine. Raises BusyError, NotActiveError."""


class Answerer(Protocol):
    """The part of `answerer.Answerer` that this module needs."""

    def answer(self, engine: Any, inflight: InflightRequest) -> StepwiseJob[RgbImage]:
        """Answer all questions of a request in the worker's thread; return the picture's pixels."""


class RequestHandler:
    """Takes requests; calls each one's `on_reply` exactly once, in the thread where it ends."""

    def __init__(
        self,
        settings: Settings,
        cameras: Cameras,
        sessions: SessionStore[Picture, Any],
        answerer: Answerer,
        now_ns: Callable[[], int],
        on_seen: OnSeen,
    ) -> None:
        """`now_ns` reads the clock of the cameras' stamps.

        `on_seen` is called in the worker's thread after each reply with status OK, with the
        picture, its pixels (uint8 H x W x 3, RGB) and the reply.
        """
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
        # Requests that wait for their frame.
        self._waiting: list[InflightRequest] = []
        self._numbers = itertools.count(1)

    def activate(self, worker: Worker, model: str) -> None:
        """Start to take requests."""
        self.model = model
        self._worker = worker

    def stop(self, reason: str) -> None:
        """End every request in flight, and every later one, with NOT_ACTIVE."""
        self._worker = None
        self._inactive_because = reason
        with self._lock:
            inflight = list(self._inflight.values())
        # Newest first: otherwise the worker would start one that waits when the running one ends.
        for one in reversed(inflight):
            self._end(one, self._not_active())

    @property
    def inactive_because(self) -> str:
        """The reason why requests are not answered now; empty if they are."""
        return self._inactive_because if self._worker is None else ""

    @property
    def inflight_count(self) -> int:
        """The number of requests without a reply."""
        with self._lock:
            return len(self._inflight)

    def submit(
        self, query: Query, on_reply: OnReply, on_text: OnText | None = None
    ) -> InflightRequest:
        """Take a request. `on_text(answer index, added text)` is called in the worker's thread."""
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
        # Log after the worker was started: logging takes the thread's time.
        self._log_asked(inflight)
        return inflight

    def cancel(
        self, inflight: InflightRequest, reason: str = "the caller cancelled the query"
    ) -> None:
        """End a request with CANCELLED, unless it has ended already."""
        self._end(
            inflight,
            CancelledError(reason, value=inflight.id, remedy="ask again if the answer is wanted"),
        )

    def frame_arrived(self) -> None:
        """Start the requests whose frame or detections have come."""
        waiting, self._waiting = self._waiting, []
        for inflight in waiting:
            if not inflight.replied:
                self._start(inflight)

    def tick(self) -> None:
        """End the requests whose time ran out.

        Call it some twenty times a second while there are requests in flight.
        """
        now_s = time.monotonic()
        if any(now_s >= inflight.frame_deadline_s for inflight in self._waiting):
            self.frame_arrived()
        with self._lock:
            late = [one for one in self._inflight.values() if now_s >= one.deadline_s]
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
        """Submit a request to the worker, or end it with the error that prevents it."""
        try:
            self._hand_over(inflight)
        except ChatspotError as error:
            self._end(inflight, error)
            inflight.let_go()
        except Exception as error:
            # A fault of this program: the caller gets a reply, and other requests go on.
            failure = ModelError(
                "the node failed", value=repr(error), remedy="see its log and report this"
            )
            failure.__cause__ = error
            self._end(inflight, failure)
            inflight.let_go()

    def _hand_over(self, inflight: InflightRequest) -> None:
        """Choose the frame and submit the job, or let the request wait for its frame."""
        worker = self._worker
        if worker is None:
            raise self._not_active()
        query, settings = inflight.query, self.settings
        text = request_validation.check(query, settings)
        if settings.screen_questions:
            no_questions.check_is_question(query, text)
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
        picture = request_validation.mark(query, picture, detections, size_wh, settings)
        inflight.picture = picture
        if not inflight.asks:
            found = self._cameras.found_on(picture)
            inflight.notes.append(
                f"of {found} detections on this frame none can be asked about: not finite, "
                "without area, or outside the image"
                if found
                else "the detector found nothing on this frame"
            )
            self._end(inflight, None)
            inflight.let_go()
            return
        inflight.notes += query.notes
        if query.session:
            note = self._sessions.enter(query.session, picture)
            inflight.notes += [note] if note else []
        self._submit(worker, inflight, picture)

    def _submit(self, worker: Worker, inflight: InflightRequest, picture: Picture) -> None:
        def work(engine: Any) -> StepwiseJob[None]:
            return self._work(engine, inflight)

        def on_done(_: None, error: ChatspotError | None) -> None:
            late = isinstance(error, DeadlineError)
            self._end(inflight, inflight.out_of_time() if late else error)
            inflight.let_go()

        handle = worker.submit(
            work,
            deadline_s=inflight.deadline_s,
            on_done=on_done,
            priority=inflight.priority,
            frame=picture.id,
            session_key=inflight.query.session or None,
            camera=picture.camera,
        )
        if not inflight.over:
            inflight.handle = handle

    def _work(self, engine: Any, inflight: InflightRequest) -> StepwiseJob[None]:
        """Answer a request and reply, in the worker's thread."""
        image_rgb = yield from self._answerer.answer(engine, inflight)
        reply = self._end(inflight, None)
        if reply is not None and reply.picture is not None:
            self._on_seen(reply.picture, image_rgb, reply)

    def _may_come(self, inflight: InflightRequest) -> bool:
        """Return True if the request names the missing frame and it can still come in time."""
        query = inflight.query
        wait_s = inflight.frame_deadline_s - time.monotonic()
        if wait_s <= 0 or not (query.stamp_ns or query.use_detections):
            return False
        return query.stamp_ns <= self._now_ns() + wait_s * NS

    def _end(self, inflight: InflightRequest, error: ChatspotError | None) -> QueryReply | None:
        """Send the reply, once; `error` None means status OK.

        Return the reply; None if it was sent before.
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
            if isinstance(error, NoQuestionError):
                answers = [no_questions.answer_to(error)]
            # Read them now: `let_go` in the worker's thread may clear them at any time.
            on_reply, picture, handle = inflight.on_reply, inflight.picture, inflight.handle
        query, now_s = inflight.query, time.monotonic()
        if error is not None and query.session and picture is not None:
            self._sessions.drop_if_silent(query.session, picture)
        waited_until_s = now_s if inflight.started_s is None else inflight.started_s
        reply = QueryReply(
            query=query,
            id=inflight.id,
            status=OK if error is None else error.status,
            message="; ".join(inflight.notes) if error is None else str(error),
            picture=picture,
            answers=answers,
            model=", ".join(inflight.models) or self.model,
            queued_s=waited_until_s - inflight.arrived_s,
            seeing_s=inflight.seeing_s,
            answering_s=inflight.answering_s,
        )
        # Reply before logging, which takes time.
        try:
            on_reply(reply)
        except Exception:
            _log.exception("%s: the reply could not be handed on", inflight.id)
        if error is not None and handle is not None:
            handle.cancel()
        self._log_end(inflight, reply, error)
        return reply

    def _log_asked(self, inflight: InflightRequest) -> None:
        """Log the question of a request, once."""
        with self._lock:
            logged, inflight.logged = inflight.logged, True
        if not logged:
            query = inflight.query
            task = f", task {one_line(query.task[:40])}" if query.task else ""
            # Typed and detected regions are known once the questions are made.
            asked = sum(len(ask.regions) for ask in inflight.asks)
            _log.info(
                "%s asked: %r%s, %d regions",
                inflight.id, query.question[:80], task, max(asked, len(query.regions)),
            )  # fmt: skip

    def _log_end(
        self, inflight: InflightRequest, reply: QueryReply, error: ChatspotError | None
    ) -> None:
        self._log_asked(inflight)
        total_s = time.monotonic() - inflight.arrived_s
        said = "; ".join(filter(None, (reply.message, *(one.text for one in reply.answers))))
        line = one_line(f"{inflight.id} {reply.status} after {total_s:.2f} s: {said}")
        if isinstance(error, ModelError):
            _log.error(line, exc_info=error if error.shows_trace else None)
        else:
            _log.info(line[:_LOG_CHARS])
