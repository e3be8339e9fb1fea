"""Measure a model: `python -m chatspot_train.evaluate --suite kitchen --model DIR --out DIR`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from chatspot_ros.engine.api import Question, Turn
from chatspot_ros.engine.engine import Engine
from chatspot_sim.judging import judge
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.questions import KINDS, KitchenQuestion, draw_dialogue
from chatspot_sim.truth import Box, Truth
from chatspot_sim.wordings import TEST, Wordings
from chatspot_sim.world import World

SHAPES = ("box", "point", "polygon")
REGION_NOISE = 1.0  # as in training: corners off by up to about 5 % of the box


@dataclass(frozen=True)
class Prediction:
    """One asked question."""

    row: str
    seed: int
    question: str
    regions: list[Any]
    answer: str
    truth: str
    right: bool
    confidence: float
    seconds: float


def kitchen_questions(
    truth: Truth, seed: int, wordings: Wordings
) -> Iterator[tuple[str, list[KitchenQuestion]]]:
    """One dialogue of every kind on one picture, naming once with each kind of region."""
    rng = np.random.default_rng([seed, 424])
    for kind in KINDS:
        for shape in SHAPES if kind == "name" else ("",):
            dialogue = draw_dialogue(truth, kind, rng, wordings, noise=REGION_NOISE, shape=shape)
            if dialogue:
                yield f"name_{shape}" if kind == "name" else kind, dialogue


def evaluate_kitchens(
    engine: Engine, split: Any, kitchens: int, wordings: Wordings = TEST
) -> list[Prediction]:
    """Ask about the first `kitchens` kitchens of a split, one fresh picture of each."""
    predictions: list[Prediction] = []
    for seed in tqdm(range(kitchens), desc=f"{split} kitchens"):
        with World(draw_kitchen(seed, split)) as world:
            frame = world.frame(measure_visibility=True)
        scene = engine.prepare(frame.rgb)
        for row, dialogue in kitchen_questions(frame.truth, seed, wordings):
            predictions.append(_ask(engine, scene, frame.truth, row, dialogue, seed))
    return predictions


def _ask(
    engine: Engine, scene: Any, truth: Truth, row: str, dialogue: list[KitchenQuestion], seed: int
) -> Prediction:
    """Ask a dialogue; its last answer counts."""
    turns: list[Turn] = []
    for question in dialogue:
        asked = Question(question.question, question.regions, question.task, tuple(turns))
        reply = engine.answer(scene, asked)
        turns.append(Turn(reply.prompt, reply.raw_text))
    last, text = dialogue[-1], reply.answer.text
    boxes: list[Box] = [region.box_xyxy_px for region in reply.answer.grounded]
    right = judge(last, text, truth.width, truth.height, boxes)
    return Prediction(
        row, seed, last.question, [list(r.points_px) for r in last.regions], text,
        last.answer or f"box {last.box_xyxy_px}", right, reply.answer.confidence, reply.seconds,
    )  # fmt: skip


def rows(predictions: list[Prediction]) -> dict[str, dict[str, float]]:
    """Share right for every row, with Wilson's 95 % interval."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.row].append(prediction.right)
    return {row: _wilson(sum(hits), len(hits)) for row, hits in sorted(groups.items())}


def _wilson(right: int, n: int) -> dict[str, float]:
    z, p = 1.96, right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"value": p, "n": n, "low": float(middle - half), "high": float(middle + half)}


def write(predictions: list[Prediction], out: Path) -> dict[str, dict[str, float]]:
    """Write `results.json` and `predictions.jsonl` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    found = rows(predictions)
    (out / "results.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    lines = (json.dumps(asdict(prediction)) for prediction in predictions)
    (out / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    return found


def show(found: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    table = Table("row", "value", "95 %", "n")
    for row, value in found.items():
        table.add_row(row, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}",
                      str(int(value["n"])))  # fmt: skip
    Console().print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a model on simulated kitchens.")
    parser.add_argument("--suite", choices=("kitchen",), required=True)
    parser.add_argument("--model", required=True, help="a folder or a hub id")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--limit", type=int, default=300, help="kitchens")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    engine = Engine.load(options.model)
    show(write(evaluate_kitchens(engine, options.split, options.limit), options.out))


if __name__ == "__main__":
    main()
