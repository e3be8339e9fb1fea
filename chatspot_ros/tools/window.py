"""Open the window: click, draw and ask on the live picture of a region query node."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from chatspot_ros.util.command_line import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--node", default="/region_query_node", metavar="NAME",
                        help="the node's full name (/region_query_node)")  # fmt: skip
    parser.add_argument("--camera", default="", metavar="NAME", help="the camera to begin with")
    parser.add_argument("--theme", choices=("system", "light", "dark"), default="system")


def _run(options: Namespace) -> int:
    from chatspot_ros.operators.window.program import check_screen, run_window

    check_screen()
    from chatspot_ros.ros.operator_client import RosOperatorClient

    client = RosOperatorClient(options.node)
    return run_window(client, options.node, theme=options.theme, camera=options.camera)


main = Command("window", _add_arguments, _run, description=__doc__)

if __name__ == "__main__":
    sys.exit(main())
