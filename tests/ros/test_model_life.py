"""The model is loaded, warmed, forgotten and freed."""

from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from chatspot_ros.errors import ModelError, ModelLoadError
from chatspot_ros.health import Health
from chatspot_ros.model_life import ModelLife
from chatspot_ros.settings import Settings


class Engine:
    name = "scripted"
    device = "cpu"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []
        self.threads: set[str] = set()

    def prepare(self, image_rgb: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        return image_rgb.shape

    def answer(self, scene: Any, question: Any) -> Any:
        self.asked.append((scene, question))


class Caches:
    """Stands for an answerer; what matters here is that it can be let go."""

    settings: Any = None


def make(load: Any) -> tuple[ModelLife, list[weakref.ref[Caches]]]:
    made: list[weakref.ref[Caches]] = []

    def make_answerer() -> Any:
        caches = Caches()
        made.append(weakref.ref(caches))
        return caches

    return ModelLife(load, make_answerer, Health()), made


def test_it_answers_once_in_its_thread_before_it_counts_as_loaded() -> None:
    engine = Engine()
    life, _ = make(lambda settings: engine)
    life.load(Settings())
    assert (life.name, life.device, life.waiting) == ("scripted", "cpu", 0)
    ((scene, question),) = engine.asked
    assert scene == (480, 640, 3)
    assert question.regions[0].box_xyxy_px == (160, 120, 320, 240)
    assert engine.threads == {"inference"}
    assert life.unload()


def test_an_engine_may_warm_up_in_its_own_way() -> None:
    class Own(Engine):
        def warm_up(self) -> None:
            self.asked.append(("own", None))

    engine = Own()
    life, _ = make(lambda settings: engine)
    life.load(Settings())
    assert engine.asked == [("own", None)]
    life.unload()


def test_a_model_that_cannot_be_loaded_or_fails_at_once_leaves_nothing() -> None:
    def missing(_: Any) -> Any:
        raise ModelLoadError("gone", value="/nowhere", remedy="look there")

    life, _ = make(missing)
    with pytest.raises(ModelLoadError, match="gone"):
        life.load(Settings())

    class Broken(Engine):
        def answer(self, scene: Any, question: Any) -> Any:
            raise ZeroDivisionError("scripted")

    life, _ = make(lambda _: Broken())
    with pytest.raises(ModelError, match="scripted"):
        life.load(Settings())
    assert life.worker is None
    assert life.unload()


def test_unloading_frees_the_engine_and_what_it_has_seen() -> None:
    engines: list[weakref.ref[Engine]] = []

    def load(_: Any) -> Engine:
        engine = Engine()
        engines.append(weakref.ref(engine))
        return engine

    life, caches = make(load)
    life.load(Settings())
    assert engines[0]() is not None
    assert life.unload()
    gc.collect()
    assert engines[0]() is None
    assert (life.worker, life.name, life.device) == (None, "", "")
    assert [one() is None for one in caches] == [True, False]
    # And again.
    life.load(Settings())
    assert life.name == "scripted"
    life.unload()


def test_forgetting_lets_the_scenes_go_and_keeps_the_model() -> None:
    engine = Engine()
    life, caches = make(lambda _: engine)
    life.load(Settings())
    worker = life.worker
    life.forget()
    assert [one() is None for one in caches] == [True, False]
    assert life.worker is worker
    life.unload()


def test_a_model_that_still_computes_is_said_and_freed_later() -> None:
    life, _ = make(lambda _: Engine())
    life.load(Settings())
    begun, may_end = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        begun.set()
        may_end.wait(60.0)

    assert life.worker is not None
    handle = life.worker.submit(block)
    assert begun.wait(60.0)
    assert life.unload(0.01) is False
    may_end.set()
    assert handle.wait(60.0)


def test_any_failure_of_a_query_is_a_typed_error() -> None:
    def answer(engine: Any, pending: Any) -> Any:
        raise KeyError("scripted")
        yield

    life = ModelLife(lambda _: Engine(), lambda: SimpleNamespace(answer=answer), Health())  # type: ignore[arg-type, return-value]
    with pytest.raises(ModelError, match=r"KeyError.*scripted"):
        next(life.answer(None, None))  # type: ignore[arg-type]
