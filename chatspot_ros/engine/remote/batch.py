"""Questions about one picture as concurrent requests, in the steps of a batch."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatspot_ros.engine.api import (
    Admission,
    OnReplyOf,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
    check_stop,
    for_index,
)
from chatspot_ros.engine.remote.client import Streamed
from chatspot_ros.engine.remote.errors import RemoteError, TooSlowError
from chatspot_ros.engine.remote.fallback import LocalBatch
from chatspot_ros.engine.remote.prompt import Asked, RemoteScene
from chatspot_ros.errors import CancelledError, DeadlineError

if TYPE_CHECKING:
    from chatspot_ros.engine.remote.engine import RemoteEngine

# A step waits so long for news from the server; between steps a cancel is noticed.
_NEWS_S = 0.02
# The deadline of questions without one.
_LONG_S = 3600.0


@dataclass(eq=False)
class _Place:
    """One question of an admission, as it was asked: its request, or its place in the local
    model's batch."""

    index: int
    question: Question
    asked: Asked | None
    future: Future[Any] | None = None
    local: Admission | None = None
    spoken: bool = False
    reply: Reply | None = None


@dataclass(eq=False)
class RemoteAdmission:
    """Questions that were sent, and their replies."""

    batch: RemoteBatch
    on_text: OnTextOf | None
    should_stop: ShouldStop | None
    on_reply: OnReplyOf | None
    places: list[_Place] = field(default_factory=list)
    error: Exception | None = None
    # No KV cache of ours.
    memory: Any = None

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""
        return self.error is not None or all(one.reply is not None for one in self.places)

    def leave(self) -> None:
        """End the unfinished questions: their connections are closed."""
        for place in self.places:
            if place.future is not None:
                place.future.cancel()
            if place.local is not None:
                place.local.leave()
        if not self.done:
            self.error = CancelledError(
                "the answer was given up", value="a cancel", remedy="ask again"
            )
        self.batch.forget(self)

    def fail(self, error: Exception) -> None:
        """End all questions with an error."""
        self.error = self.error or error
        self.leave()

    def result(self) -> list[Reply]:
        """Return the replies in order. Raises the error that ended them."""
        if self.error is not None:
            raise self.error
        return [one.reply for one in self.places if one.reply is not None]


_News = tuple[RemoteAdmission, _Place, "str | Streamed | BaseException"]


class RemoteBatch:
    """Questions about one scene, each a request; used by the engine's thread."""

    # Requests at the same time are cheaper for the server than one after the other.
    merges = True

    def __init__(self, engine: RemoteEngine, scene: RemoteScene) -> None:
        self._engine, self._scene = engine, scene
        self._admissions: list[RemoteAdmission] = []
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        fallback = engine.fallback
        self._local = None if fallback is None else LocalBatch(fallback, scene)

    @property
    def live(self) -> int:
        """The number of unfinished questions."""
        return sum(one.reply is None for each in self._admissions for one in each.places)

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> RemoteAdmission:
        """Send questions, each by itself; see `Batch.admit`. No cache is kept between turns.

        Raises:
            RequestError, RegionError: one of the questions cannot be asked; none is sent.
        """
        admission = RemoteAdmission(self, on_text, should_stop, on_reply)
        filled = self._engine.fill(self._scene, questions, should_stop)
        for index, (question, full) in enumerate(zip(questions, filled, strict=True)):
            check_stop(should_stop)
            alone = self._local is not None and bool(question.choices)
            asked = None if alone else self._engine.prompt.read(self._scene, full)
            admission.places.append(_Place(index, question, asked))
        self._admissions.append(admission)
        for place in admission.places:
            if place.asked is None:
                self._rescue(admission, place, "only a local model scores choices")
            else:
                self._send(admission, place, place.asked)
        return admission

    def forget(self, admission: RemoteAdmission) -> None:
        """Drop an admission that has ended."""
        if admission in self._admissions:
            self._admissions.remove(admission)

    def _send(self, admission: RemoteAdmission, place: _Place, asked: Asked) -> None:
        deadline_s = place.question.deadline_s or time.monotonic() + _LONG_S
        if self._engine.fallback is not None:
            deadline_s -= self._engine.fallback.needs_s

        def hear(text: str) -> None:
            self._news.put((admission, place, text))

        async def ask() -> None:
            try:
                found = await self._engine.ask(self._scene, asked, hear, deadline_s)
            except Exception as error:
                self._news.put((admission, place, error))
            else:
                self._news.put((admission, place, found))

        place.future = self._engine.loop.start(ask())

    def step(self) -> None:
        """Take what the server has sent, or wait shortly for it; advance the local model."""
        for admission in list(self._admissions):
            try:
                check_stop(admission.should_stop)
            except Exception as error:
                admission.fail(error)
        if not self._admissions:
            return
        works = self._local is not None and self._local.live
        try:
            news = self._news.get(timeout=0.0 if works else _NEWS_S)
            while True:
                self._take(*news)
                news = self._news.get_nowait()
        except queue.Empty:
            pass
        if self._local is not None and self._local.live:
            self._local.step()
        for admission in list(self._admissions):
            self._check_local(admission)
            if admission.done:
                self.forget(admission)

    def _take(
        self, admission: RemoteAdmission, place: _Place, news: str | Streamed | BaseException
    ) -> None:
        """Handle one piece of news; what belongs to an ended admission is dropped."""
        if admission not in self._admissions or place.asked is None:
            return
        if isinstance(news, str):
            place.spoken = True
            self._say(admission, place, news)
            return
        if isinstance(news, Streamed):
            try:
                reply = self._engine.prompt.reply(self._scene, place.asked, news)
                self._finish(admission, place, self._engine.complete(place.asked.question, reply))
                return
            except RemoteError as error:
                news = error
        if isinstance(news, RemoteError) and self._local is not None:
            self._rescue(admission, place, news.problem)
        elif isinstance(news, Exception):
            admission.fail(_in_time(news, place.question))

    def _say(self, admission: RemoteAdmission, place: _Place, text: str) -> None:
        try:
            if admission.on_text is not None:
                admission.on_text(place.index, text)
        except Exception as error:
            admission.fail(error)

    def _finish(self, admission: RemoteAdmission, place: _Place, reply: Reply) -> None:
        place.reply = reply
        try:
            if admission.on_reply is not None:
                admission.on_reply(place.index, reply)
        except Exception as error:
            admission.fail(error)

    def _rescue(self, admission: RemoteAdmission, place: _Place, why: str) -> None:
        """Hand a question to the local model. It is silent where the server had spoken: listeners
        would take its words for the rest of the server's."""
        if self._local is None:
            raise RuntimeError("there is no local model")
        hears = None if place.spoken else for_index(admission.on_text, place.index)
        try:
            place.local = self._local.admit(
                place.question, why, hears, admission.should_stop,
                lambda reply: self._finish(admission, place, reply),
            )  # fmt: skip
        except Exception as error:
            admission.fail(error)

    def _check_local(self, admission: RemoteAdmission) -> None:
        """Pass on the error that ended a question at the local model."""
        for place in admission.places:
            if place.reply is None and place.local is not None and place.local.done:
                try:
                    place.local.result()
                except Exception as error:
                    admission.fail(error)
                    return


def _in_time(error: Exception, question: Question) -> Exception:
    """Return the error of a question: where its own deadline ended it, that is the reason."""
    late = question.deadline_s is not None and time.monotonic() >= question.deadline_s - _NEWS_S
    if isinstance(error, TooSlowError) and late:
        return DeadlineError(
            "the time ran out while the server answered", value=error.value, remedy=error.remedy
        )
    return error
