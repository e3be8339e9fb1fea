"""What the inference worker does for one query: see the picture, answer each question in turn.

Everything here runs in the worker's thread, the only one that touches the engine.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from chatspot_ros.answers import Answer
from chatspot_ros.conversions import RgbImage
from chatspot_ros.engine.api import Question, RegionEngine, Reply, Turn
from chatspot_ros.pending import Pending
from chatspot_ros.query import Picture
from chatspot_ros.sessions import SessionStore
from chatspot_ros.settings import Settings


class Answerer:
    """Answers queries with the engine.

    Keeps the scenes of the last pictures for further questions.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: SessionStore[Picture, Turn],
    ) -> None:
        self.settings = settings
        self._sessions = sessions
        # Least recently used first: picture key -> (scene, pixels).
        self._scenes: OrderedDict[int, tuple[Any, RgbImage]] = OrderedDict()

    def answer(self, engine: RegionEngine, pending: Pending) -> RgbImage:
        """Answer all asks of a query into `pending.answers`.

        Return the picture's pixels. Raises ChatspotError.
        """
        picture = pending.picture
        if picture is None:
            raise RuntimeError(f"{pending.id} came to the worker without a picture")
        pending.started_s = time.monotonic()
        pending.should_stop()
        known = picture.key in self._scenes
        scene, image_rgb = self._see(engine, picture)
        seen_s = time.monotonic()
        pending.seeing_s = 0.0 if known else seen_s - pending.started_s
        session = pending.query.session
        # The regions of one query do not hear of one another, so all of them see the same earlier
        # turns.
        turns = self._sessions.turns(session, picture.key) if session else ()
        try:
            said = self._ask_all(engine, scene, pending, turns)
        finally:
            pending.answering_s = time.monotonic() - seen_s
        if session:
            self._sessions.add_turns(session, picture.key, said)
        return image_rgb

    def _see(self, engine: RegionEngine, picture: Picture) -> tuple[Any, RgbImage]:
        """Return the engine's scene of a picture and its pixels, computed at its first question."""
        seen = self._scenes.get(picture.key)
        if seen is None:
            while len(self._scenes) >= self.settings.scene_cache:
                self._scenes.popitem(last=False)
            image_rgb = picture.rgb(self.settings.max_pixels)
            seen = self._scenes[picture.key] = (engine.prepare(image_rgb), image_rgb)
        self._scenes.move_to_end(picture.key)
        return seen

    def _ask_all(
        self, engine: RegionEngine, scene: Any, pending: Pending, turns: tuple[Turn, ...]
    ) -> list[Turn]:
        """Put all questions to the engine and note the answers, in the order of the questions.

        Return the turns as the model saw them. Where it ends early, the answers that were complete
        are noted.
        """
        least = self.settings.min_confidence
        questions = [
            Question(
                ask.text,
                regions=ask.regions,
                task=pending.query.task,
                turns=turns,
                max_new_tokens=self.settings.max_new_tokens or None,
                min_confidence=None if least < 0 else least,
            )
            for ask in pending.asks
        ]
        complete: dict[int, Answer] = {}

        def on_reply(index: int, reply: Reply) -> None:
            complete[index] = reply.answer
            pending.answers[:] = [complete[k] for k in sorted(complete)]

        if pending.on_text is not None:
            for index in range(len(questions)):
                pending.on_text(index, "")
        replies = engine.answer_many(
            scene, questions, pending.on_text, pending.should_stop, on_reply
        )
        return [Turn(reply.prompt, reply.raw_text) for reply in replies]
