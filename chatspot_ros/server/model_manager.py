"""The model while the node has one: loaded, answering, forgotten, unloaded. No ROS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.engine.serial_engine import as_batching
from chatspot_ros.errors import BusyError, ChatspotError, ModelError
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.inflight_request import Pending
from chatspot_ros.server.metrics import Health, MeasuredEngine
from chatspot_ros.server.settings import Settings
from chatspot_ros.util import process_memory

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
        """`load` returns the engine, and may take its time; it is called in the model's thread."""
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
        """Start the inference thread and load the model in it, which then asks it some questions.

        Raises:
            ChatspotError: it cannot be loaded, or fails at its first answer.
        """
        engines: list[Any] = []

        def load() -> MeasuredEngine:
            engines.append(self._load(settings))
            batching: Any = as_batching(engines[0])
            # A full device gets back what is only kept for later questions.
            batching.on_out_of_memory = lambda: self._answerer.give_back()
            return MeasuredEngine(batching, self._health)

        worker: InferenceWorker[Any] = InferenceWorker.begin(load, queue_size=settings.queue_size)
        self.worker, self.name = worker, str(engines[0].name)
        self.device = str(getattr(engines[0], "device", ""))

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
                self.worker.submit(lambda _: process_memory.release()).wait(_FORGET_S)

    def unload(self, timeout_s: float = _STOP_S) -> bool:
        """Free the model. Return False when its thread still computes, and frees it afterwards."""
        worker, self.worker = self.worker, None
        self.name = self.device = ""
        self._answerer = self._make_answerer()
        ended = worker is None or worker.stop(timeout_s)
        del worker
        process_memory.release()
        return ended
