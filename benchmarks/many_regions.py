"""Many questions about one frame, compared with `generate` of transformers.

`python -m benchmarks.many_regions --json FILE [--plot FILE.png]`. Both sides run here, on the same
weights, and must give the same tokens. All questions have the same words and different boxes, as in
a query about a detector's boxes; `time_other_words_over_same` is the cost of questions with
different first words. The plot (time over number of regions) is saved beside the JSON by default.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib import pyplot
from transformers import AutoModelForImageTextToText

from benchmarks import random_llava
from benchmarks.queries import Desk, noise
from chatspot_ros.core.regions import Region
from chatspot_ros.engine import Engine
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.decoding.batch import Batch
from chatspot_ros.server.settings import Settings

REGIONS = 16
TOKENS = 24
REPEATS = 3
SIZE = (640, 480)
TINY = Path("models/chatspot-tiny")


def picture(seed: int = 0) -> np.ndarray:
    """Return a frame of noise, uint8 480 x 640 x 3."""
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def questions(count: int) -> list[Question]:
    """Return questions of about 24 tokens, each about another box."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        x, y = rng.uniform(0, SIZE[0] / 2), rng.uniform(0, SIZE[1] / 2)
        box = Region.box(x, y, x + 100, y + 100)
        found.append(Question("What is here?", (box,), max_new_tokens=TOKENS))
    return found


def seconds(what: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """Return the time of the fastest run, and the result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        began = time.perf_counter()
        result = what()
        best = min(best, time.perf_counter() - began)
    return best, result


class Peer:
    """Answers the same questions by `generate` of transformers."""

    def __init__(
        self, engine: Engine, folder: Path, rgb: np.ndarray, asked: list[Question]
    ) -> None:
        self.engine = engine
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype="float32", trust_remote_code=False
        ).eval()
        self.scene = engine.prepare(rgb)
        self.ids = [engine.conversation.read(self.scene, question).ids for question in asked]
        self.pixels = self._see(rgb)

    def _see(self, rgb: np.ndarray) -> torch.Tensor:
        fit = self.engine.spec.geometry.fit((rgb.shape[1], rgb.shape[0]))
        shown = self.engine._runner.image_processor(
            images=fit.apply(rgb, self.engine.spec.fill_rgb), return_tensors="pt",
            do_resize=False, do_center_crop=False,
        )  # fmt: skip
        pixels: torch.Tensor = shown["pixel_values"]
        return pixels

    def one_by_one(self) -> list[list[int]]:
        """Answer by one call of generate per question."""
        return [self._generate([ids])[0] for ids in self.ids]

    def batched(self) -> list[list[int]]:
        """Answer by one call: a copy of the picture per question, prompts padded on the left."""
        return self._generate(self.ids)

    def _generate(self, ids: list[list[int]]) -> list[list[int]]:
        longest = max(map(len, ids))
        pad = int(self.model.config.get_text_config().pad_token_id or 0)
        tokens = torch.tensor([[pad] * (longest - len(one)) + one for one in ids])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in ids])
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=tokens, attention_mask=mask,
                pixel_values=self.pixels.repeat(len(ids), 1, 1, 1),
                max_new_tokens=TOKENS, do_sample=False,
            )  # fmt: skip
        ends = self.engine._runner.end_ids
        answers = []
        for row in out[:, longest:].tolist():
            stop = next((k for k, token in enumerate(row) if token in ends), len(row))
            answers.append(row[:stop])
        return answers


def compare(engine: Engine, folder: Path, name: str) -> dict[str, float]:
    """Compare the engine with both peers. Raises RuntimeError if the answers differ."""
    rgb, asked = picture(), questions(REGIONS)
    peer = Peer(engine, folder, rgb, asked)
    ours, replies = seconds(lambda: engine.answer_many(engine.prepare(rgb), asked))
    single, alone = seconds(peer.one_by_one, 1)
    copies, batched = seconds(peer.batched, 2)
    said = [reply.raw_text for reply in replies]
    for answers in (alone, batched):
        other = [engine._chat.decode(ids).strip() for ids in answers]
        same = sum(a == b for a, b in zip(said, other, strict=True))
        if same < len(said):
            raise RuntimeError(
                f"{name}: {same} of {len(said)} answers are the same: {said} {other}"
            )
    print(f"{name}: ours {ours:.2f} s, one by one {single:.2f} s, batched copies {copies:.2f} s")
    mixed, _ = seconds(partial(_all_at_once, engine, rgb, _in_other_words(asked)))
    return {
        f"speedup_vs_one_by_one_{name}": single / ours,
        f"speedup_vs_batched_copies_{name}": copies / ours,
        f"time_other_words_over_same_{name}": mixed / ours,
    }


def _in_other_words(asked: list[Question]) -> list[Question]:
    """Return questions of the same length with different first letters."""
    return [replace(one, text=f"{chr(65 + k)}{one.text[1:]}") for k, one in enumerate(asked)]


def scaling(engine: Engine) -> tuple[dict[str, float], list[tuple[int, float]]]:
    """Measure time over number of regions, and the first token of a second question."""
    rgb = picture()
    points = []
    for count in (1, 2, 4, 8, 16, 32, 64):
        asked = questions(count)
        took, _ = seconds(partial(_all_at_once, engine, rgb, asked), 2)
        points.append((count, took))
    one = questions(1)[0]
    first, _ = seconds(lambda: engine.answer(engine.prepare(rgb), _short(one)))
    scene = engine.prepare(rgb)
    second, _ = seconds(lambda: engine.answer(scene, _short(one)))
    rows = {
        "ttft_second_over_first": second / first,
        "time_64_over_1": points[-1][1] / points[0][1],
    }
    return rows, points


def _all_at_once(engine: Engine, rgb: np.ndarray, asked: list[Question]) -> int:
    return len(engine.answer_many(engine.prepare(rgb), asked))


def _short(question: Question) -> Question:
    return Question(question.text, question.regions, max_new_tokens=1)


def kv_over_ideal(engine: Engine, count: int = 64) -> float:
    """Most bytes of keys and values between two passes, over those of one prefix and all suffixes.

    Everything that is alive is counted: the scene's, the batch's, and the room made to grow.
    """
    scene = engine.prepare(picture())
    batch = Batch(engine.conversation, engine._runner, scene)
    asked = batch.admit(questions(count))
    sequences, pack = list(asked._sequences), batch._packed
    most = 0
    while not asked.done:
        batch.step()
        layers = list(scene.cache.layers)
        columns = getattr(pack, "_columns", None)
        if columns is not None:
            layers += columns.cache.layers
        storages = [one.untyped_storage() for layer in layers for one in (layer.keys, layer.values)]
        most = max(most, sum({one.data_ptr(): one.nbytes() for one in storages}.values()))
    column = engine.scene_bytes(replace(scene, inputs={})) / len(scene.prefix_ids)
    return most / (column * (len(scene.prefix_ids) + sum(one.read for one in sequences)))


def overhead(engine: Engine, queries: int, boxes: int) -> float:
    """Return the time of queries outside of the model's passes, divided by the time inside.

    From a query's submission to its end: queue, thread, frame key, scaling, prompts, masks, choice
    of tokens, detokenizing, parsing. Each query is about a new frame.
    """
    desk = Desk(engine, settings=Settings())
    model, inside_s = engine._runner.model, 0.0

    def timed(name: str) -> Callable[..., Any]:
        inner = getattr(model, name)

        @wraps(inner)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside_s
            began_s = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                inside_s += time.perf_counter() - began_s

        return call

    asks = [Question(one.text, one.regions) for one in questions(boxes)]
    desk.ask_and_wait(noise(0, *SIZE), asks)
    names = ("forward", "get_image_features")
    try:
        for name in names:
            setattr(model, name, timed(name))
        began_s = time.perf_counter()
        for seed in range(1, queries + 1):
            desk.ask_and_wait(noise(seed, *SIZE), asks)
        # The time for drawing noise is the benchmark's own.
        all_s = time.perf_counter() - began_s - seconds(lambda: noise(1, *SIZE))[0] * queries
    finally:
        for name in names:
            delattr(model, name)
        desk.worker.stop()
    return (all_s - inside_s) / inside_s


def plot(points: list[tuple[int, float]], file: Path) -> None:
    """Plot seconds over the number of regions."""
    figure, axis = pyplot.subplots(figsize=(6, 4))
    axis.plot(*zip(*points, strict=True), marker="o")
    axis.set_xlabel("regions asked about")
    axis.set_ylabel("seconds, picture included")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure many questions about one frame.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = random_llava.make(Path(folder) / "random-llava")
        engine = Engine.load(str(made), device="cpu")
        rows |= compare(engine, made, "576")
        found, points = scaling(engine)
        rows |= found
        rows["kv_over_shared_ideal"] = kv_over_ideal(engine)
        rows["overhead_share"] = overhead(engine, 5, REGIONS)
    tiny = Engine.load(str(TINY), device="cpu")
    rows |= compare(tiny, TINY, "tiny")
    rows["overhead_share_tiny"] = overhead(tiny, 20, REGIONS)
    for name, value in rows.items():
        print(f"{name:36} {value:8.3f}")
    if options.json:
        found_rows = {name: {"value": value} for name, value in rows.items()}
        found_all = {"rows": found_rows, "points": points}
        options.json.write_text(json.dumps(found_all, indent=1) + "\n")
    file = options.plot or (options.json and options.json.with_suffix(".png"))
    if file:
        plot(points, file)


if __name__ == "__main__":
    main()
