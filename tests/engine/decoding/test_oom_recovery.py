"""A full device, forced by a model or a batch that refuses more than so much at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question, Reply
from chatspot_ros.engine.decoding.oom_recovery import retry_out_of_memory
from chatspot_ros.engine.model_errors import ModelFailure, OutOfMemoryError, numbers
from chatspot_ros.errors import CancelledError, ModelError, RequestError

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
IMAGE = np.random.default_rng(5).integers(0, 256, (97, 211, 3), dtype=np.uint8)


def questions(count: int) -> list[Question]:
    return [
        Question("What is this?", (Region.box(5 * k, 2 * k, 90 + 5 * k, 60 + k),))
        for k in range(count)
    ]


@pytest.fixture
def engine(llava_folder: Path) -> Engine:
    return Engine.load(str(llava_folder), device="cpu")


class Full:
    """Makes an engine's model refuse more new tokens at once than `most(calls so far)`."""

    def __init__(self, engine: Engine, most: Callable[[int], float]) -> None:
        self.calls: list[int] = []
        self.refused = 0
        self.given_back = 0
        model, self._most = engine._runner.model, most
        self._real: Any = model.forward
        self._hook = model.register_forward_pre_hook(self._look, with_kwargs=True)
        engine.on_out_of_memory = self._give_back

    def _look(self, module: Any, args: Any, kwargs: Any) -> None:
        ids = kwargs["input_ids"]
        self.calls.append(ids.shape[-1])
        if ids.shape[-1] > self._most(len(self.calls)):
            self.refused += 1
            raise torch.OutOfMemoryError(MESSAGE)

    def _give_back(self) -> None:
        self.given_back += 1

    def end(self) -> None:
        self._hook.remove()


@pytest.fixture
def make_full(engine: Engine) -> Iterator[Callable[[Callable[[int], float]], Full]]:
    made: list[Full] = []

    def make(most: Callable[[int], float]) -> Full:
        made.append(Full(engine, most))
        return made[-1]

    yield make
    for one in made:
        one.end()


def texts(replies: list[Reply]) -> list[str]:
    return [reply.raw_text for reply in replies]


def test_fewer_at_a_time_say_the_same(engine: Engine, make_full: Any) -> None:
    scene, asked = engine.prepare(IMAGE), questions(6)
    expected = texts(engine.answer_many(scene, asked))
    tokens = max(len(engine.conversation.read(scene, one).ids) for one in asked) - len(
        scene.prefix_ids
    )
    full = make_full(lambda call: 3 * tokens)
    heard = [""] * 6
    done: list[int] = []

    def on_text(index: int, added: str) -> None:
        heard[index] += added

    replies = engine.answer_many(
        scene, asked, on_text, on_reply=lambda index, reply: done.append(index)
    )
    assert texts(replies) == heard == expected
    assert sorted(done) == list(range(6))
    assert (full.refused, full.given_back) == (1, 1)


def test_one_by_one_when_halves_do_not_fit(engine: Engine, make_full: Any) -> None:
    scene, asked = engine.prepare(IMAGE), questions(6)
    expected = texts(engine.answer_many(scene, asked))
    tokens = max(len(engine.conversation.read(scene, one).ids) for one in asked) - len(
        scene.prefix_ids
    )
    full = make_full(lambda call: tokens)
    assert texts(engine.answer_many(scene, asked)) == expected
    # All six, then three; after that never more than one question at a time.
    assert [size for size in full.calls if size > tokens] == [full.calls[0], full.calls[1]]
    assert full.refused == 2


def test_in_the_middle_of_the_words_nothing_is_said_twice(engine: Engine, make_full: Any) -> None:
    scene, asked = engine.prepare(IMAGE), questions(3)
    expected = texts(engine.answer_many(scene, asked))
    full = make_full(lambda call: 0 if call == 4 else 1e9)
    heard = [""] * 3

    def on_text(index: int, added: str) -> None:
        heard[index] += added

    assert texts(engine.answer_many(scene, asked, on_text)) == heard == expected
    assert full.refused == 1


def test_what_does_not_fit_alone_is_an_error_with_the_numbers(
    engine: Engine, make_full: Any
) -> None:
    scene = engine.prepare(IMAGE)
    full = make_full(lambda call: 0)
    with pytest.raises(ModelError, match=r"out of memory .*needed 2\.147 GB, free .*allocated"):
        engine.answer_many(scene, questions(4))
    assert full.refused == 3
    full.end()
    assert len(engine.answer_many(scene, questions(4))) == 4


def test_a_single_question_is_tried_once_more(engine: Engine, make_full: Any) -> None:
    scene, (asked,) = engine.prepare(IMAGE), questions(1)
    expected = engine.answer(scene, asked).raw_text
    once = make_full(lambda call: 0 if call == 1 else 1e9)
    assert engine.answer(scene, asked).raw_text == expected
    assert (once.refused, once.given_back) == (1, 1)
    always = make_full(lambda call: 0)
    with pytest.raises(OutOfMemoryError, match="answer"):
        engine.answer(scene, asked)
    assert always.refused == 2


@pytest.mark.parametrize("named", [True, False])
def test_words_of_a_single_question_are_said_once(
    engine: Engine, make_full: Any, named: bool
) -> None:
    scene, (asked,) = engine.prepare(IMAGE), questions(1)
    expected = engine.answer(scene, asked).raw_text
    full = make_full(lambda call: 0 if call == 5 else 1e9)
    heard: list[str] = []
    if named:
        reply = engine.answer(scene, asked, on_text=heard.append)
    else:
        reply = engine.answer(scene, asked, heard.append)
    assert reply.raw_text == "".join(heard) == expected
    assert full.refused == 1


def test_a_picture_is_tried_once_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = engine._runner.encode_image, []

    def see(picture: Any) -> Any:
        calls.append(1)
        if len(calls) != 2:
            raise torch.OutOfMemoryError(MESSAGE)
        return real(picture)

    monkeypatch.setattr(engine._runner, "encode_image", see)
    assert engine.prepare(IMAGE).image_tokens == 16
    with pytest.raises(OutOfMemoryError, match="see the picture"):
        engine.prepare(IMAGE)
    assert len(calls) == 4


def test_other_failures_are_not_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def see(picture: Any) -> Any:
        calls.append(1)
        raise RuntimeError("broken")

    monkeypatch.setattr(engine._runner, "encode_image", see)
    with pytest.raises(ModelError, match="broken"):
        engine.prepare(IMAGE)
    assert len(calls) == 1


def test_a_cancel_reaches_what_waits_for_room(engine: Engine, make_full: Any) -> None:
    scene = engine.prepare(IMAGE)
    full = make_full(lambda call: 60)
    with pytest.raises(CancelledError):
        engine.answer_many(scene, questions(6), should_stop=lambda: full.given_back > 0)


def test_a_bad_question_is_named_as_ever(engine: Engine) -> None:
    with pytest.raises(RequestError):
        engine.answer_many(engine.prepare(IMAGE), [*questions(2), Question(" ")])
    assert engine.answer_many(engine.prepare(IMAGE), []) == []


def test_the_failed_pass_is_gone_before_the_next() -> None:
    class Holds:
        on_out_of_memory: Callable[[], None] | None = None

        def __init__(self) -> None:
            self.alive: list[bool] = []
            self.large: weakref.ref[torch.Tensor] | None = None

        @retry_out_of_memory
        def work(self) -> str:
            if self.large is not None:
                return "done"
            features = torch.zeros(1000)
            self.large = weakref.ref(features)
            with ModelFailure("try"):
                raise torch.OutOfMemoryError(f"{MESSAGE} {features.shape}")

    holds = Holds()
    holds.on_out_of_memory = lambda: holds.alive.append(holds.large() is not None)  # type: ignore[misc]
    assert holds.work() == "done"
    assert holds.alive == [False]


def test_the_numbers_of_both_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 3000000000 bytes."
    assert numbers(cpu).startswith("needed 3.000 GB, free ")
    assert numbers(cpu).endswith(" on cpu")
    for name, value in {
        "is_available": True, "mem_get_info": (10**9, 8 * 10**9), "memory_allocated": 7 * 10**9,
        "memory_reserved": 7 * 10**9,
        "get_device_properties": type("Card", (), {"is_integrated": False}),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    said = numbers(MESSAGE.replace("GPU 0", "GPU 1"))
    assert said == "needed 2.147 GB, free 1.000 GB, allocated 7.000 GB on cuda:1"


def test_the_cpus_allocator_counts_too() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needed .* GB, free"), ModelFailure("answer"):
        torch.empty(2**60, dtype=torch.uint8)
