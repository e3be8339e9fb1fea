"""The time that looking up takes: the same questions with the example notes and without.

`python -m benchmarks.look_up --data DIR [--kitchens 10] [--json FILE]`. Both sides alternate, on
the same scenes of simulated kitchens (rendered into DIR where missing) with chatspot-tiny.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatspot_ros.core.regions import Region
from chatspot_ros.engine.api import Question
from chatspot_ros.engine.engine import Engine
from chatspot_ros.engine.engine_config import EngineConfig, load_engine
from chatspot_ros.util.resources import bundled_notes
from chatspot_sim.asking import clear_things
from chatspot_train.data.image_io import read_picture
from chatspot_train.evaluation.kitchen.render import render_kitchens, truth_of

ASKED = (("How do I open this?", "plan"), ("Describe this.", "describe"))
DRAWS = 2000


def measure(engine: Engine, pictures: list[Path]) -> NDArray[np.float64]:
    """Return the seconds, (questions, 3): to see the picture, to answer without and with notes."""
    rows: list[tuple[float, float, float]] = []
    sides = ("", str(bundled_notes()))
    for picture in pictures:
        scene = engine.prepare(read_picture(picture))
        for thing in clear_things(truth_of(picture))[:4]:
            for text, task in ASKED:
                question = Question(text, (Region.box(*thing.box_xyxy_px),), task)
                taken = {}
                for notes in sides[:: 1 if len(rows) % 2 else -1]:
                    began_s = time.perf_counter()
                    asked = Question(question.text, question.regions, task, knowledge=notes)
                    engine.answer(scene, asked)
                    taken[bool(notes)] = time.perf_counter() - began_s
                rows.append((scene.seconds, taken[False], taken[True]))
    return np.array(rows)


def summary(seconds: NDArray[np.float64], *, seen: bool) -> dict[str, float]:
    """Return the ratio of the sums, with notes over without, and its 95 % interval; `seen`: with
    the time to see the picture on both sides, as of a question about a new one."""
    both = seconds[:, 1:] + seconds[:, :1] * seen
    drawn = np.random.default_rng(0).integers(0, len(both), (DRAWS, len(both)))
    ratios = both[drawn, 1].sum(1) / both[drawn, 0].sum(1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    value = both[:, 1].sum() / both[:, 0].sum()
    return {"value": float(value), "low": float(low), "high": float(high), "n": len(both)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kitchens", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = load_engine(EngineConfig(threads=1))
    pictures = render_kitchens(options.data, "test", options.kitchens)
    measure(engine, pictures[:1])  # the index, and what is slow at first
    seconds = measure(engine, pictures)
    found: dict[str, Any] = {
        "answering_with_notes_over_without": summary(seconds, seen=False),
        "new_picture_with_notes_over_without": summary(seconds, seen=True),
        "median_s": dict(zip(("see", "without", "with"), np.median(seconds, 0), strict=True)),
    }
    print(json.dumps(found, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
