"""`chatspot extract-adaptation`: what a trained chatspot-small learned, small enough to commit."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from chatspot_ros.chatspot_small.adaptation import extract
from chatspot_ros.chatspot_small.compose import ADAPTATION, PARTS
from chatspot_ros.util.command_line import Command


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--model", type=Path, required=True, help="a trained, exported folder")
    parser.add_argument("--parts", type=Path, default=PARTS,
                        help="the pretrained parts (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ADAPTATION,
                        help="the adaptation's folder (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rank", type=int, default=32,
                        help="columns of a factor (default: %(default)s)")  # fmt: skip


def run(options: Namespace) -> None:
    """Write the adaptation, and say how large it is."""
    size = extract(options.parts, options.model, options.out, options.rank)
    print(f"{options.out}: {size / 1e6:.1f} MB")


main = Command(
    "extract-adaptation", add_arguments, run,
    description="Write what a trained chatspot-small learned, apart from its pretrained parts.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
