"""What a second look and the reader of print gain, and what they cost, by task.

`python -m benchmarks.second_look [--kitchens 20] [--model DIR] [--json FILE]`. Asks the same
questions about test kitchens, seen by a camera of 1920x1080, in every way on the same scene: the
model looks once or twice, with the reader and without. Prints by task the share of right answers
with 95 % intervals, and the time of an answer over that of a single look without a reader.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from chatspot_ros.core.geometry import RgbImage
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.util.resources import find_model
from chatspot_sim.judging import judge
from chatspot_sim.kitchen import draw_kitchen
from chatspot_sim.questions import draw_dialogue
from chatspot_sim.stranger_wordings import half_and_half, measured
from chatspot_sim.truth import Truth
from chatspot_sim.unseen_wordings import TEST
from chatspot_sim.wordings import Wordings
from chatspot_sim.world import World
from chatspot_train.evaluation.metrics.intervals import share

SIZE = (1920, 1080)
TASKS = ("name", "part", "colour", "state", "yes_no", "read")
# (look twice, reader): the first is what the others are compared with.
WAYS = tuple(itertools.product(("off", "on"), ("off", "on")))
Asked = dict[tuple[str, tuple[str, str]], list[tuple[bool, float]]]


def ask_all(engine: Engine, truth: Truth, rgb: RgbImage, number: int, words: Wordings,
            found: Asked) -> None:  # fmt: skip
    """Ask each task's question about the kitchen in every way; the ways take turns to be first."""
    scene = engine.prepare(rgb)
    rng = np.random.default_rng([number, 1080])
    for turn, task in enumerate(TASKS):
        dialogue = draw_dialogue(truth, task, rng, words, noise=1.0)
        if not dialogue:
            continue
        asked = dialogue[0]
        ways = WAYS if task == "read" else tuple(way for way in WAYS if way[1] == "off")
        first = (number + turn) % len(ways)
        for way in ways[first:] + ways[:first]:
            began_s = time.perf_counter()
            reply = engine.answer(scene, Question(
                asked.question, asked.regions, asked.task, look_twice=way[0], reader=way[1],
            ))  # fmt: skip
            seconds = time.perf_counter() - began_s
            answer = reply.answer
            boxes = [region.box_xyxy_px for region in answer.grounded]
            right = judge(asked, answer.text, truth.width, truth.height, boxes)
            found[task, way].append((right, seconds))


def table(found: Asked) -> list[dict[str, Any]]:
    """Return a row for each task and way: share right, its interval, seconds, ratio of times."""
    rows: list[dict[str, Any]] = []
    for (task, way), some in found.items():
        plain = float(np.median([seconds for _, seconds in found[task, WAYS[0]]]))
        right = share([one for one, _ in some])
        seconds = float(np.median([seconds for _, seconds in some]))
        rows.append({"task": task, "look_twice": way[0], "reader": way[1], **right,
                     "seconds": seconds, "times": seconds / plain})  # fmt: skip
    return sorted(rows, key=lambda row: (TASKS.index(str(row["task"])), row["look_twice"] == "on",
                                         row["reader"] == "on"))  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kitchens", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first test kitchen")
    parser.add_argument("--model", default="chatspot-small")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    engine = load_engine(EngineConfig(model=find_model(arguments.model)))
    found: Asked = defaultdict(list)
    words = half_and_half(TEST, measured())
    for number in range(arguments.first, arguments.first + arguments.kitchens):
        with World(draw_kitchen(number, "test"), *SIZE) as world:
            frame = world.frame(measure_visibility=True)
        ask_all(engine, frame.truth, frame.rgb, number, words, found)
    rows = table(found)
    for row in rows:
        print(f"{row['task']:8} look twice {row['look_twice']:3}  reader {row['reader']:3}  right "
              f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}, n {row['n']})  "
              f"{row['seconds']:.2f} s, {row['times']:.2f} times")  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
