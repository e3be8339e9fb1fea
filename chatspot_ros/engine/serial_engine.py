"""Batches of one question, for engines that only answer whole requests. No torch.

Such engines know no probabilities and no grammars: choices and JSON schemas are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import (
    BatchingEngine,
    OnReplyOf,
    OnText,
    OnTextOf,
    Question,
    RegionEngine,
    Reply,
    ShouldStop,
    for_index,
)
from chatspot_ros.engine.scheduling.byte_cache import content_key
from chatspot_ros.errors import CancelledError, RequestError


def as_batching(engine: RegionEngine) -> BatchingEngine:
    """Return the engine itself when it batches, else an adapter that answers one by one."""
    return cast(BatchingEngine, engine) if hasattr(engine, "open") else SerialEngine(engine)


class SerialEngine:
    """Adapts an engine of whole requests to `BatchingEngine`: one request a step."""

    # The wrapped engine keeps nothing on a device of ours.
    on_out_of_memory: Callable[[], None] | None = None

    def __init__(self, engine: RegionEngine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """The model's name."""
        return self._engine.name

    def prepare(self, image_rgb: RgbImage) -> Any:
        """See `RegionEngine.prepare`."""
        return self._engine.prepare(image_rgb)

    def answer(
        self,
        scene: Any,
        question: Question,
        on_text: OnText | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Reply:
        """See `RegionEngine.answer`."""
        return self._engine.answer(scene, question, on_text, should_stop)

    def answer_many(
        self,
        scene: Any,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
    ) -> list[Reply]:
        """See `BatchingEngine.answer_many`."""
        batch = self.open(scene)
        admission = batch.admit(questions, on_text, should_stop, on_reply)
        while not admission.done:
            batch.step()
        return admission.result()

    def open(self, scene: Any) -> SingleBatch:
        """See `BatchingEngine.open`."""
        return SingleBatch(self._engine, scene)

    def scene_key(self, image_rgb: RgbImage) -> Hashable:
        """Return the engine's own key, or a hash of the pixels and the model's name."""
        own = getattr(self._engine, "scene_key", None)
        return own(image_rgb) if own is not None else content_key(image_rgb, self.name)

    def scene_bytes(self, scene: Any) -> int:
        """Return the engine's own count, or 0 for an engine without one."""
        own = getattr(self._engine, "scene_bytes", None)
        return int(own(scene)) if own is not None else 0


class SingleBatch:
    """A batch in which each step answers one whole question."""

    merges = False

    def __init__(self, engine: RegionEngine, scene: Any) -> None:
        self._engine, self._scene = engine, scene
        self._admissions: list[SingleAdmission] = []

    @property
    def live(self) -> int:
        """The number of unfinished questions."""
        return sum(len(admission.waiting) for admission in self._admissions)

    def admit(
        self,
        questions: Sequence[Question],
        on_text: OnTextOf | None = None,
        should_stop: ShouldStop | None = None,
        on_reply: OnReplyOf | None = None,
        memory: Any = None,
        remember: bool = False,
    ) -> SingleAdmission:
        """See `Batch.admit`; no cache is kept between turns."""
        admission = SingleAdmission(questions, on_text, should_stop, on_reply)
        self._admissions.append(admission)
        return admission

    def step(self) -> None:
        """Answer the oldest question."""
        self._admissions = [admission for admission in self._admissions if not admission.done]
        if self._admissions:
            self._admissions[0].answer_next(self._engine, self._scene)


class SingleAdmission:
    """Questions that are answered one after the other."""

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

    def answer_next(self, engine: RegionEngine, scene: Any) -> None:
        """Answer the first question; an error ends them all."""
        index, question = self.waiting[0]
        try:
            if question.choices or question.json_schema:
                raise RequestError(
                    "this model answers in its own words only", value=engine.name,
                    remedy="ask without choices and JSON schema, or use a local checkpoint",
                )  # fmt: skip
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
        """End the unanswered questions."""
        if self.waiting:
            self._error = CancelledError(
                "the answer was given up", value="a cancel", remedy="ask again"
            )
            self.waiting.clear()

    def result(self) -> list[Reply]:
        """Return the replies in order. Raises the error that ended them."""
        if self._error is not None:
            raise self._error
        return self._replies
