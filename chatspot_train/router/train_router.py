"""Train the router of questions: `chatspot train-router`.

It writes chatspot_ros/core/task_router.npz anew from the wordings in the repository, the same file
each time; about a minute on one core.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from chatspot_ros.core.task_router import FILE
from chatspot_ros.util.command_line import Command
from chatspot_train.router.examples import teaching
from chatspot_train.router.fit import fit


def _run(options: argparse.Namespace) -> None:
    examples = teaching()
    router, found = fit(examples)
    router.write(options.out)
    counts = Counter(one.intent for one in examples)
    patterns = len({one.pattern for one in examples})
    print(f"{len(examples)} wordings of {patterns} patterns: "
          + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))  # fmt: skip
    print(f"weighted F1 on patterns that a fit did not see: {found.f1:.3f}")
    print(f"a task needs a probability of {router.min_task:.2f}, no question of "
          f"{router.min_no_question:.2f}")  # fmt: skip
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=FILE, help="the file to write")


main = Command(
    "train-router", _add_arguments, _run, description="Train the router of questions."
)  # fmt: skip
