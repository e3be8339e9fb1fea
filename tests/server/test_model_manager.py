"""The model is loaded, forgotten and freed, all in a thread of its own."""

from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from chatspot_ros.errors import ModelError, ModelLoadError
from chatspot_ros.server.engine_factory import load_engine
from chatspot_ros.server.model_manager import ModelManager
from chatspot_ros.server.settings import Settings


class Engine:
    name = "scripted"
    device = "cpu"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []

    def prepare(self, image_rgb: Any) -> Any:
        self.asked.append(("picture", image_rgb))

    def answer(self, scene: Any, question: Any) -> Any:
        self.asked.append((scene, question))


class Caches:
    """Stands for an answerer; what matters here is that it can be let go."""

    settings: Any = None


def make(load: Any) -> tuple[ModelManager, list[weakref.ref[Caches]]]:
    made: list[weakref.ref[Caches]] = []

    def make_answerer() -> Any:
        caches = Caches()
        made.append(weakref.ref(caches))
        return caches

    return ModelManager(load, make_answerer), made


def test_it_is_loaded_in_its_thread_and_asked_nothing_more() -> None:
    engine = Engine()
    threads = []

    def load(_: Any) -> Engine:
        threads.append(threading.current_thread().name)
        return engine

    manager, _ = make(load)
    manager.load(Settings())
    assert (manager.name, manager.device, manager.waiting) == ("scripted", "cpu", 0)
    assert threads == ["inference"]
    assert engine.asked == []
    assert manager.unload()


@pytest.mark.parametrize("warm_up", [True, False])
def test_a_real_model_is_warmed_as_often_as_the_parameter_says(
    warm_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed = []
    monkeypatch.setattr("chatspot_ros.engine.engine.ask_some", lambda engine: warmed.append(1))
    manager, _ = make(load_engine)
    manager.load(Settings(model="models/chatspot-tiny", warm_up=warm_up))
    assert len(warmed) == warm_up
    assert manager.unload()


@pytest.mark.parametrize(
    "error", [ModelLoadError("gone", value="/nowhere", remedy="look there"), KeyError("scripted")]
)
def test_a_model_that_cannot_be_loaded_leaves_nothing(error: Exception) -> None:
    def fail(_: Any) -> Any:
        raise error

    manager, _ = make(fail)
    before = threading.active_count()
    with pytest.raises(type(error)) as caught:
        manager.load(Settings())
    assert caught.value is error
    assert (manager.worker, manager.name) == (None, "")
    assert threading.active_count() == before
    assert manager.unload()


def test_a_model_that_fails_at_its_first_answer_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise ModelError("it computed nonsense", value="nan", remedy="none")

    monkeypatch.setattr("chatspot_ros.engine.Engine.prepare", fail)
    manager, _ = make(load_engine)
    with pytest.raises(ModelLoadError, match="does not run: it computed nonsense"):
        manager.load(Settings(model="models/chatspot-tiny"))
    assert manager.worker is None


def test_unloading_frees_the_engine_and_what_it_has_seen() -> None:
    engines: list[weakref.ref[Engine]] = []

    def load(_: Any) -> Engine:
        engine = Engine()
        engines.append(weakref.ref(engine))
        return engine

    manager, caches = make(load)
    manager.load(Settings())
    assert engines[0]() is not None
    assert manager.unload()
    gc.collect()
    assert engines[0]() is None
    assert (manager.worker, manager.name, manager.device) == (None, "", "")
    assert [one() is None for one in caches] == [True]
    # And again.
    manager.load(Settings())
    assert manager.name == "scripted"
    manager.unload()


def test_forgetting_lets_the_scenes_go_and_keeps_the_model() -> None:
    engine = Engine()
    manager, caches = make(lambda _: engine)
    manager.load(Settings())
    worker = manager.worker
    manager.forget()
    assert [one() is None for one in caches] == [True, False]
    assert manager.worker is worker
    manager.unload()


def test_a_model_that_still_computes_is_said_and_freed_later() -> None:
    manager, _ = make(lambda _: Engine())
    manager.load(Settings())
    begun, may_end = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        begun.set()
        may_end.wait(60.0)

    assert manager.worker is not None
    handle = manager.worker.submit(block)
    assert begun.wait(60.0)
    assert manager.unload(0.01) is False
    may_end.set()
    assert handle.wait(60.0)


def test_each_device_gets_a_copy_of_the_model_and_caches_of_its_own() -> None:
    devices: list[str] = []

    def load(settings: Settings) -> Engine:
        devices.append(settings.device)
        return Engine()

    manager, caches = make(load)
    manager.load(Settings(device="cuda:0, cuda:1"))
    assert devices == ["cuda:0", "cuda:1"]
    assert (manager.device, len(caches)) == ("cpu, cpu", 2)
    manager.configure(settings := Settings())
    assert all(one() is not None and one().settings is settings for one in caches)  # type: ignore[union-attr]
    assert manager.unload()
    assert all(one() is None for one in caches)


def test_a_device_that_fails_leaves_none_of_the_others() -> None:
    def load(settings: Settings) -> Engine:
        if settings.device == "cuda:1":
            raise ModelLoadError("no such device", value="cuda:1", remedy="name another")
        return Engine()

    manager, caches = make(load)
    with pytest.raises(ModelLoadError, match="cuda:1"):
        manager.load(Settings(device="cuda:0,cuda:1"))
    gc.collect()
    assert all(one() is None for one in caches)
    assert (manager.worker, manager.cache_bytes) == (None, 0)


def test_any_failure_of_a_query_is_a_typed_error() -> None:
    def answer(engine: Any, inflight: Any) -> Any:
        raise KeyError("scripted")
        yield

    manager = ModelManager(lambda _: Engine(), lambda: SimpleNamespace(answer=answer))  # type: ignore[arg-type, return-value]
    manager.load(Settings())
    assert manager.worker is not None
    failures: list[Any] = []
    job = manager.worker.submit(
        lambda engine: manager.answer(engine, None),  # type: ignore[arg-type]
        on_done=lambda _, error: failures.append(error),
    )
    assert job.wait(60.0)
    assert isinstance(failures[0], ModelError)
    assert "KeyError: 'scripted'" in str(failures[0])
    assert manager.unload()
