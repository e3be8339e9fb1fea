"""An engine that only answers whole requests, served like any other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Question, Reply
from chatspot_ros.engine.serial_engine import SerialEngine, as_batching
from chatspot_ros.errors import CancelledError, ModelError
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.cameras import Cameras
from chatspot_ros.server.metrics import Metrics
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.request import Picture, Query, QueryReply
from chatspot_ros.server.request_handler import RequestHandler
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

PATIENCE_S = 60.0
BOXES = (Region.box(1, 1, 20, 20), Region.box(30, 5, 50, 40))


class Remote:
    """All that an engine of whole requests has to be; `hold` goes on until it is stopped."""

    name = "remote"

    def __init__(self) -> None:
        self.prepared = 0
        self.begun = threading.Event()

    def prepare(self, image_rgb: np.ndarray) -> np.ndarray:
        self.prepared += 1
        return image_rgb

    def answer(
        self,
        scene: np.ndarray,
        question: Question,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Reply:
        self.begun.set()
        if question.text == "fail":
            raise ModelError("the endpoint failed", value="500", remedy="none")
        while question.text == "hold":
            if should_stop is not None and should_stop():
                raise CancelledError("stopped", value="a stop", remedy="none")
            threading.Event().wait(0.001)
        said = f"{question.text} {len(question.turns)} {scene.shape[1]}"
        for word in said.split():
            if on_text is not None:
                on_text(word + " ")
        answer = Answer(said, regions=question.regions, confidence=0.9)
        return Reply(answer, question.text, said, 3, 0.01, "describe")


@dataclass
class Asked:
    """A query, its reply and the text that came before."""

    pending: Any = None
    reply: QueryReply | None = None
    words: dict[int, str] = field(default_factory=dict)
    replied: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> QueryReply:
        assert self.replied.wait(PATIENCE_S)
        assert self.reply is not None
        return self.reply


class Desk:
    """The node's server with such an engine; free of ROS."""

    def __init__(self) -> None:
        self.engine, settings = Remote(), Settings(screen_questions=False)
        sessions: SessionStore[Picture, Any] = SessionStore(
            max_sessions=2, max_idle_s=60.0, max_turns=4
        )
        self.metrics = Metrics()
        self.life = ModelManager(
            lambda _: self.engine,
            lambda: Answerer(settings, sessions, self.metrics.note_answer),
        )
        self.life.load(settings)
        self.service = RequestHandler(
            settings, Cameras(settings), sessions, self.life, lambda: 0, lambda *_: None
        )
        assert self.life.worker is not None
        self.service.activate(self.life.worker, self.life.name)
        self.picture = picture()

    def ask(self, text: str, regions: Sequence[Region] = (), session: str = "") -> Asked:
        asked = Asked()

        def on_reply(reply: QueryReply) -> None:
            asked.reply = reply
            asked.replied.set()

        def on_text(index: int, added: str) -> None:
            asked.words[index] = asked.words.get(index, "") + added

        query = Query(text, picture=self.picture, regions=tuple(regions), session=session)
        asked.pending = self.service.submit(query, on_reply, on_text)
        return asked


def picture() -> Picture:
    class InMemory(Picture):
        def rgb(self, max_pixels: int) -> np.ndarray:
            return np.zeros((48, 64, 3), np.uint8)

    return InMemory(lambda: None, size_wh=(64, 48))


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    assert made.life.unload()


def test_its_answers_are_those_of_a_batching_engine(desk: Desk) -> None:
    asked = desk.ask("What is this?", BOXES)
    reply = asked.wait()
    assert (reply.status, reply.model) == ("OK", "remote")
    assert [(a.text, a.regions) for a in reply.answers] == [
        ("What is this? 0 64", (box,)) for box in BOXES
    ]
    assert asked.words == {0: "What is this? 0 64 ", 1: "What is this? 0 64 "}
    assert desk.metrics.values()["tokens a second (median)"] == "300.0"


def test_the_scene_is_prepared_once_and_a_session_has_its_turns(desk: Desk) -> None:
    texts = [desk.ask("And this?", session="s").wait().answers[0].text for _ in range(3)]
    assert texts == ["And this? 0 64", "And this? 1 64", "And this? 2 64"]
    assert desk.engine.prepared == 1


def test_a_cancel_stops_a_request_that_runs_and_the_next_is_answered(desk: Desk) -> None:
    held, waits = desk.ask("hold", BOXES), desk.ask("hold")
    assert desk.engine.begun.wait(PATIENCE_S)
    for asked in (waits, held):
        desk.service.cancel(asked.pending)
        assert asked.wait().status == "CANCELLED"
    assert desk.ask("What is this?").wait().status == "OK"


def test_an_error_is_the_reply_and_ends_only_its_query(desk: Desk) -> None:
    failed = desk.ask("fail", BOXES).wait()
    assert failed.status == "MODEL_ERROR"
    assert "the endpoint failed" in failed.message
    assert desk.ask("What is this?").wait().status == "OK"


def test_answers_of_several_questions_come_in_order() -> None:
    engine = SerialEngine(Remote())
    scene = engine.prepare(np.zeros((5, 7, 3), np.uint8))
    heard: list[int] = []
    questions = [Question("a"), Question("b")]
    replies = engine.answer_many(scene, questions, on_reply=lambda k, _: heard.append(k))
    assert ([reply.raw_text for reply in replies], heard) == (["a 0 7", "b 0 7"], [0, 1])
    with pytest.raises(CancelledError):
        engine.answer_many(scene, [Question("hold")], should_stop=lambda: True)


def test_who_leaves_a_batch_leaves_the_others_in_it() -> None:
    engine = SerialEngine(Remote())
    batch = engine.open(np.zeros((5, 7, 3), np.uint8))
    left, kept = batch.admit([Question("a")]), batch.admit([Question("b")])
    assert batch.live == 2
    left.leave()
    batch.step()
    assert (batch.live, kept.result()[0].raw_text) == (0, "b 0 7")
    with pytest.raises(CancelledError):
        left.result()


def test_keys_tell_pictures_apart_and_may_be_the_engines_own() -> None:
    class Keyed(Remote):
        def scene_key(self, image_rgb: np.ndarray) -> str:
            return "its own"

        def scene_bytes(self, scene: Any) -> int:
            return 7

    black, white = np.zeros((5, 7, 3), np.uint8), np.full((5, 7, 3), 255, np.uint8)
    plain, keyed = SerialEngine(Remote()), SerialEngine(Keyed())
    assert plain.scene_key(black) == plain.scene_key(black.copy()) != plain.scene_key(white)
    assert (plain.scene_bytes(black), keyed.scene_bytes(black)) == (0, 7)
    assert keyed.scene_key(black) == "its own"


def test_an_engine_that_batches_is_used_as_it_is() -> None:
    engine = SerialEngine(Remote())
    assert as_batching(engine) is engine
