"""The MCP server over HTTP, for programs of this computer that know the token.

Every request needs the token, so no other site's page gets anything out of a browser here; the
SDK's own checks of `Host` and `Origin` refuse what a rebound name or another site sends with one.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Callable

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.mcp.server import RobotServer
from chatspot_ros.util.listening import check_length, is_loopback, token_remedy

PATH = "/mcp"
TOKEN_VARIABLE = "CHATSPOT_MCP_TOKEN"
# Arguments are short; pictures go the other way.
_LONGEST_REQUEST_BYTES = 256 * 1024
_MOST_SESSIONS = 32
_WRONG_TOKEN_WAIT_S = 1.0
_END_S = 1
# The names by which programs of this computer call it, at any port: a tunnel may have another one.
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


def check_address(host: str, token: str) -> None:
    """Check that only programs of this computer that know a token can reach a server at `host`.

    Raises:
        RequestError: the address is no loopback one, or there is no token, or it is short.
    """
    if not is_loopback(host):
        raise RequestError(
            "agents of other computers would reach this address", value=host,
            remedy="give a loopback --host, and let others in by a tunnel (ssh -L) or behind a "
            "server with TLS",
        )  # fmt: skip
    if not token:
        raise RequestError("there is no token", value="", remedy=token_remedy(TOKEN_VARIABLE))
    check_length(token, TOKEN_VARIABLE)


class TokenGuard:
    """An ASGI application that hands on requests with the header `Authorization: Bearer TOKEN`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token.encode()
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        given_token = given.strip().encode()
        if kind.lower() == "bearer" and secrets.compare_digest(given_token, self._token):
            await self.app(scope, receive, send)
            return
        if given_token:
            # Guesses wait for each other, so that there are few in a day.
            async with self._one_at_a_time:
                await asyncio.sleep(_WRONG_TOKEN_WAIT_S)
        refusal = JSONResponse(
            {
                "error": "invalid_token",
                "error_description": "send the header Authorization: Bearer TOKEN, with the token "
                f"of {TOKEN_VARIABLE} of the server",
            },
            401,
            {"www-authenticate": 'Bearer error="invalid_token"'},
        )
        await refusal(scope, receive, send)


def make_app(server: RobotServer, host: str, token: str) -> TokenGuard:
    """Return the server as an ASGI application, at the path PATH.

    Raises:
        RequestError: as `check_address`.
    """
    check_address(host, token)
    names = {*_OWN_NAMES, f"[{host}]" if ":" in host else host}
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=_LONGEST_REQUEST_BYTES,
        max_sessions=_MOST_SESSIONS,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[*names, *(f"{name}:*" for name in names)],
            allowed_origins=[f"http://{name}:*" for name in names],
        ),
    )
    return TokenGuard(app, token)


def serve(
    server: RobotServer,
    listening: socket.socket,
    on_start: Callable[[], None],
    *,
    host: str,
    token: str,
) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Raises:
        RequestError: as `check_address`.
    """
    config = uvicorn.Config(
        make_app(server, host, token),
        access_log=False,
        log_level="warning",
        ws="none",
        timeout_graceful_shutdown=_END_S,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_start()

    # uvicorn ends in order, then raises the signal again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])
