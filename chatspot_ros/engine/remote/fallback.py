"""The local model that answers where the server does not."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chatspot_ros.engine.api import Admission, Batch, Question, Reply, ShouldStop
from chatspot_ros.engine.remote.prompt import OTHER_MODEL, RemoteScene

# How many of its newest answers say how long it takes, and how much longer one may take.
_RECENT, _MARGIN = 16, 1.5
# Before its first answer.
_UNKNOWN_S = 1.0


class LocalFallback:
    """A local model, and the time that it needs. Used by the engine's thread alone."""

    def __init__(self, engine: Any, seconds: float = 0.0) -> None:
        """`engine` is a BatchingEngine; `seconds` is the time to keep for an answer, 0: from its
        newest ones."""
        self.engine = engine
        # The scene of the last picture, for the next question about it.
        self._seen: tuple[str, Any] = ("", None)
        self._seconds = seconds
        self._took_s: deque[float] = deque(maxlen=_RECENT)

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.engine.name)

    @property
    def needs_s(self) -> float:
        """The time to keep for an answer before the deadline, in seconds."""
        if self._seconds:
            return self._seconds
        return _MARGIN * max(self._took_s) if self._took_s else _UNKNOWN_S

    def scene_of(self, scene: RemoteScene) -> Any:
        """Return the model's own scene of a picture. Raises what its `prepare` raises."""
        if self._seen[0] != scene.picture.id:
            self._seen = ("", None)
            self._seen = (scene.picture.id, self.engine.prepare(scene.image_rgb))
        return self._seen[1]

    def took(self, seconds: float) -> None:
        """Note how long an answer took, the picture included."""
        self._took_s.append(seconds)


class LocalBatch:
    """Questions about one scene that the local model answers; the scene is made at the first."""

    def __init__(self, fallback: LocalFallback, scene: RemoteScene) -> None:
        self._fallback, self._scene = fallback, scene
        self._batch: Batch | None = None

    @property
    def live(self) -> int:
        """The number of unfinished questions."""
        return 0 if self._batch is None else self._batch.live

    def admit(
        self,
        question: Question,
        why: str,
        on_text: Callable[[str], None] | None,
        should_stop: ShouldStop | None,
        on_reply: Callable[[Reply], None],
    ) -> Admission:
        """Take a question in; `why` the server did not answer goes into the reply's notes.

        Raises what `prepare` and `admit` of the model raise.
        """
        began_s, name = time.monotonic(), self._fallback.name
        turns = tuple(one for one in question.turns if one.model == name)
        if len(turns) < len(question.turns):
            question = replace(question, turns=turns, notes=(*question.notes, OTHER_MODEL))

        def finish(_: int, reply: Reply) -> None:
            self._fallback.took(time.monotonic() - began_s)
            note = f"answered by {name} on this machine, not by the server: {why}"
            on_reply(replace(reply, model=name, notes=(*reply.notes, note)))

        if self._batch is None:
            self._batch = self._fallback.engine.open(self._fallback.scene_of(self._scene))
        hears = None if on_text is None else lambda _, added: on_text(added)
        return self._batch.admit([question], hears, should_stop, finish)

    def step(self) -> None:
        """Advance its questions by a step; without any, its scene is let go."""
        if self._batch is not None and self._batch.live:
            self._batch.step()
        if not self.live:
            self._batch = None
