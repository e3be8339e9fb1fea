"""The work of the inference thread on one request, with a scripted engine."""

from __future__ import annotations

import gc
from collections.abc import Hashable
from typing import Any

import numpy as np

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.engine.api import Question, Reply, Turn
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.request import Picture, Query
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings


class Asked:
    done, memory = True, None

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = replies

    def result(self) -> list[Reply]:
        return self._replies

    def leave(self) -> None:
        pass


class Batch:
    merges, live = True, 0

    def admit(self, questions: Any, on_text: Any, stop: Any, on_reply: Any, **_: Any) -> Asked:
        replies = [
            Reply(Answer(one.text, regions=(), confidence=0.5), one.text, one.text, 10, 0.5, "")
            for one in questions
        ]
        for index, one in enumerate(replies):
            on_reply(index, one)
        return Asked(replies)


class Engine:
    """Answers with the question; counts the scenes that it prepares."""

    def __init__(self) -> None:
        self.prepared = 0

    def scene_key(self, image_rgb: np.ndarray) -> Hashable:
        return image_rgb.tobytes()

    def prepare(self, image_rgb: np.ndarray) -> str:
        self.prepared += 1
        return "scene"

    def scene_bytes(self, scene: str) -> int:
        return 1

    def open(self, scene: str) -> Batch:
        return Batch()


class Pixels(Picture):
    """A picture of one colour."""

    def __init__(self, grey: int) -> None:
        super().__init__(lambda: None)
        self.decoded = 0
        self._grey = grey

    def rgb(self, max_pixels: int) -> np.ndarray:
        self.decoded += 1
        return np.full((2, 2, 3), self._grey, np.uint8)


def make_answerer(**rest: Any) -> Answerer:
    sessions: SessionStore[Picture, Turn] = SessionStore(max_sessions=2, max_idle_s=9, max_turns=4)
    return Answerer(Settings(), sessions, **rest)


def answer(answerer: Answerer, engine: Engine, picture: Picture, *texts: str) -> list[str]:
    inflight = InflightRequest("q1", Query(texts[0]), print, None, 0.0, 1e12, 0.0, picture,
                               [Question(text, ()) for text in texts])  # fmt: skip
    for _ in answerer.answer(engine, inflight):  # type: ignore[arg-type]
        pass
    return [one.text for one in inflight.answers]


def test_every_answer_is_measured() -> None:
    measured: list[tuple[int, float]] = []
    answerer = make_answerer(on_answered=lambda *one: measured.append(one))
    assert answer(answerer, Engine(), Pixels(1), "a", "b") == ["a", "b"]
    assert measured == [(10, 0.5), (10, 0.5)]


def test_a_picture_is_decoded_once_and_equal_pictures_share_a_scene() -> None:
    answerer, engine = make_answerer(), Engine()
    first, equal, other = Pixels(1), Pixels(1), Pixels(2)
    for picture in (first, first, equal, other):
        answer(answerer, engine, picture, "a")
    assert (first.decoded, equal.decoded, other.decoded) == (1, 1, 1)
    assert engine.prepared == 2


def test_a_picture_that_is_gone_leaves_no_entry() -> None:
    answerer, engine = make_answerer(), Engine()
    for _ in range(3):
        answer(answerer, engine, Pixels(1), "a")
    gc.collect()
    assert len(answerer._scene_keys) == 0
    assert engine.prepared == 1
