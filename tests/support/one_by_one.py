"""Questions one after the other, for engines that can answer only a single one. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import (
    OnReplyOf,
    OnText,
    OnTextOf,
    Question,
    Reply,
    ShouldStop,
    for_index,
)
from chatspot_ros.engine.scheduling.byte_cache import content_key
from chatspot_ros.errors import CancelledError


class OneByOne(ABC):
    """What `RegionEngine` has besides `name`, `prepare` and `answer`, made of those three."""

    name: str

    @abstractmethod
    def answer(
        self,
        scene: Any,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """See `RegionEngine.answer`; to be written by the engine."""

    def answer_many(
        self,
        scene: Any,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """See `RegionEngine.answer_many`."""
        batch = self.open(scene)
        asked = batch.admit(questions, on_text, should_stop, on_reply)
        while not asked.done:
            batch.step()
        return asked.result()

    def open(self, scene: Any) -> SingleBatch:
        """See `RegionEngine.open`."""
        return SingleBatch(self, scene)

    def scene_key(self, image_rgb: RgbImage) -> Hashable:
        """See `RegionEngine.scene_key`."""
        return content_key(image_rgb, self.name)

    def scene_bytes(self, scene: Any) -> int:
        """See `RegionEngine.scene_bytes`; the pixels are counted by who keeps them."""
        return 0


class SingleBatch:
    """A batch in which every step answers a whole question."""

    merges = False

    def __init__(self, engine: OneByOne, scene: Any) -> None:
        self._engine, self._scene = engine, scene
        self._waiting: list[SingleAsked] = []

    @property
    def live(self) -> int:
        """How many questions wait."""
        return sum(len(asked.waiting) for asked in self._waiting)

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> SingleAsked:
        """See `Batch.admit`; nothing is remembered."""
        asked = SingleAsked(questions, on_text, should_stop, on_reply)
        self._waiting.append(asked)
        return asked

    def step(self) -> None:
        """Answer the question that came first."""
        self._waiting = [asked for asked in self._waiting if not asked.done]
        if self._waiting:
            self._waiting[0].answer_next(self._engine, self._scene)


class SingleAsked:
    """Some questions that are answered one after the other."""

    memory = None

    def __init__(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None,
        should_stop: ShouldStop | None,
        on_reply: OnReplyOf | None,
    ) -> None:
        self.waiting = list(enumerate(questions))
        self._on_text, self._should_stop, self._on_reply = on_text, should_stop, on_reply
        self._replies: list[Reply] = []
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether all are answered, or one of them cannot be."""
        return not self.waiting

    def answer_next(self, engine: OneByOne, scene: Any) -> None:
        """Answer the first question; what it raises ends them all."""
        index, question = self.waiting[0]
        try:
            on_text = for_index(self._on_text, index)
            reply = engine.answer(scene, question, on_text, self._should_stop)
            self._replies.append(reply)
            if self._on_reply is not None:
                self._on_reply(index, reply)
            del self.waiting[:1]
        except Exception as error:
            self._error = error
            self.waiting.clear()

    def leave(self) -> None:
        """End those that wait."""
        if self.waiting:
            self._error = CancelledError("given up", value="a cancel", remedy="ask again")
            self.waiting.clear()

    def result(self) -> list[Reply]:
        """The replies in order. Raises what ended them."""
        if self._error is not None:
            raise self._error
        return self._replies
