"""Steps of fixed shapes say what the plain path says; the GPU's recording is stood in for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine, Scene
from chatspot_ros.engine.api import Question, Reply
from chatspot_ros.engine.decoding import cuda_graphs
from chatspot_ros.engine.decoding.batch import Batch
from chatspot_ros.engine.decoding.cuda_graphs import CudaGraphSteps
from chatspot_ros.engine.models.cache import share_cache

QUESTION = Question("What is this?", (Region.box(5, 5, 90, 60),), max_new_tokens=10)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "SHORTEST", 128)


class Recorder:
    """Stands in for CUDA graphs: what is recorded computes into the same tensor at each replay."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        self.recorded += 1
        logits = run().clone()

        def replay() -> torch.Tensor:
            self.replayed += 1
            return logits.copy_(run())

        return replay


def batch_of(engine: Engine, scene: Scene) -> Batch:
    """A batch as the engine opens it, without a second try where memory is full."""
    return Batch(engine.conversation, engine._runner, scene, engine.cuda_graphs)


def make(engine: Engine, image_rgb: np.ndarray, **settings: Any) -> CudaGraphSteps:
    steps = CudaGraphSteps(engine._runner.model, tokens=300, **settings)
    with torch.inference_mode():
        assert steps.prepare(engine.prepare(image_rgb).cache)
    return steps


def say(engine: Engine, image_rgb: np.ndarray, steps: CudaGraphSteps | None) -> Reply:
    engine.cuda_graphs = steps
    try:
        return engine.answer(engine.prepare(image_rgb), QUESTION)
    finally:
        engine.cuda_graphs = None


@pytest.mark.parametrize("compiler", [None, "eager"])
def test_the_same_tokens(compiler: str | None, llava: Engine, image_rgb: np.ndarray) -> None:
    record = Recorder()
    steps = make(llava, image_rgb, compiler=compiler, record=record)
    plain, static = say(llava, image_rgb, None), say(llava, image_rgb, steps)
    assert static.raw_text == plain.raw_text
    assert static.log_probabilities == pytest.approx(plain.log_probabilities, abs=1e-4)
    assert record.recorded == 3  # 128, 256 and 300 tokens
    assert record.replayed == plain.tokens - 1 > 3


def test_positions_of_a_picture_are_not_recorded(qwen: Engine, image_rgb: np.ndarray) -> None:
    cache = qwen.prepare(image_rgb).cache
    steps = CudaGraphSteps(qwen._runner.model, tokens=300, record=Recorder())
    with torch.inference_mode():
        assert not steps.prepare(cache)
        assert not steps.begin(cache, 5)


def test_another_picture_leaves_no_trace(llava: Engine, image_rgb: np.ndarray) -> None:
    steps = make(llava, image_rgb, record=None)
    other = np.ascontiguousarray(image_rgb[::-1, ::-1])
    say(llava, other, steps)
    assert say(llava, image_rgb, steps).raw_text == say(llava, image_rgb, None).raw_text


def test_who_comes_and_goes_changes_no_word(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone in recorded steps, together in plain ones, alone again; and on a second picture, for
    which the first must give way."""
    scenes = [llava.prepare(one) for one in (image_rgb, np.ascontiguousarray(image_rgb[::-1]))]
    long = replace(QUESTION, max_new_tokens=16)
    short = Question("And this?", (Region.point(50, 50),), max_new_tokens=3)
    expected = [[llava.answer(scene, one).raw_text for one in (long, short)] for scene in scenes]
    record = Recorder()
    monkeypatch.setattr(llava, "cuda_graphs", make(llava, image_rgb, record=record))
    batches = [batch_of(llava, scene) for scene in scenes]
    first = [batch.admit([long], remember=True) for batch in batches]
    for _ in range(3):
        for batch in batches:
            batch.step()
    assert record.replayed == 4
    second = [batch.admit([short]) for batch in batches]
    for batch, one in zip(batches, second, strict=True):
        while not one.done:
            batch.step()
    assert record.replayed == 4
    for batch, one in zip(batches, first, strict=True):
        while not one.done:
            batch.step()
    assert record.replayed > 8
    said = [[one.result()[0].raw_text for one in pair] for pair in zip(first, second, strict=True)]
    assert said == expected


def test_a_conversation_remembers_what_recorded_steps_have_read(
    llava: Engine, image_rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = []
    for steps in (None, make(llava, image_rgb, record=Recorder())):
        monkeypatch.setattr(llava, "cuda_graphs", steps)
        batch = batch_of(llava, llava.prepare(image_rgb))
        asked = batch.admit([QUESTION], remember=True)
        while not asked.done:
            batch.step()
        memories.append(asked.memory)
    plain, recorded = memories
    assert plain is not None
    assert recorded is not None
    assert recorded.ids == plain.ids
    torch.testing.assert_close(recorded.layers, plain.layers)


def test_what_is_too_long_goes_the_plain_way(llava: Engine, image_rgb: np.ndarray) -> None:
    steps = make(llava, image_rgb, record=None)
    cache = llava.prepare(image_rgb).cache
    with torch.inference_mode():
        assert not steps.begin(cache, 1000)
        assert not steps.begin(cache, 300 - cache.get_seq_length())
        assert not steps.begin(cache, 5, rows=2)
        assert steps.begin(cache, 299 - cache.get_seq_length())


def test_no_step_beyond_the_room(llava: Engine, image_rgb: np.ndarray) -> None:
    steps = make(llava, image_rgb, record=None)

    def step(*ids: int) -> None:
        begun = torch.arange(steps.length, steps.length + len(ids))
        steps.step(ids, begun, torch.ones(len(ids), steps.length + len(ids)).bool())

    with torch.inference_mode():
        with pytest.raises(RuntimeError, match="not begun"):
            step(1)
        assert steps.begin(llava.prepare(image_rgb).cache, 1)
        with pytest.raises(ValueError, match="do not fit"):
            step(1, 2)
        while steps.length < 127:
            step(5)
        with pytest.raises(ValueError, match="do not fit"):
            step(5)


def test_a_recording_that_fails_is_told_once(
    llava: Engine, image_rgb: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(run: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    cache = llava.prepare(image_rgb).cache
    steps = CudaGraphSteps(llava._runner.model, tokens=300, record=fails)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        assert not steps.prepare(cache)
        assert not steps.begin(cache, 5)
        assert not steps.begin(cache, 5)
    assert [one.message for one in caplog.records] == [
        "decoding goes on without recorded steps: RuntimeError: "
        "operation not permitted when stream is capturing"
    ]


def test_a_compiler_that_fails_is_done_without(
    llava: Engine, image_rgb: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    steps = make(llava, image_rgb, compiler="no-such-backend", record=Recorder())
    assert say(llava, image_rgb, steps).raw_text == say(llava, image_rgb, None).raw_text
    assert "without the compiler" in caplog.text


def test_sequences_over_one_prefix_by_masks(llava: Engine, image_rgb: np.ndarray) -> None:
    """Two sequences go on side by side in one step each, as they do alone; a row stays unused."""
    scene = llava.prepare(image_rgb)
    alone = []
    texts = [[20, 21, 22], [30, 31]]
    with torch.inference_mode():
        for ids in texts:
            cache = share_cache(scene.cache, scene.cache.get_seq_length())
            for token in ids:
                output = llava._runner.model(
                    input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True
                )
                alone.append(output.logits[0, -1])
        steps = make(llava, image_rgb, rows=(3,), record=Recorder())
        assert steps.begin(scene.cache, 10, rows=2)
        prefix = steps.length
        owners: list[int] = []
        together: dict[int, list[torch.Tensor]] = {0: [], 1: []}
        for number in range(3):
            live = [k for k in (0, 1) if number < len(texts[k])]
            owners += live
            seen = torch.zeros(len(live), prefix + len(owners), dtype=torch.bool)
            seen[:, :prefix] = True
            for row, k in enumerate(live):
                seen[row, prefix:] = torch.tensor([owner == k for owner in owners])
            logits = steps.step(
                [texts[k][number] for k in live], torch.full((len(live),), prefix + number), seen
            )
            for row, k in enumerate(live):
                together[k].append(logits[row].clone())
    torch.testing.assert_close(torch.stack(together[0] + together[1]), torch.stack(alone))


@pytest.mark.gpu
def test_a_recorded_step_on_a_gpu(llava_folder: Path, image_rgb: np.ndarray) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    engine = Engine.load(str(llava_folder), device="cuda", dtype="float32")
    steps = make(engine, image_rgb)
    assert say(engine, image_rgb, steps).raw_text == say(engine, image_rgb, None).raw_text
