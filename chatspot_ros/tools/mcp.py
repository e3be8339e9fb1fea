"""Serve a robot's cameras and answers as tools of an agent (Model Context Protocol).

An agent starts this command and speaks to it on its standard input and output; with --http it
listens at an address of this computer instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from chatspot_ros.errors import ChatspotError
from chatspot_ros.operators.mcp.http import PATH, TOKEN_VARIABLE, check_address, serve
from chatspot_ros.operators.mcp.server import make_server
from chatspot_ros.ros.operator_client import RosOperatorClient
from chatspot_ros.tools.ask import add_node_option
from chatspot_ros.util.command_line import Command
from chatspot_ros.util.listening import listen, read_token, shown_address
from chatspot_ros.util.resources import share_folder

_ENDS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `chatspot mcp`."""
    add = parser.add_argument
    add_node_option(parser)
    add("--http", action="store_true", help="listen for agents of this computer over HTTP")
    add("--host", default="127.0.0.1", help="with --http: a loopback address (%(default)s)")
    add("--port", type=int, default=8765, help="with --http: %(default)s; 0: any free one")
    add("--token-file", type=Path, metavar="FILE",
        help="with --http: file with the token that agents send. Instead: the environment "
        f"variable {TOKEN_VARIABLE}")  # fmt: skip


def run(options: Namespace) -> None:
    """Serve until the agent closes its end, or the process is told to end."""
    if options.http:
        _serve_http(options)
    elif options.token_file:
        raise ArgumentError(None, "--token-file needs --http: on its own pipe an agent is known")
    else:
        _serve_stdio(options.node)


def _serve_http(options: Namespace) -> None:
    token = read_token(options.token_file, TOKEN_VARIABLE)
    check_address(options.host, token)
    with listen(options.host, options.port) as listening, RosOperatorClient(options.node) as client:
        address = shown_address(options.host, listening.getsockname()[1])

        def on_start() -> None:
            print(f"chatspot mcp: http://{address}{PATH} (Ctrl+C ends it)", flush=True)

        server = make_server(lambda: contextlib.nullcontext(client), version=_version())
        serve(server, listening, on_start, host=options.host, token=token)


def _serve_stdio(node: str) -> None:
    if sys.stdin.isatty():
        main.say("speaks MCP on its standard input and output: let an agent start it")

    @contextlib.contextmanager
    def open_client() -> Iterator[RosOperatorClient]:
        # Only now: the server has taken the standard output for the protocol, so that whatever ROS
        # prints goes to the standard error.
        with RosOperatorClient(node) as client, _ending(client):
            yield client

    try:
        make_server(open_client, version=_version()).run("stdio")
    except ExceptionGroup as group:
        if (known := _first_known(group)) is not None:
            raise known from None
        raise


@contextlib.contextmanager
def _ending(client: RosOperatorClient) -> Iterator[None]:
    """End the process at a signal, though a thread waits for the standard input."""

    def end(number: int, _: object) -> None:
        def close() -> None:
            client.close()
            os._exit(128 + number)

        # Not in the main thread, which the client may be waiting for.
        threading.Thread(target=close, daemon=True).start()

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_known(group: BaseExceptionGroup[BaseException]) -> ChatspotError | None:
    for error in group.exceptions:
        if isinstance(error, ChatspotError):
            return error
        if isinstance(error, BaseExceptionGroup) and (inner := _first_known(error)) is not None:
            return inner
    return None


def _version() -> str:
    """Return the version of this package, as package.xml has it."""
    return ElementTree.parse(share_folder() / "package.xml").findtext("version", "")


main = Command("mcp", add_arguments, run, description=__doc__)

if __name__ == "__main__":
    sys.exit(main())
