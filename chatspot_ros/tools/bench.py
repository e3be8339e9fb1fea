"""Measure a model on this machine: time to load, memory, first token, tokens and regions a second.

Exit status: 0, or 1 when the model cannot be loaded or measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.console import Console

from chatspot_ros.engine.engine_config import EngineConfig
from chatspot_ros.images.decode import decode
from chatspot_ros.images.photo import read_photo
from chatspot_ros.tools.bench_run import COUNTS, Measured, measure
from chatspot_ros.tools.boards import as_row, lines_for_people, machine_name, put_row, row_cells
from chatspot_ros.util.command_line import Command

FAILED = 1
_NAME_CHARS = max(len(name) for name in ("first token, same picture", "processor or GPU"))


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    default = EngineConfig()
    add = parser.add_argument
    add("--model", default=default.model, metavar="DIR_OR_ID",
        help="checkpoint: a folder, a bundled name or a hub id (%(default)s)")  # fmt: skip
    add("--device", default=default.device, help="auto, cpu, cuda, ... (%(default)s)")
    add("--dtype", default=default.dtype, choices=("auto", "float32", "bfloat16", "float16"),
        help="precision of the weights (%(default)s)")  # fmt: skip
    add("--quantisation", default=default.quantisation, choices=("none", "int8", "int4"),
        help="of the weights (%(default)s)")  # fmt: skip
    add("--threads", type=_from(0), default=default.threads, metavar="N",
        help="of the processor; 0: one a core (%(default)s)")  # fmt: skip
    add("--regions", type=_counts, default=COUNTS, metavar="N,N,...",
        help="how many regions are asked about together (1,4,16,64)")  # fmt: skip
    add("--repeats", type=_from(1), default=3, metavar="N",
        help="each time is the median of so many (%(default)s)")  # fmt: skip
    add("--image", type=Path, metavar="FILE", help="a photo; drawn rectangles if not given")
    add("--json", action="store_true", help="print one JSON object")
    add("--row", nargs="?", const="-", metavar="FILE",
        help="print a row for the table of docs/boards.md; with FILE put it there")  # fmt: skip
    add("--machine", default="", help="the machine's name in the row; else its own")
    add("--note", default="", metavar="TEXT",
        help="a remark in the row, such as the power mode")  # fmt: skip


def _from(least: int) -> type[int]:
    def read(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more (got {value})")
        return value

    return read  # type: ignore[return-value]


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(one) for one in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"give numbers, as 1,4 (got {text!r})") from error
    if not all(1 <= one <= 1024 for one in counts):
        raise argparse.ArgumentTypeError(f"give numbers from 1 to 1024 (got {text!r})")
    return counts


def run(options: Namespace) -> int:
    """Measure and print; return the exit status."""
    config = EngineConfig(
        model=options.model,
        allow_download=True,
        device=options.device,
        dtype=options.dtype,
        threads=options.threads,
        quantisation=options.quantisation,
        warm_up=False,
    )
    picture = None if options.image is None else decode(read_photo(options.image)[1])
    console = Console(stderr=True)
    with console.status("starting") as status:
        measured = measure(
            config,
            repeats=options.repeats,
            counts=options.regions,
            picture=picture,
            tell=lambda text: status.update(f"{options.model}: {text}"),
        )
    _show(options, measured)
    return 0


def _show(options: Namespace, measured: Measured) -> None:
    precision = "" if options.quantisation == "none" else f", {options.quantisation}"
    cells = row_cells(
        measured,
        model=Path(options.model).name + precision,
        machine=options.machine or machine_name(),
        note=options.note,
    )
    if options.json:
        print(json.dumps({"row": lines_for_people(cells), **measured.to_json()}))
    elif options.row == "-":
        print(as_row(cells))
    else:
        for name, value in lines_for_people(cells).items():
            print(f"{name:{_NAME_CHARS}}  {value}")
        for count, rate in measured.regions_per_s.items():
            if count not in COUNTS:
                print(f"{f'regions/s, {count}':{_NAME_CHARS}}  {rate or '-'}")
    if options.row not in (None, "-"):
        put_row(Path(options.row), cells)
        main.say(f"{options.row} has the row")


main = Command("bench", add_arguments, run, description=__doc__, failed=FAILED)

if __name__ == "__main__":
    sys.exit(main())
