"""Who may use the page: the token with its login form and cookie, and requests of other sites.

`AccessGuard` stands before the whole application, its websockets included.
"""

from __future__ import annotations

import asyncio
import html
import secrets
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatspot_ros.errors import RequestError
from chatspot_ros.util.listening import check_length, is_loopback, token_remedy

TOKEN_VARIABLE = "CHATSPOT_WEB_TOKEN"
COOKIE = "chatspot_operator"
_COOKIE_AGE_S = 12 * 3600
_WHO = "operator"
_WRONG_TOKEN_WAIT_S = 1.0
_LONGEST_FORM_BYTES = 4096
_HEADERS = {
    # Vue compiles its templates in the browser, so scripts of the page itself may do so.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    # With `no-referrer` a browser would hide the origin of the login form.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def check_token(host: str, token: str) -> None:
    """Check that a page at `host` is protected as it must be; an empty token is none.

    Raises:
        RequestError: another address than a loopback one has no token, or the token is short.
    """
    if not token and not is_loopback(host):
        raise RequestError(
            "others reach this address, and the page has no token",
            value=host,
            remedy=token_remedy(TOKEN_VARIABLE),
        )
    if token:
        check_length(token, TOKEN_VARIABLE)


class AccessGuard:
    """An ASGI application that hands on what may pass, and refuses the rest with its reason.

    Refused are requests and websockets that other sites make a browser send; with a token, whatever
    has not logged in; without one, a `Host` that is not this computer's (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, host: str, token: str = "") -> None:
        """`host` is the address that is listened at. Raises RequestError as `check_token`."""
        check_token(host, token)
        self.app = app
        self._host = host
        self._token = token.encode()
        self._signer = TimestampSigner(self._token or secrets.token_bytes(), salt="chatspot web")
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket or lifespan."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refuse_strangers(connection)
        if refusal is None and self._token and not self._has_logged_in(connection):
            refusal = await self._login(scope, receive, send)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refuse_strangers(self, connection: HTTPConnection) -> Response | None:
        headers = connection.headers
        if not self._token and not self._names_this_computer(headers.get("host", "")):
            return PlainTextResponse("This page is for this computer only.", 421)
        site = headers.get("sec-fetch-site", "none")
        is_ours = site in ("none", "same-origin") or _is_visit(connection.scope, headers)
        if not is_ours or not _is_own_origin(headers):
            return PlainTextResponse("Another site asks for this page: refused.", 403)
        return None

    def _names_this_computer(self, host_header: str) -> bool:
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        return name == self._host or is_loopback(name)

    def _has_logged_in(self, connection: HTTPConnection) -> bool:
        try:
            signed = connection.cookies.get(COOKIE, "")
            return self._signer.unsign(signed, max_age=_COOKIE_AGE_S) == _WHO.encode()
        except BadSignature:
            return False

    # --- login

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> Response:
        if scope["type"] == "websocket" or scope["path"] not in ("/", "/login"):
            return PlainTextResponse("Log in first.", 401)
        if scope["method"] != "POST":
            return login_page()
        if not await self._is_token(Request(scope, receive, send)):
            return login_page("This is not the token.", 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            self._signer.sign(_WHO).decode(),
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
        )
        return response

    async def _is_token(self, request: Request) -> bool:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_FORM_BYTES:
                return False
        (given,) = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[:1]
        # Guesses wait for each other, so that there are few in a day.
        async with self._one_at_a_time:
            if secrets.compare_digest(given.strip().encode(), self._token):
                return True
            await asyncio.sleep(_WRONG_TOKEN_WAIT_S)
            return False


def _is_own_origin(headers: Headers) -> bool:
    """Return whether a page of this server asks, or no page: a browser's says its origin."""
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host") != ""
    except ValueError:
        return False


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Return whether a person follows a link to this page."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers


def login_page(problem: str = "", status: int = 200) -> HTMLResponse:
    """Return the form that asks for the token, with the problem of the last try."""
    text = files(__package__).joinpath("login.html").read_text(encoding="utf-8")
    return HTMLResponse(
        text.replace("{problem}", html.escape(problem)),
        status,
        {"cache-control": "no-store"},
    )
