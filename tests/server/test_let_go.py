"""A query that is over holds no picture: without the garbage collector, whose turn comes late."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.errors import ImageError
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

PATIENCE_S = 60.0
Asked = tuple[InflightRequest, weakref.ref[Picture]]


class Answerer:
    """Answers at once; `hold` goes on until the query is stopped, `fail` raises."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def answer(self, _: Any, inflight: InflightRequest) -> Generator[Any, None, np.ndarray]:
        self.begun.set()
        word = inflight.query.question
        if word == "fail":
            raise ImageError("scripted", value="fail", remedy="none")
        while word == "hold":
            inflight.should_stop()
            yield Rest
        inflight.answers.append(Answer("yes", regions=(), confidence=0.9))
        return np.zeros((1, 1, 3), np.uint8)
        yield


class Rest:
    """What a job waits for; nothing."""

    merges = False

    @staticmethod
    def step() -> None:
        threading.Event().wait(0.001)


class Desk:
    """The service with a worker of its own; free of ROS."""

    def __init__(self) -> None:
        settings = Settings(screen_questions=False)
        self.answerer = Answerer()
        self.worker: InferenceWorker[None] = InferenceWorker(None, queue_size=4)
        self.service = RequestHandler(
            settings,
            Cameras(settings),
            SessionStore(max_sessions=2, max_idle_s=60.0, max_turns=4),
            self.answerer,
            lambda: 0,
            lambda *_: None,
        )
        self.service.activate(self.worker, "scripted")

    def ask(self, question: str) -> tuple[Asked, threading.Event, list[str]]:
        """Ask about a picture that nobody else holds."""
        replied, statuses = threading.Event(), []

        def on_reply(reply: QueryReply) -> None:
            statuses.append(reply.status)
            replied.set()

        picture = Picture(lambda: None, size_wh=(64, 48))
        inflight = self.service.submit(Query(question, picture=picture), on_reply)
        return (inflight, weakref.ref(picture)), replied, statuses


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk, and no garbage collector meanwhile."""
    made = Desk()
    gc.collect()
    gc.disable()
    yield made
    gc.enable()
    made.worker.stop()


def is_freed(desk: Desk, picture: weakref.ref[Picture]) -> bool:
    """Whether a picture is no longer there when its job has ended."""
    # The worker has let go of a job before it comes to the next one.
    desk.worker.submit(lambda _: None).wait(PATIENCE_S)
    return picture() is None


@pytest.mark.parametrize(
    ("question", "status"), [("what", "OK"), ("fail", "BAD_IMAGE"), ("", "BAD_REQUEST")]
)
def test_a_query_that_has_ended(desk: Desk, question: str, status: str) -> None:
    (_, picture), replied, statuses = desk.ask(question)
    assert replied.wait(PATIENCE_S)
    assert statuses == [status]
    assert is_freed(desk, picture)


def test_one_that_was_cancelled_while_it_ran(desk: Desk) -> None:
    (inflight, picture), replied, statuses = desk.ask("hold")
    assert desk.answerer.begun.wait(PATIENCE_S)
    desk.service.cancel(inflight)
    assert replied.wait(PATIENCE_S)
    assert statuses == ["CANCELLED"]
    assert is_freed(desk, picture)


def test_one_that_was_cancelled_while_it_waited(desk: Desk) -> None:
    (first, _), _, _ = desk.ask("hold")
    assert desk.answerer.begun.wait(PATIENCE_S)
    (inflight, picture), replied, statuses = desk.ask("what")
    desk.service.cancel(inflight)
    assert replied.is_set()
    assert statuses == ["CANCELLED"]
    desk.service.cancel(first)
    assert is_freed(desk, picture)
