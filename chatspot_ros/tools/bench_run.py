"""Measures one model on this machine: loading, memory, the first token, tokens and regions a
second."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import BatchingEngine, Question
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.errors import ModelError

SIZE_WH = (640, 480)
COUNTS = (1, 4, 16, 64)
TOKENS = 24
_LONG_TOKENS = 64
_BOX_PX = (40.0, 140.0)


@dataclass(frozen=True)
class Measured:
    """What was measured: times in s, memory in bytes.

    `load_s` is from nothing to a model that has answered once, torch's import included.
    `first_token_s` is for a picture that the model has not seen, `next_first_token_s` for a further
    question about it. `tokens_per_s` is one answer's, behind its first token; None: the model says
    too little. `regions_per_s` gives, for so many questions together about a new picture, how many
    are answered a second; None: it failed, as where memory is short. `peak_rss_bytes` is the
    process's, `peak_device_bytes` what torch had of the GPU at most; None without one.
    """

    device: str
    dtype: str
    threads: int
    load_s: float
    first_token_s: float
    next_first_token_s: float
    tokens_per_s: float | None
    regions_per_s: dict[int, float | None]
    peak_rss_bytes: int
    peak_device_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def measure(
    config: EngineConfig,
    *,
    repeats: int = 3,
    counts: Sequence[int] = COUNTS,
    picture: RgbImage | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Load a model and measure it; every time is the median of `repeats`.

    `picture` (H x W x 3, RGB, uint8) is asked about; None: drawn rectangles, which any model sees
    as fast as a photograph. `tell` gets each step's name before it begins.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """
    tell("loading")
    began_s = time.perf_counter()
    engine = load_engine(config)
    load_s = time.perf_counter() - began_s
    pictures = _Pictures(picture)
    # What is only slow once (kernels, caches) is no part of it.
    tell("warming up")
    _answer(engine, engine.prepare(pictures.next()), questions(1, pictures.size_wh))

    tell("first token")
    one = questions(1, pictures.size_wh, tokens=1)
    first_s, next_s = [], []
    for _ in range(repeats):
        rgb = pictures.next()
        began_s = time.perf_counter()
        scene = engine.prepare(rgb)
        _answer(engine, scene, one)
        seen_s = time.perf_counter()
        _answer(engine, scene, one)
        first_s.append(seen_s - began_s)
        next_s.append(time.perf_counter() - seen_s)

    tell("tokens a second")
    tokens_per_s = _tokens_per_s(engine, engine.prepare(pictures.next()), repeats)
    regions_per_s: dict[int, float | None] = {}
    for count in counts:
        tell(f"{count} region{'s' if count > 1 else ''}")
        regions_per_s[count] = _regions_per_s(engine, pictures, count, repeats)
    return Measured(
        device=str(engine.device),
        dtype=str(engine.dtype).removeprefix("torch."),
        threads=_threads(),
        load_s=load_s,
        first_token_s=statistics.median(first_s),
        next_first_token_s=statistics.median(next_s),
        tokens_per_s=tokens_per_s,
        regions_per_s=regions_per_s,
        # Linux counts it in KiB.
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        peak_device_bytes=_peak_device_bytes(str(engine.device)),
    )


def questions(count: int, size_wh: tuple[int, int], tokens: int = TOKENS) -> list[Question]:
    """Return questions of the same words, each about another box, of at most `tokens` tokens."""
    rng = np.random.default_rng(1)
    width, height = size_wh
    asked = []
    for _ in range(count):
        side = min(rng.uniform(*_BOX_PX), width / 2, height / 2)
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        box = Region.box(x, y, x + side, y + side)
        asked.append(Question("What is this?", (box,), max_new_tokens=tokens))
    return asked


class _Pictures:
    """Pictures of one size, each with other pixels."""

    def __init__(self, picture: RgbImage | None) -> None:
        self._rng = np.random.default_rng(0)
        self._picture = _rectangles(self._rng) if picture is None else picture
        height, width = self._picture.shape[:2]
        self.size_wh = (width, height)

    def next(self) -> RgbImage:
        """Return the next picture."""
        self._picture = np.roll(self._picture, int(self._rng.integers(1, 50)), axis=1)
        return np.ascontiguousarray(self._picture)


def _rectangles(rng: np.random.Generator) -> RgbImage:
    width, height = SIZE_WH
    image = np.full((height, width, 3), 190, np.uint8)
    for _ in range(30):
        x, y = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        w, h = (int(one) for one in rng.integers(20, 160, 2))
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


def _answer(engine: BatchingEngine, scene: Any, asked: Sequence[Question]) -> int:
    """Return how many tokens the answers have."""
    return sum(reply.tokens for reply in engine.answer_many(scene, asked))


def _tokens_per_s(engine: BatchingEngine, scene: Any, repeats: int) -> float | None:
    """Return the rate of one answer behind its first token, on a picture that has been seen."""
    rates = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        _answer(engine, scene, [_long(1)])
        first_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        tokens = _answer(engine, scene, [_long(_LONG_TOKENS)])
        rest_s = time.perf_counter() - began_s - first_s
        if tokens > 1 and rest_s > 0:
            rates.append((tokens - 1) / rest_s)
    return statistics.median(rates) if rates else None


def _long(tokens: int) -> Question:
    return Question("Describe the whole image in detail.", max_new_tokens=tokens)


def _regions_per_s(
    engine: BatchingEngine, pictures: _Pictures, count: int, repeats: int
) -> float | None:
    asked = questions(count, pictures.size_wh)
    try:
        times_s = [_seconds(partial(_see_and_answer, engine, pictures.next(), asked))
                   for _ in range(repeats)]  # fmt: skip
    except ModelError:
        return None
    return count / statistics.median(times_s)


def _see_and_answer(engine: BatchingEngine, rgb: RgbImage, asked: Sequence[Question]) -> None:
    _answer(engine, engine.prepare(rgb), asked)


def _seconds(what: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    what()
    return time.perf_counter() - began_s


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _peak_device_bytes(device: str) -> int | None:
    import torch

    return int(torch.cuda.max_memory_allocated(device)) if device.startswith("cuda") else None
