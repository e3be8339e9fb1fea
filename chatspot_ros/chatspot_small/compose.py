"""`chatspot compose`: chatspot-small out of its pretrained parts and what is committed of it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from chatspot_ros.chatspot_small.adaptation import compose
from chatspot_ros.chatspot_small.pretrained import write_parts
from chatspot_ros.util.command_line import Command

PARTS = Path("models/parts")
ADAPTATION = Path("models/chatspot-small-adaptation")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--parts", type=Path, default=PARTS,
                        help="the pretrained parts, made where they are missing "
                             "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--adaptation", type=Path, default=ADAPTATION,
                        help="what the model learned (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("models/chatspot-small"),
                        help="the model's folder (default: %(default)s)")  # fmt: skip


def run(options: Namespace) -> None:
    """Compose the model, and say where it is."""
    write_parts(options.parts)
    new = compose(options.parts, options.adaptation, options.out)
    print(f"{options.out} is {'composed' if new else 'up to date'}")


main = Command(
    "compose", add_arguments, run,
    description="Compose chatspot-small of its pretrained parts and its adaptation.",
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
