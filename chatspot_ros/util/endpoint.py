"""The address of an OpenAI-compatible API, and the key to it out of the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from chatspot_ros.errors import ChatspotError
from chatspot_ros.util.listening import is_loopback

KEY_VARIABLE = "OPENAI_API_KEY"
# Set to 1, it lets the key go over plain http to another machine.
HTTP_VARIABLE = "CHATSPOT_ALLOW_HTTP"


def check_address(url: str, error: type[ChatspotError], example: str) -> None:
    """Raise `error` unless a URL is an http(s) address without user, password or query.

    `example` is how such an address may be written.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if usable and (parts.username or parts.password or parts.query):
        raise error(
            "the endpoint's address holds credentials or a query",
            value="not shown, for its secrets",
            remedy="leave user, password and query out; the key is read from the environment only",
        )  # fmt: skip
    if not usable:
        shown = "not shown, for its secrets" if "@" in url else url
        raise error("the endpoint's address is none", value=shown, remedy=f"write {example}")


def read_key(url: str, variable: str, error: type[ChatspotError]) -> str:
    """Return the key to a server from an environment variable; empty: it is not set.

    Raises `error` for a key with spaces, and for one that would go over plain http to another
    machine.
    """
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise error(
            f"the environment variable {variable} holds no key", value="not shown",
            remedy="set it to the key alone, without spaces",
        )  # fmt: skip
    parts = urlsplit(url)
    is_open = parts.scheme == "http" and not is_loopback(parts.hostname or "")
    if key and is_open and os.environ.get(HTTP_VARIABLE) != "1":
        raise error(
            f"the key of {variable} would go over plain http to another machine", value=url,
            remedy=f"use https, unset {variable}, or allow it with {HTTP_VARIABLE}=1",
        )  # fmt: skip
    return key
