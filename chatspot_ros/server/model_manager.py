"""Loads, resets and unloads the model. No ROS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.scheduling.worker import InferenceWorker
from chatspot_ros.engine.serial_engine import as_batching
from chatspot_ros.errors import BusyError, ChatspotError, ModelError
from chatspot_ros.server.answerer import Answerer
from chatspot_ros.server.inflight_request import InflightRequest
from chatspot_ros.server.settings import Settings
from chatspot_ros.util import process_memory

_FORGET_S = 5.0
_STOP_S = 5.0


class ModelManager:
    """Owns the model, its inference threads and their answerers, whose caches go with them.

    Each device of the setting `device` gets a copy of the model, a thread and an answerer.
    """

    def __init__(
        self,
        load: Callable[[Settings], Any],
        make_answerer: Callable[[], Answerer],
    ) -> None:
        """`load` returns the engine; it runs in the inference thread and may take long."""
        self._load = load
        self._make_answerer = make_answerer
        # By the id of the engine that a thread hands to its jobs.
        self._answerers: dict[int, Answerer] = {}
        self._engines: list[Any] = []
        self.worker: InferenceWorker[Any] | None = None
        self.name = ""
        self.device = ""

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for their turn."""
        return 0 if self.worker is None else self.worker.waiting

    @property
    def cache_bytes(self) -> int:
        """The bytes of the cached scenes and memories of conversations."""
        return sum(answerer.cache_bytes for answerer in list(self._answerers.values()))

    def values(self) -> dict[str, object]:
        """Return what the first engine tells /diagnostics of itself."""
        tell = getattr(self._engines[0], "values", None) if self._engines else None
        return {} if tell is None else tell()

    def configure(self, settings: Settings) -> None:
        """Use new settings; those that are fixed at start keep their effect."""
        for answerer in list(self._answerers.values()):
            answerer.settings = settings

    def load(self, settings: Settings) -> None:
        """Start an inference thread for each device and load the model in it.

        Raises:
            ChatspotError: the model cannot be loaded, or fails at its first answer.
        """
        engines: list[Any] = []

        def load(device: str) -> Any:
            engine = self._load(replace(settings, device=device))
            engines.append(engine)
            batching: Any = as_batching(engine)
            self._answerers[id(batching)] = self._make_answerer()
            # When the device is full, free the caches.
            batching.on_out_of_memory = lambda: self._answerers[id(batching)].give_back()
            return batching

        makes = [partial(load, device) for device in devices_of(settings)]
        try:
            worker: InferenceWorker[Any] = InferenceWorker.begin(
                *makes, queue_size=settings.queue_size
            )
        except BaseException:
            self._answerers.clear()
            raise
        self.worker, self.name, self._engines = worker, str(engines[0].name), engines
        self.device = ", ".join(str(getattr(engine, "device", "")) for engine in engines)

    def answer(self, engine: Any, inflight: InflightRequest) -> Generator[Any, None, RgbImage]:
        """Answer a request; see `Answerer.answer`. Every failure is raised as a ChatspotError."""
        try:
            return (yield from self._answerers[id(engine)].answer(engine, inflight))
        except (ChatspotError, GeneratorExit):
            raise
        except BaseException as error:
            raise ModelError(
                "the model failed",
                value=f"{type(error).__name__}: {error}",
                remedy="see the log; if it stays, restart the node",
            ) from error

    def forget(self) -> None:
        """Free scenes and conversation memories, once no question is being answered."""
        self._answerers = {one: self._make_answerer() for one in self._answerers}
        if self.worker is not None:
            # As a job, so that it runs after the current ones. If the queue is full, nothing can be
            # freed yet.
            with contextlib.suppress(BusyError):
                self.worker.submit(lambda _: process_memory.release()).wait(_FORGET_S)

    def unload(self, timeout_s: float = _STOP_S) -> bool:
        """Free the model; return False if its thread is still computing and will free it later."""
        worker, self.worker = self.worker, None
        self.name = self.device = ""
        self._answerers = {}
        engines, self._engines = self._engines, []
        ended = worker is None or worker.stop(timeout_s)
        for engine in engines:
            if hasattr(engine, "close"):  # one with connections
                engine.close()
        del worker, engines
        process_memory.release()
        return ended


def devices_of(settings: Settings) -> list[str]:
    """Return the devices that the setting names, such as ["cuda:0", "cuda:1"]."""
    return [device.strip() for device in settings.device.split(",")]
