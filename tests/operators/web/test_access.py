"""Whoever may not use the page gets nothing of it, and the token is in no address."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from chatspot_ros.errors import RequestError
from chatspot_ros.operators.web import access
from chatspot_ros.operators.web.access import COOKIE, AccessGuard, check_token, is_loopback

TOKEN = "correct horse battery"
WS = "ws://127.0.0.1:8080/ws"


async def secret(request: Request) -> PlainTextResponse:
    return PlainTextResponse("secret")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("secret")
    await websocket.close()


def browser(token: str = "", url: str = "http://127.0.0.1:8080") -> TestClient:
    routes = [Route("/", secret), Route("/picture", secret), WebSocketRoute("/ws", talk)]
    guard = AccessGuard(Starlette(routes=routes), "127.0.0.1", token)
    return TestClient(guard, base_url=url, follow_redirects=False)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_WRONG_TOKEN_WAIT_S", 0.0)


def log_in(client: TestClient, token: str = TOKEN, **more: Any) -> Any:
    return client.post("/login", data={"token": token}, **more)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_token(host, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "robot.local", ""])
def test_another_address_needs_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(RequestError, match="has no token"):
        check_token(host, "")
    check_token(host, TOKEN)


def test_a_short_token_is_refused_and_not_said() -> None:
    with pytest.raises(RequestError, match="fewer than 16") as caught:
        check_token("0.0.0.0", "hunter2")
    assert "hunter2" not in str(caught.value)


def test_without_a_token_this_computer_is_served() -> None:
    assert browser().get("/").text == "secret"
    assert browser(url="http://localhost:8080").get("/").text == "secret"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "["])
def test_a_name_that_was_bound_to_this_computer_is_refused(host: str) -> None:
    reply = browser().get("/", headers={"host": host})
    assert reply.status_code == 421
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
)
@pytest.mark.parametrize("token", ["", TOKEN])
def test_what_another_site_asks_is_refused(headers: dict[str, str], token: str) -> None:
    client = browser(token)
    if token:
        log_in(client)
    for method in ("GET", "POST"):
        reply = client.request(method, "/", headers=headers)
        assert reply.status_code == 403, method
        assert "secret" not in reply.text


def test_a_link_of_another_site_may_lead_here() -> None:
    headers = {
        "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"
    }  # fmt: skip
    assert browser().get("/", headers=headers).text == "secret"
    assert browser().post("/", headers=headers).status_code == 403


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:8080"])
def test_a_websocket_of_the_page_itself_opens(origin: str | None) -> None:
    headers = {"origin": origin} if origin else {}
    with browser().websocket_connect(WS, headers=headers) as socket:
        assert socket.receive_text() == "secret"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
def test_a_websocket_of_another_site_is_refused(origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        browser().websocket_connect(WS, headers={"origin": origin}),
    ):
        pass


def test_before_the_login_there_is_only_its_form() -> None:
    client = browser(TOKEN)
    form = client.get("/")
    assert 'name="token"' in form.text
    assert form.headers["cache-control"] == "no-store"
    assert client.get("/picture").status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(WS):
        pass


def test_the_login_gives_a_cookie_that_opens_everything() -> None:
    client = browser(TOKEN)
    reply = log_in(client, f" {TOKEN}\n")
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith(COOKIE)
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert client.get("/").text == "secret"
    with client.websocket_connect(WS) as socket:
        assert socket.receive_text() == "secret"


def test_behind_tls_the_cookie_is_for_tls() -> None:
    assert "Secure" in log_in(browser(TOKEN, "https://robot")).headers["set-cookie"]
    assert "Secure" not in log_in(browser(TOKEN)).headers["set-cookie"]


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é" * 9, "x" * 10_000])
def test_a_wrong_token_gives_nothing(given: str) -> None:
    client = browser(TOKEN)
    reply = log_in(client, given)
    assert reply.status_code == 401
    assert "This is not the token." in reply.text
    assert "set-cookie" not in reply.headers
    assert client.get("/picture").status_code == 401


def test_the_token_in_an_address_opens_nothing() -> None:
    assert "secret" not in browser(TOKEN).get("/", params={"token": TOKEN}).text


@pytest.mark.parametrize("cookie", ["operator", "operator.x.y", TOKEN, "é"])
def test_a_forged_cookie_opens_nothing(cookie: str) -> None:
    headers = {"cookie": f"{COOKIE}={cookie}".encode()}
    assert browser(TOKEN).get("/picture", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_cookie_lives_over_a_restart_but_not_over_a_new_token() -> None:
    cookie = log_in(browser(TOKEN)).headers["set-cookie"].partition(";")[0]
    assert browser(TOKEN).get("/picture", headers={"cookie": cookie}).text == "secret"
    assert browser(TOKEN + "2").get("/picture", headers={"cookie": cookie}).status_code == 401


def test_a_cookie_ends_after_twelve_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser(TOKEN)
    log_in(client)
    monkeypatch.setattr(access, "_COOKIE_AGE_S", -1)
    assert client.get("/picture").status_code == 401


def test_every_reply_forbids_what_comes_from_elsewhere() -> None:
    for reply in (browser().get("/"), browser(TOKEN).get("/")):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
