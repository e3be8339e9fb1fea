"""The work of the inference thread on one request: see the picture, answer the questions.

Everything here runs in that thread, the only one that uses the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import Batch, BatchingEngine, OnReplyOf, Question, Reply, Turn
from chatspot_ros.engine.look_first import find_places
from chatspot_ros.engine.looking_up import name_things
from chatspot_ros.engine.scheduling.byte_cache import MEGABYTE, ByteCache
from chatspot_ros.engine.scheduling.job import StepwiseJob
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.request import Picture, new_answer_id
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

# Called with the tokens and the seconds of each answer.
OnAnswered = Callable[[int, float], None]


def _ignore(tokens: int, seconds: float) -> None:
    """Stand in for a callback."""


@dataclass(frozen=True)
class _CachedScene:
    """A scene of the engine, its pixels, and its batches of questions."""

    scene: Any
    image_rgb: RgbImage
    batches: list[Batch] = field(default_factory=list)

    def batch(self, engine: BatchingEngine) -> Batch:
        """Return a batch that can still take questions, else an idle one."""
        for batch in self.batches:
            if batch.merges or not batch.live:
                return batch
        self.batches.append(engine.open(self.scene))
        return self.batches[-1]


class Answerer:
    """Answers requests with the engine.

    Caches scenes, by the contents of their pictures, and the engine's memory of each conversation.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: SessionStore[Picture, Turn],
        on_answered: OnAnswered = _ignore,
    ) -> None:
        self.settings = settings
        self._sessions = sessions
        self._on_answered = on_answered
        self._scenes: ByteCache[Hashable, _CachedScene] = ByteCache(
            settings.scene_cache_mb * MEGABYTE
        )
        # Session name -> (key of the scene that the memory belongs to, memory).
        self._memories: ByteCache[str, tuple[Hashable, Any]] = ByteCache(
            settings.session_cache_mb * MEGABYTE
        )
        self._scene_keys: WeakKeyDictionary[Picture, Hashable] = WeakKeyDictionary()
        self._usual_bytes = 0

    @property
    def cache_bytes(self) -> int:
        """The bytes of the cached scenes and memories of conversations."""
        return self._scenes.nbytes + self._memories.nbytes

    def answer(self, engine: BatchingEngine, inflight: InflightRequest) -> StepwiseJob[RgbImage]:
        """Answer all questions of a request into `inflight.answers`, in steps.

        Return the picture's pixels. Raises ChatspotError.
        """
        picture = inflight.picture
        if picture is None:
            raise RuntimeError(f"{inflight.id} came to the worker without a picture")
        inflight.started_s = time.monotonic()
        inflight.should_stop()
        known = self._scene_keys.get(picture) in self._scenes
        key = self._see(engine, picture)
        seen_s = time.monotonic()
        inflight.seeing_s = 0.0 if known else seen_s - inflight.started_s
        with self._scenes.using(key) as cached:
            try:
                yield from self._answer_all(engine, key, cached, picture, inflight)
            finally:
                inflight.answering_s = time.monotonic() - seen_s
        return cached.image_rgb

    def give_back(self) -> None:
        """Free everything that no running request needs. In the worker's thread."""
        self._scenes.make_room(self._scenes.max_bytes)
        self._memories.make_room(self._memories.max_bytes)

    def _see(self, engine: BatchingEngine, picture: Picture) -> Hashable:
        """Prepare the scene of a picture, unless it is cached; return the scene's key."""
        key = self._scene_keys.get(picture)
        if key is not None and self._scenes.get(key) is not None:
            return key
        image_rgb = picture.rgb(self.settings.max_pixels)
        key = engine.scene_key(image_rgb)
        if self._scenes.get(key) is None:
            # Make room first, so that the cache never exceeds its limit by much.
            self._scenes.make_room(self._usual_bytes)
            scene = engine.prepare(image_rgb)
            self._usual_bytes = engine.scene_bytes(scene) + image_rgb.nbytes
            self._scenes.put(key, _CachedScene(scene, image_rgb), self._usual_bytes)
        self._scene_keys[picture] = key
        return key

    def _answer_all(
        self,
        engine: BatchingEngine,
        key: Hashable,
        cached: _CachedScene,
        picture: Picture,
        inflight: InflightRequest,
    ) -> StepwiseJob[None]:
        """Give all questions to the engine; store the answers in the order of the questions.

        If it ends early, the complete answers are stored.
        """
        session = inflight.query.session
        # All regions of one request see the same earlier turns, not each other's answers.
        turns = self._sessions.turns(session, picture) if session else ()
        if inflight.on_text is not None:
            for index in range(len(inflight.asks)):
                inflight.on_text(index, "")
        batch = cached.batch(engine)
        questions = self._questions(inflight, turns)
        questions = yield from find_places(batch, questions, inflight.should_stop)
        questions = yield from name_things(batch, questions, inflight.should_stop)
        asked = batch.admit(
            questions,
            inflight.on_text,
            inflight.should_stop,
            self._store_into(inflight),
            memory=self._memory(session, key) if turns else None,
            remember=bool(session),
        )
        try:
            while not asked.done:
                yield batch
            replies = asked.result()
        finally:
            asked.leave()
        if session:
            said = [Turn(one.prompt, one.raw_text, one.task, one.model) for one in replies]
            self._sessions.add_turns(session, picture, said)
            if asked.memory is not None:
                self._memories.put(session, (key, asked.memory), asked.memory.nbytes)
                self._memories.make_room(0)

    def _questions(self, inflight: InflightRequest, turns: tuple[Turn, ...]) -> list[Question]:
        least = self.settings.min_confidence
        return [
            replace(
                ask,
                turns=turns,
                max_new_tokens=self.settings.max_new_tokens or None,
                min_confidence=None if least < 0 else least,
                look_twice=self.settings.look_twice,
                reader=self.settings.reader,
                knowledge=self.settings.knowledge,
                needs_note=self.settings.plans_need_notes,
                deadline_s=inflight.deadline_s,
            )
            for ask in inflight.asks
        ]

    def _store_into(self, inflight: InflightRequest) -> OnReplyOf:
        """Return a callback that stores each complete answer in the request."""
        complete: dict[int, Answer] = {}

        def on_reply(index: int, reply: Reply) -> None:
            self._on_answered(reply.tokens, reply.seconds)
            complete[index] = replace(
                reply.answer,
                looked_twice=reply.looked_twice,
                print_lines=reply.print_lines,
                task=reply.task,
                id=new_answer_id(),
            )
            if reply.model and reply.model not in inflight.models:
                inflight.models.append(reply.model)
            inflight.notes += [note for note in reply.notes if note not in inflight.notes]
            inflight.answers[:] = [complete[k] for k in sorted(complete)]

        return on_reply

    def _memory(self, session: str, key: Hashable) -> Any:
        """Return the engine's memory of a conversation; None if it was freed or is another scene's.

        Without it the engine reads the earlier turns again, to the same answer.
        """
        found = self._memories.get(session)
        return found[1] if found is not None and found[0] == key else None
