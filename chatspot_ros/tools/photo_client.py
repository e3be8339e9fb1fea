"""Asks about photos with the engine in this process: the node's own way, without ROS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chatspot_ros.core.answer_parser import Answer as ParsedAnswer
from chatspot_ros.errors import ChatspotError
from chatspot_ros.images.photo import read_photo
from chatspot_ros.operators.client import Answer, Ask, Reply
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

_TICK_S = 0.05
# A model needs its time on a small computer, and nobody else waits.
DEFAULT_TIMEOUT_S = 600.0


class PhotoClient:
    """Loads a model, and asks it about photos. Use it in a `with` block."""

    def __init__(self, model: str, device: str = "auto") -> None:
        """Load a model: a folder, a bundled name or a hub id, which is fetched if need be.

        Raises:
            ModelLoadError: the fault and its remedy.
        """
        settings = Settings(
            model=model,
            device=device,
            allow_download=True,
            warm_up=False,
            default_timeout=DEFAULT_TIMEOUT_S,
        )
        sessions: SessionStore[Picture, Any] = SessionStore(
            max_sessions=settings.max_sessions,
            max_idle_s=settings.session_idle,
            max_turns=settings.session_turns,
        )
        self._model = ModelManager(load_engine, lambda: Answerer(settings, sessions))
        self._model.load(settings)
        self._handler = RequestHandler(
            settings,
            Cameras(settings),
            sessions,
            self._model,
            time.time_ns,
            lambda picture, image_rgb, reply: None,
        )
        assert self._model.worker is not None
        self._handler.activate(self._model.worker, self._model.name)

    def __enter__(self) -> PhotoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._handler.stop("the command ends")
        self._model.unload()

    def ask(self, photo: Path, ask: Ask, on_text: Callable[[int, str], None]) -> Reply:
        """Ask about a photo and wait; `on_text` gets (index of the answer, more of its text).

        KeyboardInterrupt stops the answer.
        """
        try:
            kind, data = read_photo(photo)
        except ChatspotError as error:
            return Reply(error.status, str(error))
        message = SimpleNamespace(format=kind, data=data)
        query = Query(
            question=ask.question,
            picture=Picture(lambda: message),
            regions=ask.regions,
            marks=ask.marks,
            task=ask.task,
            choices=ask.choices,
            json_schema=ask.json_schema,
            timeout_s=ask.timeout_s,
        )
        replies: list[QueryReply] = []
        replied = threading.Event()

        def on_reply(reply: QueryReply) -> None:
            replies.append(reply)
            replied.set()

        inflight = self._handler.submit(query, on_reply, on_text)
        self._wait(replied, inflight)
        return _to_reply(replies[0])

    def _wait(self, replied: threading.Event, inflight: InflightRequest) -> None:
        try:
            while not replied.wait(_TICK_S):
                self._handler.tick()
        except KeyboardInterrupt:
            self._handler.cancel(inflight)
            raise


def _to_reply(reply: QueryReply) -> Reply:
    return Reply(
        status=reply.status,
        message=reply.message,
        answers=tuple(map(_to_answer, reply.answers)),
        model=reply.model,
        queued_s=reply.queued_s,
        seeing_s=reply.seeing_s,
        answering_s=reply.answering_s,
    )


def _to_answer(answer: ParsedAnswer) -> Answer:
    return Answer(
        text=answer.text,
        regions=tuple(answer.regions),
        state=dict(answer.state),
        steps=tuple(step.text or f"{step.action} {step.target}".strip() for step in answer.steps),
        grounded=tuple(answer.grounded),
        confidence=answer.confidence,
        uncertain=answer.uncertain,
        truncated=answer.truncated,
        looked_twice=answer.looked_twice,
        json=answer.json,
        choice_probabilities=tuple(answer.choice_probabilities),
        print_lines=tuple(answer.print_lines),
        sources=tuple(answer.sources),
        answer_id=answer.id,
    )
