"""Questions that come and go between the steps of a batch; what conversations leave behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Question, Scene, Turn
from chatspot_ros.engine.decoding import packed_batch as pack_module
from chatspot_ros.engine.decoding.batch import Batch
from chatspot_ros.errors import CancelledError, ModelError

TEXTS = ("What is this?", "Which colour does <region> have, and what is it made of?", "And this?")


def batch_of(engine: Engine, scene: Scene) -> Batch:
    """A batch as the engine opens it, without a second try where memory is full."""
    return Batch(engine.conversation, engine._runner, scene, engine.cuda_graphs)


def questions(count: int, tokens: int = 9) -> list[Question]:
    """Questions of several lengths about boxes of their own."""
    return [
        Question(
            TEXTS[k % 3], (Region.box(5 * k, 3 * k, 60 + 5 * k, 40 + 3 * k),),
            max_new_tokens=tokens + k % 4,
        )
        for k in range(count)
    ]  # fmt: skip


def texts_of(engine: Engine, scene: Scene, asked: list[Question]) -> list[str]:
    """The answers, one by one."""
    return [engine.answer(scene, question).raw_text for question in asked]


def run(batch: Batch, *all_asked: Any) -> list[list[str]]:
    """Step until all is answered; return the texts of each."""
    while not all(asked.done for asked in all_asked):
        batch.step()
    return [[reply.raw_text for reply in asked.result()] for asked in all_asked]


@pytest.fixture(params=["llava", "qwen"])
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def scene(engine: Engine, image_rgb: np.ndarray) -> Scene:
    return engine.prepare(image_rgb)


def alone(scene: Scene) -> Scene:
    """The scene without its shared prefix, as models have it whose prefix cannot be shared."""
    return replace(scene, cache=None, prefix_ids=())


# --- coming and going


@pytest.mark.parametrize("as_scene", [lambda scene: scene, alone], ids=["shared", "alone"])
def test_questions_come_between_steps(
    engine: Engine, scene: Scene, as_scene: Callable[[Scene], Scene]
) -> None:
    scene = as_scene(scene)
    asked = questions(5)
    expected = texts_of(engine, scene, asked)
    batch = batch_of(engine, scene)
    first = batch.admit(asked[:2])
    for _ in range(3):
        batch.step()
    second = batch.admit(asked[2:4])
    batch.step()
    third = batch.admit(asked[4:])
    assert run(batch, first, second, third) == [expected[:2], expected[2:4], expected[4:]]
    assert batch.live == 0


def test_a_batch_can_be_used_again(engine: Engine, scene: Scene) -> None:
    batch = batch_of(engine, scene)
    asked = questions(3)
    first = run(batch, batch.admit(asked))
    assert run(batch, batch.admit(asked)) == first == [texts_of(engine, scene, asked)]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("stopped", [False, True])
def test_who_has_been_answered_or_stopped_holds_nothing(
    engine: Engine, image_rgb: np.ndarray, no_collector: None, stopped: bool
) -> None:
    """Without waiting for a garbage collector: a scene is megabytes."""
    scene = engine.prepare(image_rgb)
    held = weakref.ref(scene)
    batch = batch_of(engine, scene)
    asked = batch.admit(questions(2))
    while not asked.done:
        batch.step()
        if stopped:
            asked.leave()
    del batch, scene, asked
    assert held() is None


@pytest.mark.parametrize("as_scene", [lambda scene: scene, alone], ids=["shared", "alone"])
def test_one_leaves_and_the_others_go_on(
    engine: Engine, scene: Scene, as_scene: Callable[[Scene], Scene]
) -> None:
    scene = as_scene(scene)
    asked = questions(4)
    expected = texts_of(engine, scene, asked)
    batch = batch_of(engine, scene)
    kept, left = batch.admit(asked[:2]), batch.admit(asked[2:])
    for _ in range(3):
        batch.step()
    left.leave()
    assert batch.live == 2
    assert run(batch, kept) == [expected[:2]]
    assert left.done
    with pytest.raises(CancelledError):
        left.result()


def test_a_listener_that_fails_ends_its_own_question_alone(engine: Engine, scene: Scene) -> None:
    asked = questions(3)

    def fail(index: int, added: str) -> None:
        raise LookupError("nobody listens")

    batch = batch_of(engine, scene)
    bad, good = batch.admit(asked[:1], on_text=fail), batch.admit(asked[1:])
    assert run(batch, good) == [texts_of(engine, scene, asked[1:])]
    with pytest.raises(LookupError):
        bad.result()


def test_numbers_that_are_not_finite_end_their_own_answer_alone(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)
    asked = questions(3)
    expected = texts_of(llava, scene, asked)
    take, steps = pack_module.take, []

    def spoil(live: list[Any], logits: torch.Tensor, end_ids: frozenset[int]) -> None:
        steps.append(len(live))
        if len(steps) == 3:
            logits = logits.clone()
            logits[1, 7] = float("nan")
        take(live, logits, end_ids)

    monkeypatch.setattr(pack_module, "take", spoil)
    batch = batch_of(llava, scene)
    all_asked = [batch.admit([question]) for question in asked]
    assert run(batch, all_asked[0], all_asked[2]) == [[expected[0]], [expected[2]]]
    with pytest.raises(ModelError, match="not finite"):
        all_asked[1].result()


def test_a_model_that_fails_ends_all_and_can_be_asked_again(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = llava.prepare(image_rgb)
    asked = questions(3)
    batch = batch_of(llava, scene)
    taken = batch.admit(asked)
    batch.step()

    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(llava._runner.model.lm_head, "forward", fail)
        batch.step()
    with pytest.raises(ModelError, match="out of memory"):
        taken.result()
    assert run(batch, batch.admit(asked)) == [texts_of(llava, scene, asked)]


# --- memory


def test_the_prefix_is_there_once_and_the_scene_is_left_alone(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene = llava.prepare(image_rgb)
    before = [(layer.keys.clone(), layer.values.clone()) for layer in scene.cache.layers]
    nbytes = llava.scene_bytes(scene)
    batch = batch_of(llava, scene)
    taken = batch.admit(questions(6))
    batch.step()
    batch.step()
    shared = batch._packed._columns.cache.layers[0]
    assert scene.cache.layers[0].keys.data_ptr() == shared.keys.data_ptr()
    run(batch, taken)
    assert batch._packed.nbytes == 0
    assert llava.scene_bytes(scene) == nbytes
    for layer, (keys, values) in zip(scene.cache.layers, before, strict=True):
        assert layer.keys.untyped_storage().nbytes() == keys.nbytes
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_room_is_made_for_what_comes_and_not_much_more(
    llava: Engine, image_rgb: np.ndarray
) -> None:
    scene = llava.prepare(image_rgb)
    batch = batch_of(llava, scene)
    # The limit is far beyond what is said in these steps.
    asked = [replace(one, max_new_tokens=400) for one in questions(12)]
    batch.admit(asked)
    one_column = scene.cache.layers[0].keys[..., :1, :].nbytes * 2 * len(scene.cache.layers)
    for _ in range(20):
        batch.step()
        if not batch.live:
            break
        used = len(scene.prefix_ids) + len(batch._packed._tree_mask)
        share = pack_module.GROW_SHARE
        assert used <= batch._packed.nbytes / one_column <= (1 + share) * used + 1


# --- conversations


def converse(
    engine: Engine, scene: Scene, turns_said: int, remember: bool
) -> tuple[list[str], list[int]]:
    """Ask turn by turn; return the texts, and how many tokens of each turn were known before."""
    batch, turns, memory, said, known = batch_of(engine, scene), (), None, [], []
    for k in range(turns_said):
        question = Question(TEXTS[k % 3], (Region.box(5, 5, 50 + 9 * k, 60),), turns=turns,
                            max_new_tokens=8)  # fmt: skip
        asked = batch.admit([question], memory=memory, remember=remember)
        sequence = asked._sequences[0]
        while not asked.done:
            batch.step()
        (reply,) = asked.result()
        known.append(0 if memory is None else memory.known(sequence.ids))
        memory = asked.memory
        said.append(reply.raw_text)
        turns = (*turns, Turn(reply.prompt, reply.raw_text))
    return said, known


def test_a_conversation_goes_on_from_its_memory_with_the_same_words(
    engine: Engine, scene: Scene
) -> None:
    said, known = converse(engine, scene, 4, remember=True)
    bare, unknown = converse(engine, scene, 4, remember=False)
    assert said == bare
    assert unknown == [0, 0, 0, 0]
    assert known[1] > len(TEXTS[0])
    assert known[3] > known[2] > known[1]


def test_a_memory_of_another_conversation_changes_nothing(engine: Engine, scene: Scene) -> None:
    batch = batch_of(engine, scene)
    asked = questions(3)
    other = batch.admit([asked[2]], remember=True)
    run(batch, other)
    assert other.memory is not None
    expected = texts_of(engine, scene, asked)
    assert run(batch, batch.admit(asked, memory=other.memory)) == [expected]


def test_a_memory_takes_what_its_tensors_take(llava: Engine, image_rgb: np.ndarray) -> None:
    scene = llava.prepare(image_rgb)
    batch = batch_of(llava, scene)
    asked = batch.admit(questions(1), remember=True)
    run(batch, asked)
    memory = asked.memory
    one_column = scene.cache.layers[0].keys[..., :1, :].nbytes * 2 * len(scene.cache.layers)
    assert memory.nbytes == len(memory.ids) * one_column
    assert llava.scene_bytes(scene) > len(scene.prefix_ids) * one_column
