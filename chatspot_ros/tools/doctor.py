"""Look for what would keep the node from working, and say how to mend it.

Exit status: 0, or 1 when something must be mended.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from chatspot_ros.tools.ask import add_node_option
from chatspot_ros.tools.checks.environment import check_packages, check_python, check_ros
from chatspot_ros.tools.checks.finding import Finding, Level
from chatspot_ros.tools.checks.models import check_gpu, check_models
from chatspot_ros.util.command_line import Command

MUST_BE_MENDED = 1
_MARKS = {Level.OK: ("ok  ", "green"), Level.WARN: ("warn", "yellow"), Level.BAD: ("BAD ", "red")}
_ABOUT_CHARS = 22


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="DIR_OR_ID",
        help="a checkpoint that must fit into memory; may be given again")  # fmt: skip
    add("--device", default="auto", help="where models shall run: auto, cpu, cuda (%(default)s)")
    add_node_option(parser)
    add("--json", action="store_true", help="print the findings as JSON")


def run(options: Namespace) -> int:
    """Print every finding as it is made; return the exit status."""
    found: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in look(options):
        found.append(finding)
        if not options.json:
            mark, style = _MARKS[finding.level]
            console.print(Text(mark, style), Text(f"{finding.about:{_ABOUT_CHARS}} {finding.says}"))
            if finding.remedy and finding.level != Level.OK:
                console.print(Text(f"     -> {finding.remedy}"))
    worst_is_bad = any(one.level == Level.BAD for one in found)
    if options.json:
        print(json.dumps({"ok": not worst_is_bad, "findings": [asdict(one) for one in found]}))
    return MUST_BE_MENDED if worst_is_bad else 0


def look(options: Namespace) -> Iterator[Finding]:
    """Yield the findings, those that others rest on first."""
    yield check_python()
    yield from check_packages()
    yield check_gpu()
    yield from check_models(options.model, options.device)
    ros = list(check_ros())
    yield from ros
    if any(one.level == Level.BAD for one in ros):
        return
    from chatspot_ros.ros.operator_client import RosOperatorClient
    from chatspot_ros.tools.checks.ros import check_node, check_transport

    with RosOperatorClient(options.node) as client:
        yield check_transport(client)
        yield from check_node(client)


main = Command("doctor", add_arguments, run, description=__doc__, failed=MUST_BE_MENDED)

if __name__ == "__main__":
    sys.exit(main())
