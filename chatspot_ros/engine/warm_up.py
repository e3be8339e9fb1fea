"""A few questions at start-up, so that the first real one is not slow.

They create what is kept from the first use on: kernels and library handles on a GPU, oneDNN's
primitives for each shape on a CPU, the allocator's blocks, the grammars' tables.
"""

from __future__ import annotations

import time

import numpy as np

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import BatchingEngine, Question

_WIDTH, _HEIGHT = 640, 480
_TOGETHER = 8
_TOKENS = 6


def warm_up(engine: BatchingEngine) -> float:
    """Ask one and then several questions of a picture of noise; return the seconds taken.

    Raises:
        ModelError: the model failed.
    """
    began_s = time.perf_counter()
    rgb = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    scene = engine.prepare(rgb)
    engine.answer_many(scene, _questions(1))
    engine.answer_many(scene, _questions(_TOGETHER))
    return time.perf_counter() - began_s


def _questions(count: int) -> list[Question]:
    step = (_WIDTH - 200) // max(1, count)
    return [
        Question(
            "What is this?",
            (Region.box(40 + k * step, 60, 160 + k * step, 260),),
            max_new_tokens=_TOKENS,
            reasoning_tokens=0,
        )
        for k in range(count)
    ]
