"""Serve a page on which people draw regions on the live picture of a region query node, and ask."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from chatspot_ros.operators.questions import read_quick_questions
from chatspot_ros.operators.web.access import TOKEN_VARIABLE, check_token
from chatspot_ros.operators.web.server import OperatorPages, serve
from chatspot_ros.ros.operator_client import DEFAULT_NODE, RosOperatorClient
from chatspot_ros.util.command_line import Command
from chatspot_ros.util.listening import is_loopback, listen, read_token, shown_address


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `chatspot web`."""
    parser.add_argument("--node", default=DEFAULT_NODE, help=f"default: {DEFAULT_NODE}")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; default: 127.0.0.1"
    )
    parser.add_argument("--port", type=int, default=8080, help="default: 8080; 0: any free one")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with the token that a person types to log in; needed for any --host that is not "
        f"this computer's own. Instead: the environment variable {TOKEN_VARIABLE}",
    )
    parser.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="file with the quick questions, one a line",
    )


def run(options: Namespace) -> None:
    """Serve the page until interrupted."""
    token = read_token(options.token_file, TOKEN_VARIABLE)
    check_token(options.host, token)
    questions: tuple[str, ...] = ()
    if options.questions:
        questions = read_quick_questions(options.questions.read_text(encoding="utf-8"))
    with listen(options.host, options.port) as listening:
        address = shown_address(options.host, listening.getsockname()[1])

        def on_start() -> None:
            print(f"chatspot web: http://{address}/ (Ctrl+C ends it)", flush=True)

        if not is_loopback(options.host):
            print(
                "chatspot web: whoever can read this network can read pictures, answers and the "
                "token: put a server with TLS in front (docs/operators.md)",
                file=sys.stderr,
            )
        with RosOperatorClient(options.node) as client:
            pages = OperatorPages(client, questions)
            serve(pages, listening, on_start, host=options.host, token=token)


main = Command("web", add_arguments, run, description=__doc__, errors=(UnicodeDecodeError,))

if __name__ == "__main__":
    sys.exit(main())
