"""The model while the node has one: loaded, warmed, answering, forgotten, unloaded. No ROS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from chatspot_ros import memory
from chatspot_ros.answering import Answerer
from chatspot_ros.conversions import RgbImage
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.worker import InferenceWorker
from chatspot_ros.errors import BusyError, ChatspotError, ModelError
from chatspot_ros.health import Health, MeasuredEngine
from chatspot_ros.pending import Pending
from chatspot_ros.regions import Region
from chatspot_ros.settings import Settings

# A usual camera's picture, so that what is compiled or captured at the first question is ready.
_WARM_WH = (640, 480)
_WARM_TOKENS = 8
_FORGET_S = 5.0
_STOP_S = 5.0


class ModelLife:
    """One model and the thread that owns it; what it has seen is in an answerer that can go."""

    def __init__(
        self,
        load: Callable[[Settings], Any],
        make_answerer: Callable[[], Answerer],
        health: Health,
    ) -> None:
        """`load` returns the engine and may take its time."""
        self._load = load
        self._make_answerer = make_answerer
        self._health = health
        self._answerer = make_answerer()
        self.worker: InferenceWorker[Any] | None = None
        self.name = ""
        self.device = ""

    @property
    def waiting(self) -> int:
        """How many questions wait for their turn."""
        return 0 if self.worker is None else self.worker.waiting

    def configure(self, settings: Settings) -> None:
        """Take new settings, as far as they can change."""
        self._answerer.settings = settings

    def load(self, settings: Settings) -> None:
        """Load the model, start its thread, and let it answer a question about a grey picture.

        Raises:
            ChatspotError: it cannot be loaded, or fails at its first answer.
        """
        engine = self._load(settings)
        # A full device gets back what is only kept for later questions.
        engine.on_out_of_memory = lambda: self._answerer.give_back()
        worker: InferenceWorker[Any] = InferenceWorker(
            MeasuredEngine(engine, self._health), queue_size=settings.queue_size
        )
        failures: list[ChatspotError] = []

        def on_done(_: object, error: ChatspotError | None) -> None:
            failures.extend([] if error is None else [error])

        worker.submit(warm_up, on_done=on_done).wait()
        if failures:
            worker.stop(_STOP_S)
            raise failures[0]
        self.worker, self.name = worker, str(engine.name)
        self.device = str(getattr(engine, "device", ""))

    def answer(self, engine: Any, pending: Pending) -> Generator[Any, None, RgbImage]:
        """Answer a query; see `Answerer.answer`.

        Whatever goes wrong is a ChatspotError, which is logged with the query's id.
        """
        try:
            return (yield from self._answerer.answer(engine, pending))
        except (ChatspotError, GeneratorExit):
            raise
        except BaseException as error:
            raise ModelError(
                "the model failed",
                value=f"{type(error).__name__}: {error}",
                remedy="see the log; if it stays, restart the node",
            ) from error

    def forget(self) -> None:
        """Free the scenes and what conversations have left, once no question is being answered."""
        self._answerer = self._make_answerer()
        if self.worker is not None:
            # After what is still running has come to its end. Without room for one more job there
            # is nothing to give back yet.
            with contextlib.suppress(BusyError):
                self.worker.submit(lambda _: memory.release()).wait(_FORGET_S)

    def unload(self, timeout_s: float = _STOP_S) -> bool:
        """Free the model. Return False when its thread still computes, and frees it afterwards."""
        worker, self.worker = self.worker, None
        self.name = self.device = ""
        self._answerer = self._make_answerer()
        ended = worker is None or worker.stop(timeout_s)
        del worker
        memory.release()
        return ended


def warm_up(engine: Any) -> None:
    """Let an engine answer a question about a part of a grey picture. Raises ModelError.

    An engine that has its own `warm_up()` knows better.
    """
    own = getattr(engine, "warm_up", None)
    if own is not None:
        own()
        return
    width, height = _WARM_WH
    scene = engine.prepare(np.full((height, width, 3), 128, np.uint8))
    region = Region.box(width / 4, height / 4, width / 2, height / 2)
    engine.answer(scene, Question("What is this?", (region,), max_new_tokens=_WARM_TOKENS))
