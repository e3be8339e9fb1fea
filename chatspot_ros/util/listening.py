"""What a program that listens for others needs: an address, a socket, a token."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from chatspot_ros.errors import RequestError

SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Return whether only programs of this computer reach a server at `host`, a name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_remedy(variable: str) -> str:
    """Return how to make a token and where to put it: `variable` of the environment, or a file."""
    return (
        f"put a long random word into the environment variable {variable} or into a file "
        "named by --token-file, such as of: python3 -c 'import secrets; "
        "print(secrets.token_urlsafe())'"
    )


def check_length(token: str, variable: str) -> None:
    """Check that a token, read from `variable` of the environment or a file, is hard to guess.

    Raises:
        RequestError: it is shorter than SHORTEST_TOKEN characters. The token is not in it.
    """
    if len(token) < SHORTEST_TOKEN:
        raise RequestError(
            f"the token has fewer than {SHORTEST_TOKEN} characters",
            value=f"{len(token)} characters",
            remedy=token_remedy(variable),
        )


def read_token(path: Path | None, variable: str) -> str:
    """Return the token of a file, else of the environment; empty: none.

    Raises:
        RequestError: the file cannot be read. The name is not in it: it might be the token.
    """
    if path is None:
        return os.environ.get(variable, "").strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise RequestError(
            "the file of --token-file cannot be read",
            value=type(error).__name__,
            remedy="name a file with the token in it, not the token",
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: any free one.

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


def shown_address(host: str, port: int) -> str:
    """Return `host:port` as a URL has it: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
