"""Tell why people were unhappy: `chatspot feedback LOG --html page.html`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from chatspot_ros.util.atomic_write import write_whole
from chatspot_ros.util.command_line import Command
from chatspot_train.feedback.log_table import read_log


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("log", type=Path, help="the file that the node's parameter feedback_log names")
    add("--html", type=Path, metavar="FILE", help="a page with plots")
    add("--json", type=Path, metavar="FILE", help="everything, for programs")


def _run(options: argparse.Namespace) -> None:
    from chatspot_train.feedback.report import analyse_log, show, to_html, to_json

    done = analyse_log(options.log.name, read_log(options.log))
    terminal = Console()
    show(done, terminal if terminal.is_terminal else Console(width=150))
    if options.html is not None:
        write_whole(options.html, to_html(done))
    if options.json is not None:
        write_whole(options.json, json.dumps(to_json(done), indent=1) + "\n")


main = Command(
    "feedback", _add_arguments, _run,
    description="Tell which factor drives bad ratings and follow-ups, adjusted for the others.",
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
