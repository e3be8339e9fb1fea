"""What the inference worker does for one query: see the picture, answer its questions in a batch.

Everything here runs in the worker's thread, the only one that touches the engine.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from chatspot_ros.core.answer_parser import Answer
from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import Batch, BatchingEngine, OnReplyOf, Question, Reply, Turn
from chatspot_ros.engine.scheduling.byte_cache import MEGABYTE, ByteCache
from chatspot_ros.engine.scheduling.job import StepwiseJob
from chatspot_ros.server.inflight_request import Pending
from chatspot_ros.server.request import Picture
from chatspot_ros.server.sessions import SessionStore
from chatspot_ros.server.settings import Settings

# Pictures whose contents' keys are noted.
_KNOWN_PICTURES = 1024


@dataclass(frozen=True)
class _Seen:
    """A picture that the engine has seen, and what is being answered about it."""

    scene: Any
    image_rgb: RgbImage
    batches: list[Batch] = field(default_factory=list)

    def batch(self, engine: BatchingEngine) -> Batch:
        """Where further questions go: in with the others, or to a batch where nothing goes on."""
        for batch in self.batches:
            if batch.merges or not batch.live:
                return batch
        self.batches.append(engine.open(self.scene))
        return self.batches[-1]


class Answerer:
    """Answers queries with the engine.

    Keeps scenes, told apart by what is in the pictures, and what each conversation has left in the
    engine, for further questions.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: SessionStore[Picture, Turn],
    ) -> None:
        self.settings = settings
        self._sessions = sessions
        self._scenes: ByteCache[Hashable, _Seen] = ByteCache(settings.scene_cache_mb * MEGABYTE)
        # A session's name -> the scene that its memory belongs to, and the memory.
        self._memories: ByteCache[str, tuple[Hashable, Any]] = ByteCache(
            settings.session_cache_mb * MEGABYTE
        )
        # A picture's key -> its scene's, the first ones noted first.
        self._keys: OrderedDict[int, Hashable] = OrderedDict()
        self._usual_bytes = 0

    def answer(self, engine: BatchingEngine, pending: Pending) -> StepwiseJob[RgbImage]:
        """Answer all asks of a query into `pending.answers`, in steps.

        Return the picture's pixels. Raises ChatspotError.
        """
        picture = pending.picture
        if picture is None:
            raise RuntimeError(f"{pending.id} came to the worker without a picture")
        pending.started_s = time.monotonic()
        pending.should_stop()
        known = self._keys.get(picture.key) in self._scenes
        key = self._see(engine, picture)
        seen_s = time.monotonic()
        pending.seeing_s = 0.0 if known else seen_s - pending.started_s
        with self._scenes.using(key) as seen:
            try:
                yield from self._ask_all(engine, key, seen, pending)
            finally:
                pending.answering_s = time.monotonic() - seen_s
        return seen.image_rgb

    def give_back(self) -> None:
        """Forget everything that no running query needs. In the worker's thread."""
        self._scenes.make_room(self._scenes.max_bytes)
        self._memories.make_room(self._memories.max_bytes)

    def _see(self, engine: BatchingEngine, picture: Picture) -> Hashable:
        """Have the engine see a picture, unless it knows an equal one; return its scene's key."""
        key = self._keys.get(picture.key)
        if key is not None and self._scenes.get(key) is not None:
            return key
        image_rgb = picture.rgb(self.settings.max_pixels)
        key = engine.scene_key(image_rgb)
        if self._scenes.get(key) is None:
            # Room first, so that there is never much more than the limit.
            self._scenes.make_room(self._usual_bytes)
            scene = engine.prepare(image_rgb)
            self._usual_bytes = engine.scene_bytes(scene) + image_rgb.nbytes
            self._scenes.put(key, _Seen(scene, image_rgb), self._usual_bytes)
        self._keys[picture.key] = key
        while len(self._keys) > _KNOWN_PICTURES:
            self._keys.popitem(last=False)
        return key

    def _ask_all(
        self, engine: BatchingEngine, key: Hashable, seen: _Seen, pending: Pending
    ) -> StepwiseJob[None]:
        """Put all questions to the engine and note the answers, in the order of the questions.

        Where it ends early, the answers that were complete are noted.
        """
        session, frame_key = pending.query.session, pending.picture and pending.picture.key
        # The regions of one query do not hear of one another, so all of them see the same earlier
        # turns.
        turns = self._sessions.turns(session, frame_key) if session else ()
        if pending.on_text is not None:
            for index in range(len(pending.asks)):
                pending.on_text(index, "")
        batch = seen.batch(engine)
        asked = batch.admit(
            self._questions(pending, turns),
            pending.on_text,
            pending.should_stop,
            self._noting(pending),
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
            said = [Turn(reply.prompt, reply.raw_text) for reply in replies]
            self._sessions.add_turns(session, frame_key, said)
            if asked.memory is not None:
                self._memories.put(session, (key, asked.memory), asked.memory.nbytes)
                self._memories.make_room(0)

    def _questions(self, pending: Pending, turns: tuple[Turn, ...]) -> list[Question]:
        least = self.settings.min_confidence
        return [
            replace(
                ask,
                turns=turns,
                max_new_tokens=self.settings.max_new_tokens or None,
                min_confidence=None if least < 0 else least,
            )
            for ask in pending.asks
        ]

    def _noting(self, pending: Pending) -> OnReplyOf:
        """What notes each answer of a query as it is complete."""
        complete: dict[int, Answer] = {}

        def on_reply(index: int, reply: Reply) -> None:
            complete[index] = reply.answer
            pending.notes += [note for note in reply.notes if note not in pending.notes]
            pending.answers[:] = [complete[k] for k in sorted(complete)]

        return on_reply

    def _memory(self, session: str, key: Hashable) -> Any:
        """What the conversation has left in the engine; None when it is gone or of another scene.

        Without it the engine reads the earlier turns again, to the same answer.
        """
        found = self._memories.get(session)
        return found[1] if found is not None and found[0] == key else None
