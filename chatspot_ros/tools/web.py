"""Serve a page on which people draw regions on the live picture of a region query node, and ask."""

from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.questions import read_quick_questions
from chatspot_ros.operators.web.access import check_token, is_loopback
from chatspot_ros.operators.web.server import OperatorPages, serve
from chatspot_ros.ros.operator_client import DEFAULT_NODE, RosOperatorClient
from chatspot_ros.util.command_line import Command

TOKEN_VARIABLE = "CHATSPOT_WEB_TOKEN"


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


def read_token(path: Path | None) -> str:
    """Return the token of a file, else of the environment; empty: none.

    Raises:
        RequestError: the file cannot be read. The name is not in it: it might be the token.
    """
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise RequestError(
            "the file of --token-file cannot be read",
            value=type(error).__name__,
            remedy="name a file with the token in it, not the token",
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        RequestError: the address is none of this computer's, or the port is taken.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise RequestError(
            "cannot listen at this address",
            value=f"{host}, port {port}: {error}",
            remedy="give another --host or --port",
        ) from error


def run(options: Namespace) -> None:
    """Serve the page until interrupted."""
    token = read_token(options.token_file)
    check_token(options.host, token)
    questions: tuple[str, ...] = ()
    if options.questions:
        questions = read_quick_questions(options.questions.read_text(encoding="utf-8"))
    with listen(options.host, options.port) as listening:
        port = listening.getsockname()[1]
        shown = f"[{options.host}]" if ":" in options.host else options.host

        def on_start() -> None:
            print(f"chatspot web: http://{shown}:{port}/ (Ctrl+C ends it)", flush=True)

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
