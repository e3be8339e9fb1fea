"""Queries that meet in the inference thread: real models, and what the node puts before them.

What happens in the middle of a batch is done from the callbacks of its own words, in the inference
thread, so that no timing is left to chance. `-m slow` runs all of it 100 times in a row.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Reply, Turn
from chatspot_ros.engine.decoding import packed_batch as pack_module
from chatspot_ros.engine.decoding.kv_cache import TurnCache
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.errors import BusyError, CancelledError, ChatspotError, DeadlineError
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.request import Query
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

PATIENCE_S = 60.0
TOKENS = 12
TEXTS = ("What is this?", "And this?", "Is it open?")
hundred_times = pytest.mark.parametrize(
    "repeat", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 100))]
)
_ids = itertools.count()


@dataclass(eq=False)
class Picture:
    """What the node's Picture is, with pixels at hand. `asked_for` counts its decoding."""

    seed: int
    id: int = field(default_factory=lambda: next(_ids))
    asked_for: int = 0

    def rgb(self, max_pixels: int) -> np.ndarray:
        self.asked_for += 1
        return np.random.default_rng(self.seed).integers(0, 256, (97, 211, 3), dtype=np.uint8)


@dataclass
class Asked:
    """A query on its way."""

    pending: InflightRequest
    handle: Any = None
    error: ChatspotError | None = None
    words: dict[int, str] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def texts(self) -> list[str]:
        return [answer.text for answer in self.pending.answers]

    def wait(self) -> Asked:
        assert self.ended.wait(PATIENCE_S)
        return self


class Desk:
    """An engine in its thread, and the queries put to it."""

    def __init__(self, engine: Engine, queue_size: int = 16) -> None:
        self.engine = engine
        self.sessions: SessionStore[Any, Turn] = SessionStore(
            max_sessions=9, max_idle_s=600, max_turns=8
        )
        self.answerer = Answerer(Settings(max_new_tokens=TOKENS), self.sessions)
        self.worker = InferenceWorker(engine, queue_size=queue_size)
        # The ids of the queries in the order in which they ended.
        self.ends: list[str] = []

    def ask(
        self,
        picture: Picture,
        count: int = 1,
        *,
        background: bool = False,
        session: str = "",
        text: str = "What is this?",
        on_text: Callable[[int, str], None] | None = None,
        timeout_s: float = 1e6,
    ) -> Asked:
        """Ask `count` questions; on_text is called for the words of each."""
        query = Query(text, use_detections=background, session=session)
        now_s = time.monotonic()
        pending = InflightRequest(
            f"q{next(_ids)}", query, print, None, now_s, now_s + timeout_s, now_s,
            picture, asks(count, text),
        )  # fmt: skip
        asked = Asked(pending)

        def hear(index: int, added: str) -> None:
            asked.words[index] = asked.words.get(index, "") + added
            if on_text is not None and added:
                on_text(index, added)

        def on_done(result: object, error: ChatspotError | None) -> None:
            asked.error = error
            self.ends.append(pending.id)
            asked.ended.set()

        pending.on_text = hear
        if session:
            self.sessions.enter(session, picture)
        asked.handle = self.worker.submit(
            lambda engine: self.answerer.answer(engine, pending),
            deadline_s=pending.deadline_s,
            on_done=on_done,
            priority=pending.priority,
            frame=picture.id,
            session_key=session or None,
        )
        return asked

    def replies(self, picture: Picture, count: int, text: str = "What is this?") -> list[Reply]:
        """What comes of the same questions, one by one and without any thread."""
        scene = self.engine.prepare(picture.rgb(0))
        return [self.engine.answer(scene, ask_one(ask)) for ask in asks(count, text)]

    def alone(self, picture: Picture, count: int = 1, text: str = "What is this?") -> list[str]:
        """The answers to the same questions, as `replies`."""
        return [reply.answer.text for reply in self.replies(picture, count, text)]

    def converse(self, picture: Picture, texts: Sequence[str]) -> list[str]:
        """The answers of a conversation that is read anew at every turn."""
        scene, said = self.engine.prepare(picture.rgb(0)), []
        turns: tuple[Turn, ...] = ()
        for text in texts:
            reply = self.engine.answer(scene, ask_one(asks(1, text)[0], turns))
            said.append(reply.answer.text)
            turns = (*turns, Turn(reply.prompt, reply.raw_text))
        return said


def asks(count: int, text: str) -> list[Question]:
    boxes = [Region.box(4 * k, 2 * k, 70 + 4 * k, 50 + 2 * k) for k in range(count)]
    return [Question(text, (box,)) for box in boxes]


def ask_one(ask: Question, turns: tuple[Turn, ...] = ()) -> Question:
    return Question(ask.text, ask.regions, turns=turns, max_new_tokens=TOKENS)


class Once:
    """Calls something at the nth word that comes."""

    def __init__(self, at: int, then: Callable[[], object]) -> None:
        self._left, self._then = at, then

    def __call__(self, index: int, added: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


@pytest.fixture(params=["llava", "qwen"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk = Desk(request.getfixturevalue(request.param))
    yield desk
    assert desk.worker.stop(PATIENCE_S)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers each step of every batch brought on."""
    found: list[int] = []
    take = pack_module.take

    def spy(live: list[Any], *rest: Any) -> None:
        found.append(len(live))
        take(live, *rest)

    monkeypatch.setattr(pack_module, "take", spy)
    return found


@hundred_times
def test_two_queries_on_one_frame_become_one_batch(
    desk: Desk, sizes: list[int], repeat: int
) -> None:
    picture = Picture(1)
    expected = desk.alone(picture, 3), desk.alone(picture, 2, "And this?")
    sizes.clear()
    later: list[Asked] = []
    first = desk.ask(
        picture, 3,
        on_text=Once(2, lambda: later.append(desk.ask(picture, 2, text="And this?"))),
    )  # fmt: skip
    first.wait()
    later[0].wait()
    assert (first.error, later[0].error) == (None, None)
    assert (first.texts, later[0].texts) == expected
    # The second one's came in while the first one's were being answered.
    assert sizes[0] == 3
    assert max(sizes) == 5
    # Both streamed every word.
    raw = [reply.raw_text for reply in desk.replies(picture, 3)]
    assert [first.words[k] for k in range(3)] == raw
    raw = [reply.raw_text for reply in desk.replies(picture, 2, "And this?")]
    assert [later[0].words[k] for k in range(2)] == raw


@hundred_times
def test_one_is_cancelled_in_the_middle_of_a_batch(
    desk: Desk, sizes: list[int], repeat: int
) -> None:
    picture = Picture(2)
    expected = desk.alone(picture, 2)
    others: list[Asked] = []

    def come() -> None:
        others.append(desk.ask(picture, 2, text="And this?", on_text=Once(3, cancel)))

    def cancel() -> None:
        others[0].handle.cancel()

    first = desk.ask(picture, 2, on_text=Once(1, come)).wait()
    others[0].wait()
    assert isinstance(others[0].error, CancelledError)
    assert first.error is None
    assert first.texts == expected
    assert max(sizes) == 4
    # What it had is gone: a further question finds the frame as it was.
    assert desk.ask(picture, 2).wait().texts == expected


@hundred_times
def test_one_runs_out_of_time_in_the_middle_of_a_batch(desk: Desk, repeat: int) -> None:
    picture = Picture(3)
    expected = desk.alone(picture, 2)
    others: list[Asked] = []

    def come() -> None:
        others.append(desk.ask(picture, 2, text="And this?", on_text=Once(3, run_out)))

    def run_out() -> None:
        others[0].pending.deadline_s = others[0].handle.deadline_s = time.monotonic()

    first = desk.ask(picture, 2, on_text=Once(1, come)).wait()
    others[0].wait()
    assert isinstance(others[0].error, DeadlineError)
    assert (first.error, first.texts) == (None, expected)


@hundred_times
def test_a_question_overtakes_a_background_job_on_another_frame(desk: Desk, repeat: int) -> None:
    busy, urgent = Picture(4), Picture(5)
    expected = desk.alone(busy, 5), desk.alone(urgent, 1)
    questions: list[Asked] = []
    background = desk.ask(
        busy, 5, background=True, on_text=Once(1, lambda: questions.append(desk.ask(urgent)))
    ).wait()
    questions[0].wait()
    assert desk.ends == [questions[0].pending.id, background.pending.id]
    assert (background.error, questions[0].error) == (None, None)
    assert (background.texts, questions[0].texts) == expected


@hundred_times
def test_frames_are_forgotten_only_when_nobody_asks(desk: Desk, repeat: int) -> None:
    first, second = Picture(6), Picture(7)
    expected = desk.alone(first, 2), desk.alone(second, 2)
    desk.answerer._scenes.max_bytes = 1
    seen: list[int] = []
    others: list[Asked] = []

    def come() -> None:
        others.append(desk.ask(second, 2, on_text=Once(1, look)))

    def look() -> None:
        seen.append(len(desk.answerer._scenes))

    background = desk.ask(first, 2, background=True, on_text=Once(1, come)).wait()
    others[0].wait()
    assert (background.texts, others[0].texts) == expected
    # Both were there while they were asked about, and nothing is now.
    assert seen == [2]
    assert len(desk.answerer._scenes) == 0
    assert desk.ask(first, 2).wait().texts == expected[0]


@hundred_times
def test_two_conversations_take_turns(desk: Desk, repeat: int) -> None:
    pictures = {"one": Picture(8), "two": Picture(8), "three": Picture(9)}
    expected = {name: desk.converse(picture, TEXTS) for name, picture in pictures.items()}
    asked = [(name, desk.ask(pictures[name], session=name, text=text))
             for text in TEXTS for name in pictures]  # fmt: skip
    said: dict[str, list[str]] = {}
    for name, one in asked:
        assert one.wait().error is None
        said.setdefault(name, []).extend(one.texts)
    assert said == expected


@hundred_times
def test_a_full_queue_is_busy_with_an_estimate(llava: Engine, repeat: int) -> None:
    desk = Desk(llava, queue_size=2)
    running, other, third = Picture(10), Picture(11), Picture(12)
    desk.ask(running).wait()
    came: list[Any] = []

    def fill() -> None:
        came.append(desk.ask(other, background=True))
        came.append(desk.ask(third, background=True))
        with pytest.raises(BusyError, match=r"2 waiting.*ask again in about \d+\.\d s"):
            desk.ask(other, background=True)
        came.append(desk.ask(third))

    first = desk.ask(running, on_text=Once(1, fill)).wait()
    assert first.error is None
    assert [one.wait().error for one in (came[0], came[2])] == [None, None]
    # A question took the younger background query's place.
    assert isinstance(came[1].wait().error, BusyError)
    assert "ask again in about" in str(came[1].error)
    assert desk.worker.stop(PATIENCE_S)


# --- what is kept


def test_the_same_picture_again_pays_neither_vision_nor_prefix(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    prepare = Engine.prepare

    def spy(engine: Engine, image_rgb: np.ndarray) -> Any:
        prepared.append(image_rgb.shape)
        return prepare(engine, image_rgb)

    monkeypatch.setattr(Engine, "prepare", spy)
    picture, same, other = Picture(13), Picture(13), Picture(14)
    first = desk.ask(picture).wait()
    assert desk.ask(picture).wait().texts == first.texts
    assert desk.ask(same).wait().texts == first.texts
    assert len(prepared) == 1
    # The message that is known is not even decoded again.
    assert (picture.asked_for, same.asked_for) == (1, 1)
    assert desk.ask(same).wait().pending.seeing_s == 0.0
    desk.ask(other).wait()
    assert len(prepared) == 2


def test_scenes_are_kept_up_to_their_bytes(desk: Desk) -> None:
    desk.ask(Picture(15)).wait()
    scenes = desk.answerer._scenes
    one = scenes.nbytes
    assert one > 97 * 211 * 3
    scenes.max_bytes = 2 * one
    for seed in (16, 17, 18, 15):
        desk.ask(Picture(seed)).wait()
        assert scenes.nbytes <= 2 * one
    assert len(scenes) == 2


@pytest.mark.parametrize("max_bytes", [0, 10**9])
def test_a_conversation_is_the_same_with_and_without_its_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    known: list[int] = []
    known_of = TurnCache.known

    def spy(memory: TurnCache, ids: list[int]) -> int:
        known.append(known_of(memory, ids))
        return known[-1]

    monkeypatch.setattr(TurnCache, "known", spy)
    desk.answerer._memories.max_bytes = max_bytes
    picture, said = Picture(19), []
    for text in TEXTS:
        said += desk.ask(picture, session="s", text=text).wait().texts
    assert bool(known) == bool(max_bytes)
    assert all(count > 10 for count in known)
    assert said == desk.converse(picture, TEXTS)
